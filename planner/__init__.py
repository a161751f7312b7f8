"""Proven deployment plans for self-hosted LLM serving.

    import planner

    fleet = planner.load_fleet("fleet.yaml")
    answer = planner.solve(fleet)
    if isinstance(answer, planner.Plan):
        planner.write(planner.render(answer), Path("artifacts"))

The names below are the public interface, described in docs/python-api.md. Each is imported when it is first used, so
that ``import planner`` loads neither the solver nor the template engine.
"""

import importlib
from typing import TYPE_CHECKING

from planner import version

if TYPE_CHECKING:
    from planner.artifacts import File
    from planner.artifacts.render import render
    from planner.artifacts.write import write
    from planner.catalog import Catalog, load_catalog
    from planner.errors import CheckFailed, InputError, PlannerError, Problem
    from planner.fleet import Edit, Fleet, Pool, Role, Scenario, load_fleet, read_fleet, scenarios
    from planner.plan import Difference, Frontier, NoPlan, Plan, ServerPlan, differences, plan_from_yaml, plan_to_yaml
    from planner.solve import BudgetSpent, pareto
    from planner.solve import solve_and_check as solve
    from planner.solve.scenarios import ScenarioOutcome, what_if


__version__ = version.VERSION

_HOMES = {
    "artifacts": ("File", "render", "write"),
    "catalog": ("Catalog", "load_catalog"),
    "errors": ("CheckFailed", "InputError", "PlannerError", "Problem"),
    "fleet": ("Edit", "Fleet", "Pool", "Role", "Scenario", "load_fleet", "read_fleet", "scenarios"),
    "plan": ("Difference", "Frontier", "NoPlan", "Plan", "ServerPlan", "differences", "plan_from_yaml", "plan_to_yaml"),
    "solve": ("BudgetSpent", "pareto", "solve"),
    "solve.scenarios": ("ScenarioOutcome", "what_if"),
}
"""Room -> the public names it holds. The room ``solve`` is callable itself, for a room hides a function of its name."""

__all__ = [
    "BudgetSpent",
    "Catalog",
    "CheckFailed",
    "Difference",
    "Edit",
    "File",
    "Fleet",
    "Frontier",
    "InputError",
    "NoPlan",
    "Plan",
    "PlannerError",
    "Pool",
    "Problem",
    "Role",
    "Scenario",
    "ScenarioOutcome",
    "ServerPlan",
    "__version__",
    "differences",
    "load_catalog",
    "load_fleet",
    "pareto",
    "plan_from_yaml",
    "plan_to_yaml",
    "read_fleet",
    "render",
    "scenarios",
    "solve",
    "what_if",
    "write",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    room = next((room for room, names in _HOMES.items() if name in names), None)
    if room is None:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    home = importlib.import_module(f"planner.{room}")
    return home if name == room else getattr(home, name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
