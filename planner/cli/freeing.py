"""``planner what-if --free-node`` and ``--free-gpus``: the fewest moves that make room, from the plan that runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from planner.catalog import Catalog
from planner.check import check
from planner.check.moves import check_moves
from planner.check.placement import check_gpus, check_roles
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NO_PLAN, EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.cli.lock import PLAN_FILE, plan_there
from planner.cli.shared import hint
from planner.cli.text import wrapped
from planner.errors import CheckFailed
from planner.explain import no_plan
from planner.explain.freeing_text import freeing
from planner.fleet import Fleet, load_fleet
from planner.plain_data import as_dict
from planner.plan import NoPlan, Plan, plan_json
from planner.plan.freeing import FreedPlan, Freeing
from planner.search.budget import spending
from planner.solve.freeing import free
from planner.solve.whole import whole


def running_plan(fleet_file: Path, fleet: Fleet, catalog: Catalog) -> Plan | None:
    """Return the plan beside a fleet, None when there is none, or none that holds for the fleet."""
    folder = fleet_file.parent
    found = plan_there(folder)
    if found and check(found, fleet, catalog, objective=False):
        hint(f"{folder / PLAN_FILE} is no plan of this fleet any more, so moves are from a new one")
        return None
    return found


def say_freed(fleet_file: Path, catalog: Catalog, asked: Sequence[Freeing], time_limit: int, *, as_json: bool) -> int:
    """Say what the fewest moves are after which each of the places asked for is free, and return the exit code."""
    fleet = load_fleet(fleet_file, catalog)
    plan = running_plan(fleet_file, fleet, catalog)
    if plan is None:
        with spending(time_limit):
            solved = whole(fleet, catalog, time_limit)
        if isinstance(solved, NoPlan):
            document = {"scenarios": [], "freed": [], "no_plan": json.loads(plan_json(solved))}
            say_json(document) if as_json else click.echo(shown(wrapped(no_plan(solved))))
            return EXIT_NO_PLAN
        plan = solved.plan
    found = [_checked(fleet, plan, free(fleet, plan, one, time_limit)) for one in asked]
    if as_json:
        say_json({"scenarios": [], "freed": [_document(one) for one in found]})
    else:
        click.echo(shown(wrapped("\n\n".join(freeing(one) for one in found))))
    return EXIT_PROVEN if all(one.moved == one.at_least for one in found) else EXIT_NOT_PROVEN


def _checked(fleet: Fleet, plan: Plan, found: FreedPlan) -> FreedPlan:
    """Return what was found after an independent check: every server has room where it goes, and every step before.

    Raises:
        CheckFailed: it has not, which is a defect of the planner.
    """
    if found.plan and found.moves:
        wrong = [*check_gpus(found.plan, fleet), *check_roles(found.plan, fleet)]
        wrong += check_moves(found.moves, plan, found.plan, fleet)
        if wrong:
            raise CheckFailed(tuple(str(violation) for violation in wrong))
    return found


def _document(found: FreedPlan) -> dict[str, Any]:
    return {
        "asked": as_dict(found.asked),
        "free": list(found.free),
        "moved": found.moved if found.moves else None,
        "at_least": found.at_least if found.moves else None,
        "reason": found.reason,
        "moves": as_dict(found.moves) if found.moves else None,
    }
