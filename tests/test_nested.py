"""Nested: what blocks of GPUs hold at best gives the best plan of all, and the one the solver ends with."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from problems import Plan, decided, many_gpus, plans, rank

from planner.search import nested as module
from planner.search.bounds import Bounds
from planner.search.chain import weighing
from planner.search.model import build
from planner.search.nested import nested
from planner.search.optimise import optimise
from planner.search.pieces import pieces
from planner.search.problem import (
    COST,
    MINIMAL_CHANGE,
    Candidate,
    PoolProblem,
    Problem,
    RoleProblem,
    Turn,
)

few = settings(max_examples=60, deadline=None)


@st.composite
def one_server_each(draw: st.DrawFn) -> Problem:
    """Up to three roles of one server each on one to four GPUs; some of their candidates may be barred."""
    problem = draw(many_gpus()).problem
    roles = []
    for role in problem.roles:
        found = [replace(c, blocks=1, stages=1, across=False, barred=draw(st.booleans())) for c in role.candidates]
        roles.append(replace(role, candidates=tuple(found)))
    pools = tuple(replace(pool, capacity=draw(st.integers(10, 80))) for pool in problem.pools)
    return replace(problem, roles=tuple(roles), pools=pools, stages=("first", "second"))


@few
@given(one_server_each())
def test_the_choice_is_that_of_the_first_of_the_best_plans(problem: Problem) -> None:
    problem = pieces(problem).problem
    assume(all(role.candidates or role.optional for role in problem.roles))
    found = [choices for choices in plans(problem) if not barred(problem, choices)]

    best = min(found, key=lambda choices: rank(problem, choices), default=None)

    assert nested(bounds(problem)) == (best and decided(best))


@few
@given(one_server_each())
def test_the_answer_is_the_same_as_without_it(problem: Problem) -> None:
    answer = optimise(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST", -1)
        assert answer == optimise(problem)


def test_what_is_not_a_sum_over_single_servers_is_left_to_the_solver() -> None:
    one = Candidate(
        fixed=3, per_sequence=1, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0, peak_per_sequence=0,
        least=1, most=1, worth=((1, 0),),
    )  # fmt: skip
    roles = tuple(RoleProblem(name=name, candidates=(one,)) for name in "ab")
    problem = Problem(roles=roles, pools=(PoolProblem(capacity=4, width=2),), stages=("only",))
    several = tuple(replace(role, candidates=(replace(one, blocks=2),)) for role in roles)

    assert nested(bounds(problem)) == [(0, 1), (0, 1)]
    assert nested(bounds(replace(problem, stages=(COST,)))) is None
    assert nested(bounds(replace(problem, stages=(MINIMAL_CHANGE,)))) is None
    assert nested(bounds(replace(problem, floors=((0, 2),)))) is None
    assert nested(bounds(replace(problem, turns=(Turn((0, 1), 1),)))) is None
    assert nested(bounds(replace(problem, roles=several))) is None


def bounds(problem: Problem) -> Bounds:
    return Bounds(problem, weighing(build(problem)))


def barred(problem: Problem, choices: Plan) -> bool:
    """Whether every role that has barred candidates chooses one of them."""
    pairs = [
        (role, one) for role, one in zip(problem.roles, choices, strict=True) if any(c.barred for c in role.candidates)
    ]
    return bool(pairs) and all(one and role.candidates[one.candidate].barred for role, one in pairs)
