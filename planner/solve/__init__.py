"""Solve: the best plan for a fleet, proven, or the proof that there is none. The only room that imports ortools.

``translate`` turns prepared options into integers (``problem``), ``model`` into CP-SAT variables and rows; ``stages``
maximises one thing after another; ``assemble`` turns the answer into a plan, ``bindings`` says what stops it from being
better. When there is none, ``conflict`` finds the requirements that exclude each other and ``changes`` what would help.
"""

import dataclasses

from planner.catalog import Catalog
from planner.engine import load_profile
from planner.fleet import Fleet
from planner.options import Prepared, prepare
from planner.plan import NoPlan, Plan, RunnerUp
from planner.solve.assemble import assemble, decisions, runner_up
from planner.solve.bindings import bindings
from planner.solve.conflict import conflict
from planner.solve.stages import BUDGET, BudgetSpent, optimise
from planner.solve.translate import problem

__all__ = ["BUDGET", "BudgetSpent", "solve"]


def solve(fleet: Fleet, catalog: Catalog, budget: int = BUDGET) -> Plan | NoPlan:
    """Return the best plan for a fleet, or why there is none.

    ``budget`` is in deterministic seconds: it counts steps of the solver, so that a run repeats on any machine.

    Raises:
        BudgetSpent: neither could be shown within the solver's budget.
        UnknownName: no memory profile covers the engine version.
    """
    prepared = prepare(fleet, catalog, load_profile(fleet.engine_version))
    if not all(found.options for found in prepared.roles):
        return conflict(fleet, catalog, prepared)
    answer = optimise(problem(fleet, prepared), budget)
    if answer is None:
        return conflict(fleet, catalog, prepared)
    decided = decisions(prepared, answer)
    return dataclasses.replace(
        assemble(fleet, prepared, answer, budget),
        bindings=bindings(prepared, decided),
        runner_up=_runner_up(fleet, prepared, tuple(d.option.variant.repository for d in decided), budget),
    )


def _runner_up(fleet: Fleet, prepared: Prepared, chosen: tuple[str, ...], budget: int) -> RunnerUp | None:
    """Return the best plan with another combination of variants than the one chosen; None if none was found."""
    wider = dataclasses.replace(
        prepared, roles=tuple(dataclasses.replace(found, options=found.alternatives) for found in prepared.roles)
    )
    try:
        answer = optimise(problem(fleet, wider, (chosen,)), budget)
    except BudgetSpent:
        return None
    return runner_up(wider, answer) if answer else None
