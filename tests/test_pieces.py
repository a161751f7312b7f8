"""Pieces: leaving out what is beaten loses no best plan, and the one left is the first in canonical order."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from problems import Planted, many_gpus, one_gpu, plans, rank, values

from planner.search.optimise import optimise
from planner.search.pieces import pieces
from planner.search.problem import Answer, Candidate, PoolProblem, Problem, RoleProblem

few = settings(max_examples=100, deadline=None)


@st.composite
def long_runs(draw: st.DrawFn) -> Candidate:
    small = st.integers(0, 3)
    return Candidate(
        fixed=draw(st.integers(0, 60)),
        per_sequence=draw(small),
        kv_floor=draw(st.integers(0, 100)),
        kv_per_sequence=draw(small),
        peak_floor=draw(st.integers(0, 100)),
        peak_base=draw(st.integers(0, 40)),
        peak_per_sequence=draw(small),
        least=draw(st.integers(1, 5)),
        most=draw(st.integers(65, 150)),
        worth=((draw(st.integers(0, 90)), draw(small)), (draw(st.integers(0, 9)), draw(st.integers(0, 1)))),
    )


@few
@given(one_gpu())
def test_the_best_plan_on_one_gpu_is_still_there(case: Planted) -> None:
    found = pieces(case.problem)
    best = min(rank(case.problem, choices) for choices in plans(case.problem))
    left = (found.original(Answer(choices=choices, stages=(), model_sha256="")) for choices in plans(found.problem))

    assert best == min(rank(case.problem, answer.choices) for answer in left)


@few
@given(many_gpus())
def test_with_a_floor_under_the_second_stage_the_best_value_is_still_there(case: Planted) -> None:
    reachable = [values(case.problem, choices) for choices in plans(case.problem)]
    floor = max((value[1] for value in reachable), default=0)
    found = pieces(replace(case.problem, floors=((1, floor),))).problem
    left = [values(found, choices) for choices in plans(found)]

    assert best_above(floor, reachable) == best_above(floor, left)


def best_above(floor: int, found: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    return max((value for value in found if value[1] >= floor), default=None)


@few
@given(many_gpus())
def test_the_best_value_on_many_gpus_is_still_there(case: Planted) -> None:
    best = max((values(case.problem, choices) for choices in plans(case.problem)), default=None)
    found = pieces(case.problem).problem

    assert best == max((values(found, choices) for choices in plans(found)), default=None)


def test_a_piece_is_beaten_by_one_that_is_no_larger_and_worth_more_in_the_first_objective_that_differs() -> None:
    found = pieces(problem(option(5, (3, 0)), option(5, (2, 9)), option(4, (1, 0))))

    assert found.origins == ((0, 2),)


def test_of_pieces_equal_in_everything_the_first_candidate_is_kept() -> None:
    assert pieces(problem(option(5, (3, 0)), option(5, (3, 0)))).origins == ((0,),)


def test_a_piece_is_not_beaten_from_another_pool_or_by_more_replicas() -> None:
    alone, elsewhere = option(6, (2, 0)), replace(option(6, (2, 0)), pool=1)
    twice = replace(option(5, (3, 0)), blocks=2)

    assert pieces(problem(alone, elsewhere, twice)).origins == ((0, 1, 2),)


def test_a_piece_is_beaten_by_fewer_replicas_stages_and_gpus_that_are_no_larger() -> None:
    few = option(5, (3, 0))
    alike = option(5, (3, 0))
    more = [
        replace(alike, blocks=2),
        replace(alike, stages=2),
        replace(alike, width=2),
    ]

    assert pieces(problem(*more, few)).origins == ((3,),)


def test_stages_inside_a_node_do_not_beat_those_across_nodes() -> None:
    inside = replace(option(5, (3, 0)), stages=2)
    across = replace(option(5, (2, 0)), stages=3, across=True)

    nodes = (PoolProblem(capacity=10, nodes=(0, 1, 2)),)
    assert pieces(replace(problem(inside, across), pools=nodes)).origins == ((0, 1),)


def test_what_is_spread_over_more_nodes_than_a_pool_has_is_no_piece() -> None:
    servers, stages = replace(option(5, (3, 0)), blocks=2), replace(option(5, (2, 0)), stages=2, across=True)
    asked = problem(option(5, (1, 0)), servers, stages)
    spread = replace(asked, roles=(replace(asked.roles[0], spread=True),))
    two = replace(spread, pools=(PoolProblem(capacity=10, nodes=(0, 1)),))

    assert pieces(asked).origins == ((0, 1),)
    assert pieces(spread).origins == ((0,),)
    assert pieces(two).origins == ((0, 1, 2),)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(long_runs(), min_size=1, max_size=2), min_size=2, max_size=2), st.integers(0, 500))
def test_long_runs_of_sequences_have_their_optimum(roles: list[list[Candidate]], capacity: int) -> None:
    members = tuple(RoleProblem(name=f"r{i}", candidates=tuple(found)) for i, found in enumerate(roles))
    whole = Problem(roles=members, pools=(PoolProblem(capacity=capacity),), stages=("one", "two"))
    ways = [
        [
            (c.footprint(count), c.value(0, count), c.value(1, count))
            for c in found
            for count in range(c.least, c.most + 1)
        ]
        for found in roles
    ]
    reachable = [
        (one[1] + two[1], one[2] + two[2], capacity - one[0] - two[0])
        for one in ways[0]
        for two in ways[1]
        if one[0] + two[0] <= capacity
    ]
    answer = optimise(whole)

    assert (tuple(stage.value for stage in answer.stages) if answer else None) == max(reachable, default=None)
    assert not answer or all(stage.proven for stage in answer.stages)


def test_there_are_no_more_pieces_for_a_target_of_many_thousands() -> None:
    counts = [len(pieces(problem(sloped(most))).origins[0]) for most in (100, 1_000, 60_000)]

    assert max(counts) <= 6


def sloped(most: int) -> Candidate:
    """A candidate with two bends that fits with all its sequences."""
    return Candidate(
        fixed=0, per_sequence=0, kv_floor=most // 4, kv_per_sequence=1, peak_floor=most, peak_base=most // 2,
        peak_per_sequence=1, least=1, most=most, worth=((0, 1), (0, 0)),
    )  # fmt: skip


def test_a_role_that_fits_no_gpu_is_not_served() -> None:
    assert not pieces(problem(option(11, (1, 0)))).served


def option(size: int, worth: tuple[int, int]) -> Candidate:
    return Candidate(
        fixed=size, per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0, peak_per_sequence=0,
        least=1, most=1, worth=tuple((value, 0) for value in worth),
    )  # fmt: skip


def problem(*candidates: Candidate) -> Problem:
    pools = (PoolProblem(capacity=10 if candidates[0].most == 1 else 1 << 20), PoolProblem(capacity=10, nodes=(1,)))
    return Problem(roles=(RoleProblem(name="only", candidates=candidates),), pools=pools, stages=("one", "two"))
