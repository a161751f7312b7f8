"""``planner render``: the files of a plan again, from plan.yaml, without solving."""

from pathlib import Path

import click

from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile
from planner.cli.write_options import check_option, dry_run_option, force_option, targets_option, templates_option

_EPILOG = """\b
Exit code: 0 the files are there; 5 a file that was edited by hand was left alone,
or --check found a difference; 1 any other error.
"""


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="PLAN", type=InputFile(), default=".")
@click.option(
    "--fleet",
    "fleet_file",
    type=InputFile(),
    metavar="FILE",
    help="Fleet the plan was made for; by default fleet.yaml in the plan's folder.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for plan.yaml and artifacts/; by default that of the plan.",
)
@catalog_option
@templates_option
@targets_option
@check_option
@dry_run_option
@force_option
@json_option
def render(
    source: Path,
    fleet_file: Path | None,
    out: Path | None,
    catalog_folders: tuple[Path, ...],
    templates: Path | None,
    targets: tuple[str, ...],
    check: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Render the files of a plan again, without solving.

    PLAN is a plan.yaml or its folder, which gets artifacts/ unless --out names another, or - for standard
    input, which needs --out. The plan is checked first, as after a solve: one that breaks its promises is not rendered.
    When the fleet has changed since the plan was made, stderr says so, and the plan must still keep its promises.
    """
    from planner.cli.rendering import Asked, rendered  # not to show or complete options

    asked = Asked(
        source=source,
        fleet_file=fleet_file,
        out=out,
        catalog_folders=catalog_folders,
        templates=templates,
        targets=targets,
        check=check,
        dry_run=dry_run,
        force=force,
        as_json=as_json,
    )
    raise SystemExit(rendered(asked))
