"""Budget: one purse for all searching, kept by every solve; what it did not suffice for is told, with the gap."""

import random
from typing import NamedTuple

import pytest
from fleets import catalog, fleet
from ortools.sat.python import cp_model

from planner import pareto
from planner.explain.reasons import reasons
from planner.plan import Frontier
from planner.search import follow
from planner.search.budget import ORDER, SIZE, STEPS, purse, spending
from planner.search.optimise import optimise
from planner.search.problem import Answer, Candidate, PoolProblem, Problem, RoleProblem
from planner.solve import frontier
from planner.solve.alternatives import with_runner_up
from planner.solve.close_calls import close_calls
from planner.solve.whole import Solved, whole


def hard(seed: int) -> Problem:
    """Return eight roles on six GPUs, half of them with two servers, that fill it to the brim in very many ways."""
    rng = random.Random(seed)

    def candidate(servers: int) -> Candidate:
        size = rng.randint(200, 900)
        return Candidate(
            fixed=size, per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0, peak_per_sequence=0,
            least=1, most=1, blocks=servers, worth=((7 * size + rng.randint(0, 300), 0), (rng.randint(0, 9), 0)),
        )  # fmt: skip

    roles = tuple(
        RoleProblem(name=f"r{role}", candidates=tuple(candidate(1 + role % 2) for _ in range(12))) for role in range(8)
    )
    return Problem(roles=roles, pools=(PoolProblem(capacity=1000, width=6),), stages=("one", "two"))


TWO = {
    "name": "two",
    "engine": {"version": "0.33.0"},
    "gpu": {"name": "L40S"},
    "roles": {
        "chat": {
            "task": "general",
            "models": ["qwen3-8b", "qwen3-14b", "llama-3.1-8b-instruct"],
            "context": "16k",
            "concurrency": {"min": 1, "target": 32},
        }
    },
}


class Solve(NamedTuple):
    """What was maximised, the deterministic seconds that it took, and whether that ended with a proof."""

    stage: str
    seconds: float
    optimal: bool


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> list[Solve]:
    found: list[Solve] = []
    solve = follow.solve

    def noted(
        solver: cp_model.CpSolver, model: cp_model.CpModel, stage: str, figure: follow.Figure
    ) -> cp_model.CpSolverStatus:
        status = solve(solver, model, stage, figure)
        seconds = solver.response_proto.deterministic_time * STEPS + len(model.proto.variables) / SIZE
        found.append(Solve(stage, seconds, status == cp_model.OPTIMAL))
        return status

    monkeypatch.setattr(follow, "solve", noted)
    return found


def test_a_search_without_a_proof_keeps_to_its_budget_and_tells_the_gap(solves: list[Solve]) -> None:
    answer = optimise(hard(1), budget=1)
    spent = sum(solve.seconds for solve in solves)

    assert answer is not None
    assert [stage.name for stage in answer.stages] == ["one", "two", "headroom"]
    assert not answer.stages[0].proven
    assert answer.stages[0].value < answer.stages[0].bound
    assert spent < 1.25  # the solver looks at its clock now and then
    for place, solve in enumerate(solves):
        if solve.stage.startswith(ORDER):
            assert solves[place - 1].optimal  # nothing is put in order that is not proven
    assert optimise(hard(1), budget=1) == answer


def test_searches_share_what_is_left(solves: list[Solve]) -> None:
    with spending(1.5) as whole_budget:
        optimise(hard(1))
        left = whole_budget.left
        optimise(hard(2))

    assert 0.4 < left < 0.6  # a third is kept for what comes after
    assert sum(solve.seconds for solve in solves) < 1.5 * 1.25


def test_nothing_is_begun_without_a_budget_and_that_is_told() -> None:
    asked = fleet(TWO)
    found = whole(asked, catalog(), 60)
    assert isinstance(found, Solved)
    with spending(0):
        calls, unsearched = close_calls(asked, catalog(), found, 60)
        plan = with_runner_up(asked, catalog(), found, 60)

    assert not calls
    assert {(one.what, one.role) for one in unsearched} == {("close calls", "chat")}
    assert plan.runner_up is None
    assert {(one.what, one.role) for one in plan.proof.unsearched} == {("next best", "chat"), ("close calls", "chat")}
    assert "other combinations of checkpoints of roles.chat" in reasons(plan)


def test_points_of_a_frontier_share_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def all_of_it(problem: Problem, budget: int) -> Answer | None:
        answer = optimise(problem, budget)
        given.append(purse().left)
        purse().spend(purse().left)
        return answer

    monkeypatch.setattr(frontier, "optimise", all_of_it)
    some = pareto(fleet(TWO), "concurrency", "accuracy", catalog(), budget=2)

    assert isinstance(some, Frontier)
    assert sum(given) <= 2
    assert some.open_end
