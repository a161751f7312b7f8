"""``planner diff``: what differs between two plan files, in words."""

from pathlib import Path

import click

from planner import explain
from planner.catalog import load_catalog
from planner.check.placement import check_same_fleet
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile
from planner.fleet import load_fleet
from planner.plain_data import as_dict
from planner.plan import Plan, differences, earlier_plan, plan_from_yaml
from planner.plan.moves import Moves

_EPILOG = """\b
Exit code: 0 both plans promise the same; 5 they differ; 1 a file is not a plan
this version reads.
"""

_PLAN_FILE = InputFile()


@click.command(epilog=_EPILOG)
@click.argument("old", type=_PLAN_FILE)
@click.argument("new", type=_PLAN_FILE)
@click.option(
    "--fleet",
    "fleet_file",
    type=_PLAN_FILE,
    metavar="FILE",
    help="The fleet of NEW: say also in which order its machines get from OLD to NEW.",
)
@catalog_option
@json_option
@click.option("--markdown", is_flag=True, help="Print a table of memory, speed and dollars for a review.")
def diff(
    old: Path, new: Path, fleet_file: Path | None, catalog_folders: tuple[Path, ...], as_json: bool, markdown: bool
) -> None:
    """Say what differs between two plan files.

    Compared is what the plans promise: engine, servers, GPUs and what was maximised; not how it was proven. With
    --markdown, an empty OLD stands for no plan before. With --fleet it also lists which servers move, start and stop,
    in an order in which no role falls below its minimum where there is one.
    """
    if markdown:
        if as_json or fleet_file:
            raise click.UsageError(f"give --markdown or {'--json' if as_json else '--fleet'}, not both")
        raise SystemExit(_markdown(old, new))
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
    raise SystemExit(EXIT_FILES_DIFFER if found else EXIT_PROVEN)


def _moves(fleet_file: Path, catalog_folders: tuple[Path, ...], before: Plan, after: Plan) -> tuple[Moves, str]:
    """Return how the machines of a fleet get from one plan to the other, and that in words."""
    from planner.cli.moving import checked_moves, moves_text  # loads the solver, which a plain diff does not need

    fleet = load_fleet(fleet_file, load_catalog(overlays=catalog_folders))
    if wrong := list(check_same_fleet(after, fleet)):
        raise click.UsageError(f"{fleet_file} is not the fleet of the new plan: {wrong[0]}")
    found = checked_moves(fleet, before, after)
    return found, moves_text(fleet, found, after)


def _markdown(old: Path, new: Path) -> int:
    """Print what a new plan brings, and return the exit code."""
    from planner.explain.change_table import change_table

    before, after = earlier_plan(old), plan_from_yaml(new)
    click.echo(change_table(before, after), nl=False)
    return EXIT_FILES_DIFFER if before is None or differences(before, after) else EXIT_PROVEN
