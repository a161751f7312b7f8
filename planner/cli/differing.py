"""What ``planner diff`` does with two plan files: print what differs, in words, as JSON or as a table for a review."""

from collections.abc import Sequence
from pathlib import Path

import click

from planner import explain
from planner.catalog import load_catalog
from planner.check.placement import check_same_fleet
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.fleet import load_fleet
from planner.plain_data import as_dict
from planner.plan import Plan, differences, earlier_plan, plan_from_yaml
from planner.plan.moves import Moves


def differing(old: Path, new: Path, fleet_file: Path | None, catalog_folders: Sequence[Path], *, as_json: bool) -> int:
    """Print what differs, and how the machines of a fleet get from one plan to the other; return the exit code."""
    before, after = plan_from_yaml(old), plan_from_yaml(new)
    found = differences(before, after)
    moving = _moves(fleet_file, catalog_folders, before, after) if fleet_file else None
    if as_json:
        more = {"moves": as_dict(moving[0])} if moving else {}
        say_json({"differences": [as_dict(item) for item in found], **more})
    else:
        click.echo(shown(explain.difference(found)))
        if moving:
            click.echo(f"\n{shown(moving[1])}")
    return EXIT_FILES_DIFFER if found else EXIT_PROVEN


def _moves(fleet_file: Path, catalog_folders: Sequence[Path], before: Plan, after: Plan) -> tuple[Moves, str]:
    """Return how the machines of a fleet get from one plan to the other, and that in words."""
    from planner.cli.moving import checked_moves, moves_text  # loads the solver, which a plain diff does not need

    fleet = load_fleet(fleet_file, load_catalog(overlays=catalog_folders))
    if wrong := list(check_same_fleet(after, fleet)):
        raise click.UsageError(f"{fleet_file} is not the fleet of the new plan: {wrong[0]}")
    found = checked_moves(fleet, before, after)
    return found, moves_text(fleet, found, after)


def as_table(old: Path, new: Path) -> int:
    """Print what a new plan brings as a table in Markdown, and return the exit code."""
    from planner.explain.change_table import change_table

    before, after = earlier_plan(old), plan_from_yaml(new)
    click.echo(change_table(before, after), nl=False)
    return EXIT_FILES_DIFFER if before is None or differences(before, after) else EXIT_PROVEN
