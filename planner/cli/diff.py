"""``planner diff``: what differs between two plan files, in words."""

from pathlib import Path

import click

from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile

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
    from planner.cli.differing import as_table, differing  # not to show or complete options

    if markdown:
        if as_json or fleet_file:
            raise click.UsageError(f"give --markdown or {'--json' if as_json else '--fleet'}, not both")
        raise SystemExit(as_table(old, new))
    raise SystemExit(differing(old, new, fleet_file, catalog_folders, as_json=as_json))
