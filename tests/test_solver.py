"""The solver against brute force: the same optimum, the same canonical plan, no matter how the problem is written."""

import random
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given, settings
from msgspec.structs import replace
from ortools.sat.python import cp_model
from problems import Planted, decided, fits, headroom, many_gpus, one_gpu, plans, rank, valid, values

from benchmarks.solver.fleets import fleet
from benchmarks.solver.greedy import greedy
from planner.search import chain
from planner.search.budget import BUDGET, BudgetSpent
from planner.search.chain import new_solver, run
from planner.search.decompose import filled
from planner.search.feasible import feasible
from planner.search.follow import Figure
from planner.search.model import Model, Row, build
from planner.search.optimise import optimise, places
from planner.search.packing import pack
from planner.search.pieces import pieces
from planner.search.placing import Placing
from planner.search.problem import Answer, Candidate, PoolProblem, Problem, RoleProblem
from planner.search.watch import Watch, watched_by
from planner.units import GIB

few = settings(max_examples=50, deadline=None)


def solved(problem: Problem) -> Answer:
    answer = optimise(problem)

    assert answer is not None
    return answer


def reached(answer: Answer) -> tuple[int, ...]:
    return tuple(stage.value for stage in answer.stages[:-1])


@few
@given(one_gpu())
def test_on_one_gpu_the_plan_is_that_of_brute_force(case: Planted) -> None:
    best = min(plans(case.problem), key=lambda choices: rank(case.problem, choices))

    answer = solved(case.problem)

    assert rank(case.problem, best) == rank(case.problem, answer.choices)
    assert (*values(case.problem, best), headroom(case.problem, best)) == (*reached(answer), answer.stages[-1].value)


@few
@given(many_gpus())
def test_on_many_gpus_the_optimum_is_that_of_brute_force(case: Planted) -> None:
    best = max((values(case.problem, choices) for choices in plans(case.problem)), default=None)

    answer = optimise(case.problem)

    assert (reached(answer) if answer else None) == best
    if answer:
        assert valid(case.problem, answer.choices)
        assert values(case.problem, answer.choices) == best
        assert all(stage.proven and stage.value == stage.bound for stage in answer.stages)


@few
@given(one_gpu())
def test_every_stage_is_proven_and_at_least_the_planted_plan(case: Planted) -> None:
    answer = solved(case.problem)

    assert all(stage.proven and stage.value == stage.bound for stage in answer.stages)
    assert values(case.problem, case.choices) <= reached(answer)


@few
@given(many_gpus())
def test_what_is_called_impossible_is_impossible(case: Planted) -> None:
    any_plan = next(plans(case.problem), None)

    assert feasible(case.problem) == (any_plan is not None)


@pytest.mark.parametrize(("room", "alone"), [(100, False), (100, True), (103, True), (7, True)])
def test_hundreds_of_servers_fit_as_long_as_each_gpu_counts_out(room: int, alone: bool) -> None:
    """Equal servers on eight GPUs, one of which another role may have to itself."""
    each = sized(4)
    size = each.footprint(1)

    def crowd(count: int) -> Problem:
        roles = (
            RoleProblem(name="alone", candidates=(each,)),
            RoleProblem(name="many", candidates=(replace(each, blocks=count),), stacked=count),
        )
        apart = frozenset({(0, 1)}) if alone else frozenset()
        pools = (PoolProblem(capacity=room * size + 5, width=8),)
        return Problem(roles=roles, pools=pools, stages=("only",), apart=apart)

    most = 7 * room if alone else 8 * room - 1

    assert feasible(crowd(most))
    assert not feasible(crowd(most + 1))


@few
@given(many_gpus())
def test_more_memory_never_hurts(case: Planted) -> None:
    pools = tuple(replace(pool, capacity=pool.capacity + 7) for pool in case.problem.pools)
    before, after = optimise(case.problem), optimise(replace(case.problem, pools=pools))

    if before:
        assert after
        assert reached(before) <= reached(after)


@few
@given(one_gpu())
def test_the_order_in_which_candidates_are_listed_changes_no_value(case: Planted) -> None:
    roles = tuple(replace(role, candidates=role.candidates[::-1]) for role in case.problem.roles)
    other = replace(case.problem, roles=roles)

    assert [s.value for s in solved(case.problem).stages] == [s.value for s in solved(other).stages]


@settings(max_examples=10, deadline=None)
@given(many_gpus())
def test_repeating_a_solve_repeats_the_answer(case: Planted) -> None:
    assert optimise(case.problem) == optimise(case.problem)


@few
@given(many_gpus())
def test_packing_finds_places_for_what_fits(case: Planted) -> None:
    for choices in list(plans(case.problem))[:5]:
        places = pack(case.problem, decided(choices))

        assert places is not None
        packed = [
            replace(choice, blocks=found) if choice else None for choice, found in zip(choices, places, strict=True)
        ]
        assert valid(case.problem, tuple(packed))


def test_servers_go_to_the_emptiest_gpus() -> None:
    problem = Problem(
        roles=tuple(RoleProblem(name=name, candidates=(sized(3),)) for name in "ab"),
        pools=(PoolProblem(capacity=10, width=2),),
        stages=("only",),
    )
    one, other = (choice.blocks[0].first for choice in solved(problem).choices if choice)

    assert {one, other} == {0, 1}


@pytest.mark.parametrize("seed", range(24))
def test_presolve_loses_no_solution_of_problems_in_bytes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rows as long as these, ortools 9.15 gives wrong answers to five of these fleets unless told otherwise."""
    monkeypatch.setattr("planner.search.model.footprint", long_row)
    monkeypatch.setattr("planner.search.placing.footprint", long_row)
    model = build(realistic(random.Random(seed)))
    Placing(model)
    model.cp.maximize(model.stage(0))
    best = []
    for presolve in (True, False):
        solver = new_solver(BUDGET)
        solver.parameters.cp_model_presolve = presolve
        status = solver.solve(model.cp)
        best.append((status, round(solver.objective_value) if status == cp_model.OPTIMAL else None))

    assert best[0] == best[1]


def long_row(
    model: Model, rows: Sequence[Row], label: str, largest: int, times: Callable[[Candidate], int]
) -> cp_model.LinearExprT:
    """What a role takes, as one expression over all its candidates instead of a variable."""
    cache = model.cp.new_int_var(0, largest, f"{label}.kv")
    peak = model.cp.new_int_var(0, largest, f"{label}.peak")
    model.cp.add(cache >= model.line(rows, lambda c: times(c) * c.kv_floor, lambda c: 0))
    model.cp.add(cache >= model.line(rows, lambda c: 0, lambda c: times(c) * c.kv_per_sequence))
    model.cp.add(peak >= model.line(rows, lambda c: times(c) * c.peak_floor, lambda c: 0))
    return model.line(rows, lambda c: times(c) * c.fixed, lambda c: times(c) * c.per_sequence) + cache + peak


def realistic(random: random.Random) -> Problem:
    """A fleet of a few roles on a few GPUs, with sizes in bytes as they are."""
    capacity, width = random.choice([16, 24, 48, 80]) * GIB, random.choice([2, 3, 4])
    roles = []
    for index in range(random.randint(2, 4)):
        target, least, base = random.choice([4, 8, 16]), random.choice([1, 2, 4]), random.uniform(0.2, 1.1) * capacity
        found: list[Candidate] = []
        for _ in range(random.randint(3, 30)):
            split, cache = random.choice([1, 1, 2]), int(random.uniform(0.05, 0.5) * GIB)
            candidate = Candidate(
                width=split,
                fixed=int(base * random.choice([1, 0.5, 0.3, 0.28]) / split),
                per_sequence=random.choice([0, 133056]),
                kv_floor=cache * random.choice([1, 2, 4]),
                kv_per_sequence=cache,
                peak_floor=int(1.2 * GIB),
                peak_base=10**8,
                peak_per_sequence=1520000,
                least=least,
                most=random.choice([least, target]),
                worth=((random.choice([1000000, 990000, 950000]), 10**6 // target),),
            )
            if candidate.footprint(least) <= capacity or not found:
                found.append(candidate)
        roles.append(RoleProblem(name=f"r{index}", candidates=tuple(found)))
    return Problem(roles=tuple(roles), pools=(PoolProblem(capacity=capacity, width=width),), stages=("only",))


@pytest.mark.parametrize(("roles", "options", "gpus"), [(2, 40, 1), (5, 60, 4), (6, 80, 8)])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_plan_is_worse_than_greedy(roles: int, options: int, gpus: int, seed: int) -> None:
    problem, _ = fleet(roles, options, gpus, seed)
    answer = solved(problem)
    value, dropped = greedy(problem)

    assert dropped or answer.stages[0].value >= value
    assert answer.stages[0].value <= answer.stages[0].bound
    assert fits(problem, answer.choices)


def test_many_gpus_are_packed_within_a_thousandth_of_the_bound() -> None:
    problem, _ = fleet(40, 60, 64, 1)
    first = solved(problem).stages[0]

    assert places(problem) > 3000
    assert first.bound - first.value <= first.bound // 1000


def test_stages_find_places_where_gpus_are_many() -> None:
    plain, _ = fleet(40, 60, 64, 1)
    roles = [replace(role, candidates=tuple(map(in_stages, role.candidates))) for role in plain.roles]
    problem = replace(plain, roles=tuple(roles))
    answer = solved(problem)
    staged = 0
    for role, choice in zip(problem.roles, answer.choices, strict=True):
        candidate = role.candidates[choice.candidate] if choice else sized(0)
        blocks = choice.blocks if choice else ()
        assert len(blocks) == candidate.blocks * candidate.stages * bool(choice)
        for first in range(0, len(blocks), candidate.stages):
            server = blocks[first : first + candidate.stages]
            staged += len(server) > 1
            assert len(set(server)) == candidate.stages
            assert len({block.node for block in server}) == (candidate.stages if candidate.across else 1)

    assert staged > 20
    assert fits(problem, answer.choices)
    assert answer.stages[0].bound - answer.stages[0].value <= answer.stages[0].bound // 1000


def in_stages(candidate: Candidate) -> Candidate:
    """Cut servers on eight GPUs into stages on two nodes, and those on four into stages inside a node."""
    if candidate.width < 4:
        return candidate
    return replace(candidate, width=candidate.width // 2, stages=2, across=candidate.width == 8)


def test_a_spent_budget_is_an_error_of_its_own() -> None:
    members = tuple(replace(sized(7 + i), worth=((i, 1),), most=9) for i in range(30))
    roles = tuple(RoleProblem(name=f"r{i:02}", candidates=members) for i in range(13))
    problem = Problem(roles=roles, pools=(PoolProblem(capacity=59, width=3),), stages=("only",))

    with pytest.raises(BudgetSpent, match="not proven impossible"):
        optimise(problem, budget=0)


def test_a_search_that_ended_before_it_began_packs_what_it_can() -> None:
    """As Ctrl-C does on a large fleet, where weighing the candidates alone takes seconds."""
    problem, _ = fleet(8, 40, 64, 1)

    with watched_by(Watch(stopped=True, stopped_at=time.monotonic())):
        answer = optimise(problem)

    assert answer
    assert answer.interrupted
    assert fits(problem, answer.choices)
    assert reached(answer) <= reached(solved(problem))
    assert not any(stage.proven for stage in answer.stages if stage.value < stage.bound)


def test_roles_whose_smallest_options_crowd_one_pool_are_packed_into_another() -> None:
    """Without any search: each role fits the first pool with less, and only two of them go there."""
    candidates = (sized(40), replace(sized(60), pool=1, worth=((2, 0),)))
    roles = tuple(RoleProblem(name=f"r{number}", candidates=candidates) for number in range(4))
    pools = (PoolProblem(capacity=50, width=2), PoolProblem(capacity=90, width=2, nodes=(1,)))
    packed = filled(Problem(roles=roles, pools=pools, stages=("only",)))

    assert packed
    assert sorted(choice[0] for choice in packed.decided if choice) == [0, 0, 1, 1]
    assert packed.value == (6,)


def sized(fixed: int) -> Candidate:
    return Candidate(
        fixed=fixed, per_sequence=1, kv_floor=3, kv_per_sequence=2, peak_floor=1, peak_base=0, peak_per_sequence=1,
        least=1, most=1, worth=((1, 0),),
    )  # fmt: skip


def test_stages_after_the_first_have_bounds_of_their_own_where_gpus_are_many() -> None:
    problem, _ = fleet(40, 60, 64, 1)
    first, headroom = solved(problem).stages
    free = sum(pool.capacity * pool.gpus for pool in problem.pools)

    assert not first.proven
    assert headroom.value < headroom.bound < free


def test_a_choice_that_finds_places_is_not_lost_when_the_search_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def spent(*_: object, **__: object) -> None:
        raise BudgetSpent(BUDGET)

    problem, _ = fleet(4, 10, 64, 1)
    monkeypatch.setattr("planner.search.optimise._SOME", 0)
    monkeypatch.setattr("planner.search.optimise.run_chain", spent)
    monkeypatch.setattr("planner.search.optimise.decompose", lambda *_: None)
    answer = solved(problem)

    assert fits(problem, answer.choices)
    assert answer.stages[0].value == answer.stages[0].bound


def test_servers_of_many_requests_have_a_plan_where_a_gpu_holds_two_of_them_with_fewer() -> None:
    """Three servers on two GPUs: with 100 requests each two are on one GPU; by the memory of both, 133 would do."""
    server = replace(sized(300), per_sequence=2, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_per_sequence=0)
    server = replace(server, blocks=3, most=130, worth=((0, 1),))
    role = RoleProblem(name="role", candidates=(server,), stacked=3)

    found = solved(Problem(roles=(role,), pools=(PoolProblem(capacity=1000, width=2),), stages=("n",)))
    assert reached(found) == (100,)


@settings(max_examples=20, deadline=None)
@given(many_gpus())
def test_long_runs_of_sequences_change_no_answer(case: Planted) -> None:
    short = optimise(case.problem)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.search.pieces._CUTS", 1)
        long = optimise(case.problem)

    assert (reached(long) if long else None) == (reached(short) if short else None)


@few
@given(many_gpus())
def test_values_are_those_of_the_plan_where_a_later_stage_makes_an_earlier_one_better(case: Planted) -> None:
    whole = pieces(case.problem)
    assume(whole.served)
    model = build(whole.problem)
    solves = 0

    def worst_first(model: Model, budget: float, stage: str = "", figure: Figure = round) -> cp_model.CpSolver | None:
        nonlocal solves
        solves += 1
        if solves == 1:  # as a solve may end that has no time
            model.cp.minimize(sum(model.stage(position) for position in range(len(model.problem.stages))))
        return run(model, budget, stage, figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "run", worst_first)
        found = chain.run_chain(model, 10)

    assume(found)
    assert found
    for position, stage in enumerate(found.stages[:-1]):
        assert stage.value == found.solver.value(model.stage(position)) <= stage.bound
