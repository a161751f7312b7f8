"""Solve: a fleet in; its proven best plan, or the proof that there is none, out.

``whole`` prepares the options (``within`` those that reach as much as the runner-up of a plan found quickly), has the
search choose, and goes to ``planner.conflict`` when nothing fits; ``hold`` keeps what an earlier plan decided;
``assemble`` turns the answer into a plan, ``bindings`` says why it is no better and ``alternatives`` what the next best
combination of variants would be. ``frontier`` and ``scenarios`` solve many.
"""

import sys
import types

from planner.catalog import Catalog, load_catalog
from planner.check import require
from planner.fleet import Fleet
from planner.plan import NoPlan, Plan
from planner.search.budget import BUDGET, BudgetSpent, spending
from planner.solve.alternatives import with_runner_up
from planner.solve.frontier import NoSuchPoint, pareto
from planner.solve.whole import whole

__all__ = ["BUDGET", "BudgetSpent", "NoSuchPoint", "pareto", "solve", "solve_and_check"]


def solve(fleet: Fleet, catalog: Catalog, budget: int = BUDGET, previous: Plan | None = None) -> Plan | NoPlan:
    """Return the best plan for a fleet, or why there is none.

    ``budget`` is in deterministic seconds for all searching, the runner-up included: it counts steps of the solver, so
    that a run repeats on any machine. What a ``previous`` plan decided stays where nothing is better for a change.

    Raises:
        BudgetSpent: neither could be shown within the solver's budget.
        UnknownName: no memory profile covers the engine version.
    """
    with spending(budget):
        found = whole(fleet, catalog, budget, previous)
        return found if isinstance(found, NoPlan) else with_runner_up(fleet, catalog, found, budget)


def solve_and_check(
    fleet: Fleet, catalog: Catalog | None = None, budget: int = BUDGET, previous: Plan | None = None
) -> Plan | NoPlan:
    """Return what ``solve`` returns, after the independent check; by default with the shipped catalog.

    Raises:
        BudgetSpent: neither a plan nor its impossibility could be shown within the solver's budget.
        CheckFailed: the plan does not keep its promises, which is a defect of the planner.
        UnknownName: no memory profile covers the engine version.
    """
    catalog = catalog or load_catalog()
    answer = solve(fleet, catalog, budget, previous)
    if isinstance(answer, Plan):
        require(answer, fleet, catalog)
    return answer


class _Room(types.ModuleType):
    """This room, which hides the function ``planner.solve`` by its name, and is called in its place."""

    def __call__(
        self, fleet: Fleet, catalog: Catalog | None = None, budget: int = BUDGET, previous: Plan | None = None
    ) -> Plan | NoPlan:
        return solve_and_check(fleet, catalog, budget, previous)


sys.modules[__name__].__class__ = _Room
