"""Points: leaving out what is beaten loses no best plan, and the one left is the first in canonical order."""

import dataclasses

from hypothesis import given, settings
from problems import Planted, many_gpus, one_gpu, plans, rank, values

from planner.search.points import points
from planner.search.problem import Answer, Candidate, PoolProblem, Problem, RoleProblem

few = settings(max_examples=100, deadline=None)


@few
@given(one_gpu())
def test_the_best_plan_on_one_gpu_is_still_there(case: Planted) -> None:
    found = points(case.problem)
    best = min(rank(case.problem, choices) for choices in plans(case.problem))
    left = (found.original(Answer(choices=choices, stages=(), model_sha256="")) for choices in plans(found.problem))

    assert best == min(rank(case.problem, answer.choices) for answer in left)


@few
@given(many_gpus())
def test_with_a_floor_under_the_second_stage_the_best_value_is_still_there(case: Planted) -> None:
    reachable = [values(case.problem, choices) for choices in plans(case.problem)]
    floor = max((value[1] for value in reachable), default=0)
    found = points(dataclasses.replace(case.problem, floors=((1, floor),))).problem
    left = [values(found, choices) for choices in plans(found)]

    assert best_above(floor, reachable) == best_above(floor, left)


def best_above(floor: int, found: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    return max((value for value in found if value[1] >= floor), default=None)


@few
@given(many_gpus())
def test_the_best_value_on_many_gpus_is_still_there(case: Planted) -> None:
    best = max((values(case.problem, choices) for choices in plans(case.problem)), default=None)
    found = points(case.problem).problem

    assert best == max((values(found, choices) for choices in plans(found)), default=None)


def test_a_point_is_beaten_by_one_that_is_no_larger_and_worth_more_in_the_first_stage_that_differs() -> None:
    found = points(problem(option(5, (3, 0)), option(5, (2, 9)), option(4, (1, 0))))

    assert found.origins == (((0, 1), (2, 1)),)


def test_of_points_equal_in_everything_the_first_candidate_is_kept() -> None:
    assert points(problem(option(5, (3, 0)), option(5, (3, 0)))).origins == (((0, 1),),)


def test_a_point_is_not_beaten_from_another_pool_or_with_other_replicas() -> None:
    better, elsewhere = option(5, (3, 0)), dataclasses.replace(option(6, (2, 0)), pool=1)
    twice = dataclasses.replace(option(6, (2, 0)), blocks=2)

    assert len(points(problem(better, elsewhere, twice)).origins[0]) == 3


def test_a_role_that_fits_no_gpu_is_not_served() -> None:
    assert not points(problem(option(11, (1, 0)))).served


def option(size: int, worth: tuple[int, int]) -> Candidate:
    return Candidate(
        fixed=size, per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0, peak_per_sequence=0,
        least=1, most=1, worth=tuple((value, 0) for value in worth),
    )  # fmt: skip


def problem(*candidates: Candidate) -> Problem:
    pools = (PoolProblem(capacity=10), PoolProblem(capacity=10, nodes=(1,)))
    return Problem(roles=(RoleProblem(name="only", candidates=candidates),), pools=pools, stages=("one", "two"))
