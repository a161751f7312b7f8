"""``planner explain``: why the plan of a fleet is as it is, and what more memory would buy."""

from pathlib import Path

import click

from planner.cli import names
from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile

_EPILOG = """\b
Exit code: 0 the plan is proven best; 3 no plan exists, and stdout explains why;
4 a plan was found but not proven best within --time-limit; 1 any other error.
"""


@click.command(epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(), default="fleet.yaml")
@click.argument("role", type=names.ROLE, required=False)
@catalog_option
@json_option
@time_limit_option
def explain(
    fleet_file: Path, role: str | None, catalog_folders: tuple[Path, ...], as_json: bool, time_limit: int
) -> None:
    """Explain the plan of a fleet, or of one role.

    Why each role has this variant and not another, what binds on each GPU, and what one more GiB
    would buy: all of it solved, not estimated. The plan is the one that planner solve would make
    now; without any it says what planner solve says.
    """
    from planner.cli.explaining import explained  # not to show or complete options

    raise SystemExit(explained(fleet_file, role, catalog_folders, as_json, time_limit))
