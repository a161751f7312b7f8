"""Roles that take turns against brute force: the largest awake set counts on every GPU, and what sleepers keep."""

from hypothesis import given, settings
from problems import Planted, fits, headroom, in_turns, plans, valid, values

from planner.search.feasible import feasible
from planner.search.optimise import optimise
from planner.search.problem import Candidate, PoolProblem, Problem, RoleProblem, Turn

few = settings(max_examples=60, deadline=None)


@few
@given(in_turns())
def test_the_optimum_is_that_of_brute_force(case: Planted) -> None:
    found = [(values(case.problem, choices), headroom(case.problem, choices)) for choices in plans(case.problem)]

    answer = optimise(case.problem)

    assert (answer is None) == (not found)
    if answer:
        reached = tuple(stage.value for stage in answer.stages)
        assert valid(case.problem, answer.choices)
        assert reached == (*values(case.problem, answer.choices), headroom(case.problem, answer.choices))
        assert all(stage.proven and stage.value == stage.bound for stage in answer.stages)
        assert (reached[:-1], reached[-1]) == max(found)


@few
@given(in_turns())
def test_what_is_called_impossible_is_impossible(case: Planted) -> None:
    assert feasible(case.problem) == (next(plans(case.problem), None) is not None)


def role(name: str, size: int, asleep: int = 0, host: int = 0) -> RoleProblem:
    candidate = Candidate(
        fixed=size,
        per_sequence=0,
        kv_floor=0,
        kv_per_sequence=0,
        peak_floor=0,
        peak_base=0,
        peak_per_sequence=0,
        least=1,
        most=1,
        worth=((1, 0),),
        asleep=asleep,
        host=host,
    )
    return RoleProblem(name=name, candidates=(candidate,))


def shared(*roles: RoleProblem, capacity: int, awake: int = 1, host: int | None = None) -> Problem:
    turn = Turn(tuple(range(len(roles))), awake)
    return Problem(roles=roles, pools=(PoolProblem(capacity=capacity),), stages=("first",), turns=(turn,), host=host)


def test_a_gpu_holds_the_largest_awake_set_and_what_the_others_keep() -> None:
    roles = role("a", 60, asleep=5), role("b", 50, asleep=8), role("c", 40, asleep=2)

    assert optimise(shared(*roles, capacity=70)) is not None
    assert optimise(shared(*roles, capacity=69)) is None
    assert optimise(shared(*roles, capacity=112, awake=2)) is not None
    assert optimise(shared(*roles, capacity=111, awake=2)) is None


def test_sleepers_keep_within_the_memory_of_the_machine() -> None:
    roles = role("a", 60, host=30), role("b", 50, host=20)

    assert optimise(shared(*roles, capacity=60, host=50)) is not None
    assert optimise(shared(*roles, capacity=60, host=49)) is None


def test_a_smaller_option_that_keeps_more_asleep_does_not_hide_one_that_keeps_less() -> None:
    small, lean = role("b", 50, asleep=20).candidates[0], role("b", 55, asleep=1).candidates[0]
    both = RoleProblem(name="b", candidates=(small, lean))

    answer = optimise(shared(role("a", 60), both, capacity=61))

    assert answer is not None
    assert answer.choices[1] is not None
    assert answer.choices[1].candidate == 1
    assert fits(shared(role("a", 60), both, capacity=61), answer.choices)
