"""One fleet, solved: options, answer, plan; what ``solve`` and everything that explains its plan begin with."""

import dataclasses

from planner.catalog import Catalog
from planner.engine import load_profile
from planner.fleet import Fleet
from planner.options import Prepared, prepare
from planner.plan import NoPlan, Plan, lock_of
from planner.solve.assemble import Decision, assemble, decisions
from planner.solve.bindings import bindings
from planner.solve.conflict import conflict
from planner.solve.hold import earlier, hold
from planner.solve.problem import Answer
from planner.solve.search import optimise
from planner.solve.translate import problem


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A plan, still without a runner-up, and what it was made from."""

    plan: Plan
    prepared: Prepared
    decided: tuple[Decision, ...]


def whole(fleet: Fleet, catalog: Catalog, budget: int, previous: Plan | None = None) -> Solved | NoPlan:
    """Return the best plan for a fleet, or why there is none; it follows a previous plan where that costs nothing.

    Raises:
        BudgetSpent: neither could be shown within the solver's budget.
        UnknownName: no memory profile covers the engine version.
    """
    prepared = prepare(fleet, catalog, load_profile(fleet.engine_version))
    if not all(found.options or found.role.optional for found in prepared.roles):
        return conflict(fleet, catalog, prepared)
    whole_problem = problem(fleet, prepared)
    answer = optimise(whole_problem, budget)
    if answer is None:
        return conflict(fleet, catalog, prepared)
    fresh = solved(fleet, catalog, prepared, answer, budget)
    if previous is None:
        return fresh
    held = hold(whole_problem, answer, earlier(fleet, prepared, previous))
    followed = solved(fleet, catalog, prepared, held, budget, previous)
    return fresh if followed.plan.servers == fresh.plan.servers else _held(followed)


def _held(found: Solved) -> Solved:
    """Say that a plan would be another one without the previous plan."""
    lock = dataclasses.replace(found.plan.lock, held=True)
    return dataclasses.replace(found, plan=dataclasses.replace(found.plan, lock=lock))


def solved(
    fleet: Fleet, catalog: Catalog, prepared: Prepared, answer: Answer, budget: int, previous: Plan | None = None
) -> Solved:
    """Return the plan of an answer, with what binds it and the ports of a previous plan."""
    decided = decisions(prepared, answer)
    plan = assemble(fleet, prepared, answer, budget, lock_of(fleet, catalog, prepared.profile), previous)
    plan = dataclasses.replace(plan, bindings=bindings(prepared, decided))
    return Solved(plan=plan, prepared=prepared, decided=decided)
