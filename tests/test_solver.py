"""The solver against brute force: the same optimum, the same canonical plan, no matter how the problem is written."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Planted, candidates, fits, plans, planted, rank, values

from planner.solve.problem import Answer, Candidate, Problem
from planner.solve.stages import BudgetSpent, feasible, optimise

small = settings(max_examples=60, deadline=None)


def solved(problem: Problem) -> Answer:
    answer = optimise(problem)

    assert answer is not None
    return answer


@small
@given(planted())
def test_the_optimum_and_the_plan_are_those_of_brute_force(case: Planted) -> None:
    best = min(plans(case.problem), key=lambda choices: rank(case.problem, choices))

    answer = solved(case.problem)

    assert fits(case.problem, answer.choices)
    assert rank(case.problem, best) == rank(case.problem, answer.choices)
    assert values(case.problem, best) == tuple(stage.value for stage in answer.stages)


@small
@given(planted())
def test_every_stage_is_proven_and_at_least_the_planted_plan(case: Planted) -> None:
    answer = solved(case.problem)

    assert all(stage.proven and stage.value == stage.bound for stage in answer.stages)
    assert values(case.problem, case.choices) <= tuple(stage.value for stage in answer.stages)


@small
@given(planted(), st.integers(0, 40))
def test_what_is_called_impossible_is_impossible(case: Planted, capacity: int) -> None:
    problem = dataclasses.replace(case.problem, capacities=(capacity,) * len(case.problem.capacities))
    any_plan = next(plans(problem), None)

    assert (optimise(problem) is None) == (any_plan is None)
    assert feasible(problem) == (any_plan is not None)


@small
@given(planted(), st.integers(0, 25))
def test_more_memory_never_hurts(case: Planted, more: int) -> None:
    larger = dataclasses.replace(case.problem, capacities=tuple(have + more for have in case.problem.capacities))
    before = [stage.value for stage in solved(case.problem).stages[:-1]]
    after = [stage.value for stage in solved(larger).stages[:-1]]

    assert before <= after


@small
@given(planted())
def test_the_order_in_which_candidates_are_listed_changes_no_value(case: Planted) -> None:
    reversed_roles = tuple((name, options[::-1]) for name, options in case.problem.roles)
    other = dataclasses.replace(case.problem, roles=reversed_roles)

    assert [s.value for s in solved(case.problem).stages] == [s.value for s in solved(other).stages]


@small
@given(st.lists(candidates(), min_size=1, max_size=5), st.integers(10, 90))
def test_one_role_alone(options: list[Candidate], capacity: int) -> None:
    problem = Problem(roles=(("only", tuple(options)),), capacities=(capacity,), stages=("first", "second"))
    best = min(plans(problem), key=lambda choices: rank(problem, choices), default=None)

    answer = optimise(problem)

    assert (answer.choices if answer else None) == best


@given(planted())
@settings(max_examples=10, deadline=None)
def test_repeating_a_solve_repeats_the_answer(case: Planted) -> None:
    assert solved(case.problem) == solved(case.problem)


def test_a_spent_budget_is_an_error_of_its_own() -> None:
    candidate = Candidate(
        fixed=7, per_sequence=1, kv_floor=3, kv_per_sequence=2, peak_floor=1, peak_base=0,
        peak_per_sequence=1, least=1, most=9, worth=((3, 1),),
    )  # fmt: skip
    others = tuple(dataclasses.replace(candidate, fixed=7 + i, worth=((i, 1),)) for i in range(30))
    roles = tuple((f"r{i:02}", others) for i in range(12))
    problem = Problem(roles=roles, capacities=(150,) * 3, stages=("only",))

    with pytest.raises(BudgetSpent, match="not proven impossible"):
        optimise(problem, budget=0)
