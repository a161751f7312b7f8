"""The Pareto frontier: exactly the undominated plans, each of them complete and checked, and each can be rendered."""

from collections.abc import Callable

from hypothesis import assume, given, settings
from msgspec.structs import replace
from problems import Planted, many_gpus, one_gpu, plans, valid, values

from planner.search.optimise import optimise
from planner.search.problem import COST, Answer, Problem
from planner.solve.frontier import Found, walk

few = settings(max_examples=40, deadline=None)
Pair = tuple[int, int]


def undominated(problem: Problem) -> list[Pair]:
    """The pairs of the first two stages of all plans that no other pair equals or beats in both, best first."""
    pairs = {(found[0], found[1]) for choices in plans(problem) if (found := values(problem, choices))}
    return sorted(
        (one for one in pairs if not any(o != one and o[0] >= one[0] and o[1] >= one[1] for o in pairs)), reverse=True
    )


def above(problem: Problem) -> Callable[[int | None], Answer | None]:
    def best(floor: int | None) -> Answer | None:
        floors = () if floor is None else ((1, floor),)
        return optimise(replace(problem, floors=floors))

    return best


def pairs(found: list[Found]) -> list[Pair]:
    return [(one.leading, one.other) for one in found]


@few
@given(one_gpu())
def test_on_one_gpu_the_frontier_is_that_of_brute_force(case: Planted) -> None:
    found = list(walk(above(case.problem)))

    assert pairs(found) == undominated(case.problem)
    assert all(one.proven for one in found)


@few
@given(many_gpus())
def test_on_many_gpus_the_frontier_is_that_of_brute_force(case: Planted) -> None:
    assume(case.problem.stages[1] != COST)
    found = list(walk(above(case.problem)))

    assert pairs(found) == undominated(case.problem)
    for one in found:
        assert valid(case.problem, one.answer.choices)
        assert values(case.problem, one.answer.choices)[:2] == (one.leading, one.other)


@few
@given(one_gpu())
def test_steps_give_the_first_undominated_plan_from_each(case: Planted) -> None:
    every = undominated(case.problem)
    low, high = every[0][1], every[-1][1]
    steps = [*range(low, high, 3), high]
    expected = [every[0], *(next(pair for pair in every if pair[1] >= step) for step in steps)]

    assert pairs(list(walk(above(case.problem), steps))) == list(dict.fromkeys(expected))
