"""What the page compares a plan with: scenarios, the points of a frontier, and an earlier plan."""

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from planner import explain
from planner.explain.frontier_text import UNITS, axis_title, axis_value, bases, listed_points
from planner.explain.scenario_text import against, gpus_of, in_short, per_hour, per_million, served, status
from planner.fleet import Fleet
from planner.plan import LESS, Frontier, NoPlan, Plan, differences, undominated

if TYPE_CHECKING:  # it loads the solver, which a page of a plan that is there does without
    from planner.solve.scenarios import ScenarioOutcome


class ScenarioRow(Struct, frozen=True, kw_only=True):
    """One scenario; prices are dollars, None where they are not known, ``why`` says why there is no plan."""

    name: str
    gpus: str
    per_hour: float | None
    per_million: float | None
    status: str
    change: str
    roles: tuple[str, ...]
    why: str


class Scenarios(Struct, frozen=True, kw_only=True):
    """A table of scenarios, the fleet as it is written first; ``roles`` names the columns of ``ScenarioRow.roles``."""

    roles: tuple[str, ...]
    rows: tuple[ScenarioRow, ...]


class Point(Struct, frozen=True, kw_only=True):
    """One point of a frontier: its number, its values in the units of the axes, and how roles are served there."""

    number: int
    x: float
    y: float
    proven: bool
    roles: tuple[str, ...]


class FrontierView(Struct, frozen=True, kw_only=True):
    """A frontier; ``rising`` is whether the best for a value of ``x`` is that of the point before it."""

    x: str
    y: str
    x_unit: str
    y_unit: str
    rising: bool
    roles: tuple[str, ...]
    points: tuple[Point, ...]
    text: str


class Changes(Struct, frozen=True, kw_only=True):
    """What differs from an earlier plan, a line each, and how its fleet file differs, as a unified diff."""

    lines: tuple[str, ...]
    fleet_diff: str


class Compared(Struct, frozen=True, kw_only=True):
    """What a page compares its plan with; None is nothing."""

    scenarios: Scenarios | None = None
    frontier: FrontierView | None = None
    changes: Changes | None = None


def scenario_table(outcomes: Sequence["ScenarioOutcome"]) -> Scenarios:
    """Return the table of scenarios, all against the first."""
    roles = tuple(sorted({role.name for outcome in outcomes for role in outcome.fleet.roles}))
    first = outcomes[0]
    return Scenarios(
        roles=roles,
        rows=tuple(
            ScenarioRow(
                name=outcome.scenario.name,
                gpus=gpus_of(outcome.fleet),
                per_hour=per_hour(outcome.answer, outcome.price),
                per_million=per_million(outcome.answer),
                status=status(outcome.answer),
                change="" if outcome is first else against(first.answer, outcome.answer),
                roles=tuple(served(outcome.answer, role) for role in roles),
                why="" if isinstance(outcome.answer, Plan) else in_short(outcome.answer),
            )
            for outcome in outcomes
        ),
    )


def frontier_view(found: Frontier | NoPlan, fleet: Fleet) -> FrontierView | None:
    """Return a frontier as the page shows it; None when the fleet has no plan."""
    if isinstance(found, NoPlan):
        return None
    titles = [axis_title(found, axis) for axis in (found.x, found.y)]
    return FrontierView(
        x=found.x,
        y=found.y,
        x_unit=UNITS[titles[0]],
        y_unit=UNITS[titles[1]],
        rising=found.x in LESS,
        roles=tuple(role.name for role in fleet.roles),
        points=tuple(
            Point(
                number=number,
                x=axis_value(plan, found.x, fleet),
                y=axis_value(plan, found.y, fleet),
                proven=undominated(plan),
                roles=tuple(served(plan, role.name) for role in fleet.roles),
            )
            for number, plan in enumerate(found.plans, 1)
        ),
        text="\n".join((listed_points(found), *(f"Price: {basis}." for basis in bases(found)))),
    )


def changes(old: Plan, new: Plan, old_fleet: str | None, new_fleet: str) -> Changes:
    """Return what differs between two plans and, where the earlier one's is known, between their fleet files."""
    lines = explain.difference(differences(old, new)).splitlines()
    before = new_fleet if old_fleet is None else old_fleet
    diff = difflib.unified_diff(before.splitlines(), new_fleet.splitlines(), "earlier", "now", lineterm="")
    return Changes(lines=tuple(lines), fleet_diff="\n".join(diff))
