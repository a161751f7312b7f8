"""``objective: cost``: the fewest GPUs, or the least dollars an hour, at the minima that the roles ask for."""

import random
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from hypothesis import given, settings
from msgspec.structs import replace
from ortools.sat.python.cp_model import CpSolver
from problems import Planted, many_gpus, plans, valid, values
from test_solver import realistic

from benchmarks.solver.fleets import fleet as random_fleet
from planner.check import check
from planner.errors import InputError
from planner.explain import difference, headline
from planner.explain.scenario_text import told
from planner.explain.words import stage_change
from planner.fleet import Fleet
from planner.options.problem import stages
from planner.plan import Plan, differences, gain
from planner.search import chain as solve_stages
from planner.search import optimise as search
from planner.search.budget import BudgetSpent
from planner.search.chain import new_solver, run_chain
from planner.search.model import build
from planner.search.pieces import pieces
from planner.search.placing import Placing
from planner.search.problem import COST, PoolProblem, Problem
from planner.solve import solve
from planner.units import GIB

few = settings(max_examples=50, deadline=None)

WHOLE: dict[str, Any] = {
    "name": "rented",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "objective": "cost",
    "nodes": {"cloud": {"gpu": "g6e.12xlarge", "count": 2}},
    "roles": {
        "chat": {"task": "general", "models": ["Mistral-7B-Instruct-v0.3"], "context": "8k", "replicas": 2,
                 "spread": "gpu"},
        "coder": {"task": "code", "models": ["deepseek-coder-33b-instruct"], "context": "8k", "schemes": ["bf16"]},
    },
}  # fmt: skip

LAB: dict[str, Any] = {
    "name": "lab",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "objective": "cost",
    "nodes": {
        "large": {"gpu": "H100 SXM 80GB", "gpus": 2, "price_per_hour": 3},
        "small": {"gpu": "L40S", "gpus": 4, "price_per_hour": 1},
    },
    "roles": {
        "chat": {"task": "general", "models": ["Mistral-7B-Instruct-v0.3"], "context": "8k", "replicas": 2},
        "coder": {"task": "code", "models": ["deepseek-coder-33b-instruct"], "context": "8k", "schemes": ["bf16"]},
        "spare": {"task": "embedding", "models": ["bge-m3"], "context": "8k", "optional": True},
    },
}
"""The coder takes one large GPU or two small ones, on which both replicas of chat have room as well, if quantized."""


def solved(found: Fleet) -> Plan:
    answer = solve(found, catalog())

    assert isinstance(answer, Plan)
    assert check(answer, found, catalog()) == []
    return answer


def used(plan: Plan) -> list[str]:
    return [gpu.pool for gpu in plan.gpus if gpu.servers]


def price(plan: Plan) -> int:
    return sum({"large": 3, "small": 1}[pool] for pool in used(plan))


def test_dollars_decide_where_all_pools_have_a_price() -> None:
    plan = solved(fleet(LAB))

    assert (used(plan), plan.proof.stages[0].value) == (["small", "small"], -2_000_000)
    assert [(price.pool, price.source) for price in plan.prices] == [
        ("large", "nodes.large.price_per_hour"), ("small", "nodes.small.price_per_hour"),
    ]  # fmt: skip
    assert headline(plan).startswith("lab: proven best for cost, on ")


def test_gpus_are_counted_where_a_price_is_not_known() -> None:
    document = changed(changed(LAB, "nodes.small.price_per_hour", None), "nodes.small.gpu", "RTX 2080 Ti")
    plan = solved(fleet(changed(document, "roles.chat.schemes", ["bf16"])))

    assert (used(plan), plan.proof.stages[0].value, plan.prices) == (["large", "large"], -2, ())
    assert plan.title(COST) == "GPUs in use"


def test_the_catalogs_price_counts_where_the_file_has_none() -> None:
    found = fleet(changed(changed(LAB, "nodes.small.price_per_hour", None), "nodes.large.price_per_hour", 50))
    small = found.pool("small")
    cheapest = min(
        p.microdollars_per_hour for p in catalog().prices if (p.gpu, p.gpu_count, p.market) == ("L40S", 4, "on-demand")
        and p.date
    )  # fmt: skip
    plan = solved(found)

    assert (small.microdollars_per_gpu_hour, small.microdollars_per_node_hour) == (None, cheapest)
    assert plan.prices[1].source == small.price_source
    assert small.price_date in small.price_source
    assert plan.proof.stages[0].value == -cheapest
    assert plan.price is not None
    assert plan.price.per_hour == cheapest / 1_000_000


def test_a_rented_node_is_paid_whole_and_servers_are_packed_into_few_of_them() -> None:
    found = fleet(WHOLE)
    plan, whole = solved(found), found.pools[0].microdollars_per_hour

    assert {gpu.node for gpu in plan.gpus if gpu.servers} == {"cloud-1"}
    assert whole is not None
    assert plan.proof.stages[0].value == -whole
    assert plan.price is not None
    assert (plan.price.per_hour, plan.price.currency) == (whole / 1_000_000, "USD")
    assert plan.price.basis.startswith("aws g6e.12xlarge, on demand in us-east-1, listed 20")


def test_an_instance_has_the_gpus_it_has() -> None:
    with pytest.raises(InputError, match=r"g6e\.12xlarge has 4 GPUs, not 8"):
        fleet(changed(WHOLE, "nodes.cloud.gpus", 8))


def test_a_slip_in_the_name_of_an_instance_is_met_with_the_name() -> None:
    with pytest.raises(InputError, match=r"did you mean g6e\.12xlarge or ") as instance:
        fleet(changed(WHOLE, "nodes.cloud.gpu", "g6e.12xlarg"))
    with pytest.raises(InputError, match=r"did you mean L40S? or ") as card:
        fleet(changed(WHOLE, "nodes.cloud.gpu", "L40Z"))

    assert "xlarge" in str(instance.value)
    assert "xlarge" not in str(card.value)


def test_an_optional_role_is_served_when_it_costs_nothing_more() -> None:
    plan = solved(fleet(LAB))
    alone = solved(fleet(changed(LAB, "roles.spare.exclusive", True)))

    assert (plan.left_out, alone.left_out) == ((), ("spare",))
    assert used(plan) == used(alone)


def test_what_costs_the_same_is_best_in_what_comes_next() -> None:
    only = solved(fleet(LAB))
    listed = solved(fleet(changed(LAB, "objective", ["cost", "balanced"])))
    first = solved(fleet(changed(LAB, "objective", ["balanced", "cost"])))
    balanced = solved(fleet(changed(LAB, "objective", "balanced")))

    assert only.servers == listed.servers
    assert stages(("cost",)) == stages(("cost", "balanced"))
    assert [stage.name for stage in first.proof.stages[:2]] == ["balanced", "cost"]
    assert first.proof.stages[0] == balanced.proof.stages[0]
    assert price(first) < price(balanced)


def test_dollars_and_gpus_are_never_compared() -> None:
    priced = solved(fleet(LAB))
    counted = replace(priced, prices=())
    dearer = replace(priced, proof=replace(priced.proof, stages=tuple(
        replace(stage, value=-3_000_000) if stage.name == COST else stage for stage in priced.proof.stages
    )))  # fmt: skip

    assert gain(priced, counted) is None
    assert "objective: cost is no longer maximised" in difference(differences(priced, counted))
    assert "objective: GPUs in use is maximised now" in difference(differences(priced, counted))
    assert "objective: cost 3 $/h instead of 2 $/h" in difference(differences(priced, dearer))
    assert told(priced, gain(priced, dearer)) == "+1 $/h"
    assert stage_change("GPUs in use", -1, -2) == "1 GPU instead of 2 GPUs"
    assert [v.where for v in check(counted, fleet(LAB), catalog())] == ["prices"]


@pytest.mark.parametrize("seed", [100, 131, 285])
def test_no_step_of_the_solver_loses_solutions(seed: int) -> None:
    """Fleets in bytes that ortools 9.15 calls impossible when it gathers precedences."""
    problem = pieces(priced(random.Random(seed))).problem
    values = []
    for presolve in (True, False):
        model = build(problem)
        Placing(model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(solve_stages, "new_solver", lambda budget, on=presolve: solver(budget, presolve=on))
            chain = run_chain(model, 20, canonical=False)
        values.append([stage.value for stage in chain.stages] if chain else None)

    assert values[0] == values[1] is not None


def solver(budget: int, *, presolve: bool) -> CpSolver:
    found = new_solver(budget)
    found.parameters.cp_model_presolve = presolve
    return found


def priced(random: random.Random) -> Problem:
    """A fleet of a few roles on one kind of nodes or two, of which the cost matters first or last."""
    plain = realistic(random)
    second, first = random.random() < 0.6, random.choice([0, 1]) == 0
    pools = [replace(plain.pools[0], price=random.choice([1, 3, 2_000_000]))]
    if second:
        capacity, width = random.choice([24, 48]) * GIB, random.choice([2, 4])
        pools.append(PoolProblem(capacity=capacity, width=width, nodes=(1,), price=random.choice([1, 1_500_000])))
    roles = []
    for role in plain.roles:
        found = [replace(one, worth=((0, 0), *one.worth) if first else (*one.worth, (0, 0))) for one in role.candidates]
        found += [replace(one, pool=1, fixed=int(one.fixed * 0.97)) for one in found] if second else []
        stacked, optional = random.choice([1, 2]), random.random() < 0.3
        roles.append(replace(role, candidates=tuple(found), stacked=stacked, optional=optional))
    stages = (COST, "only") if first else ("only", COST)
    return Problem(roles=tuple(roles), pools=tuple(pools), stages=stages)


@few
@given(many_gpus())
def test_choosing_then_packing_never_claims_too_much(case: Planted) -> None:
    """The way of large fleets, forced on small ones: what it says is true, and no plan exceeds its bound."""
    best = max((values(case.problem, choices) for choices in plans(case.problem)), default=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_SOME", -1)
        try:
            answer = search.optimise(case.problem)
        except BudgetSpent:
            return

    assert (answer is None) == (best is None)
    if answer and best:
        reached = tuple(stage.value for stage in answer.stages[:-1])
        assert valid(case.problem, answer.choices)
        assert values(case.problem, answer.choices) == reached <= best
        assert best[0] <= answer.stages[0].bound


def test_a_large_fleet_uses_few_gpus_and_says_how_many_fewer_are_not_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_SOME", 300)  # the way of large fleets on one of half the size
    problem, _ = random_fleet(20, 30, 32, 1)
    roles = tuple(
        replace(role, candidates=tuple(
            replace(one, worth=((0, 0), *one.worth)) for one in role.candidates
        ))
        for role in problem.roles
    )  # fmt: skip
    answer = search.optimise(replace(problem, roles=roles, stages=(COST, *problem.stages)))

    assert answer is not None
    assert answer.stages[0].value <= answer.stages[0].bound <= 0
    assert answer.stages[0].bound - answer.stages[0].value <= 2
