"""Bounds: no plan is worth more than they say, and what they leave out is in no best plan."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from problems import Planted, in_turns, many_gpus, one_gpu, plans, values

from planner.search import narrow
from planner.search.bounds import Bounds
from planner.search.chain import weighing
from planner.search.model import build
from planner.search.optimise import optimise
from planner.search.pieces import pieces

cases = st.one_of(one_gpu(), many_gpus(), in_turns())
few = settings(max_examples=60, deadline=None)


@few
@given(cases)
def test_no_plan_exceeds_its_bounds(case: Planted) -> None:
    assume(pieces(case.problem).served)
    problem = pieces(case.problem).problem
    limits = Bounds(problem, weighing(build(problem)))

    for choices in plans(problem):
        worth = limits.weighing.sum(values(problem, choices))
        assert worth <= limits.total
        assert all(worth <= limits.of(role, one.candidate) for role, one in enumerate(choices) if one)


@few
@given(cases)
def test_the_best_plan_is_in_the_part_that_reaches_as_much(case: Planted) -> None:
    problem = pieces(case.problem).problem
    best = max((values(problem, choices) for choices in plans(problem)), default=None)
    assume(best is not None)
    assert best is not None
    limits = Bounds(problem, weighing(build(problem)))

    part = limits.part(limits.weighing.sum(best))

    assert best in {values(part.problem, choices) for choices in plans(part.problem)}


@few
@given(case=cases)
def test_beginning_with_few_candidates_changes_no_answer(case: Planted) -> None:
    whole = optimise(case.problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "_FIRST", 1)
        patch.setattr(narrow, "_MORE", 2)
        assert optimise(case.problem) == whole
