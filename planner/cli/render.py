"""``planner render``: the files of a plan again, from plan.yaml, without solving."""

from pathlib import Path

import click

from planner.catalog import load_catalog
from planner.check import require
from planner.cli.exit_codes import EXIT_FILES_DIFFER
from planner.cli.json_text import json_option
from planner.cli.lock import PLAN_FILE, say_stale, with_targets
from planner.cli.output import check_files, plan_files, write_files
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile, folder_of
from planner.cli.write_options import check_option, dry_run_option, force_option, targets_option, templates_option
from planner.fleet import load_fleet
from planner.plan import plan_from_yaml

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
    file = source / PLAN_FILE if source.is_dir() else source
    folder = out or folder_of(file)
    if folder is None:
        raise click.UsageError("standard input is in no folder: name one with --out")
    catalog = load_catalog(overlays=catalog_folders)
    plan = plan_from_yaml(file)
    fleet = load_fleet(fleet_file or file.parent / "fleet.yaml", catalog)
    changed = say_stale(plan, fleet, catalog, file.parent)
    require(plan, fleet, catalog, objective=not changed)
    files = plan_files(with_targets(plan, targets or plan.lock.targets), templates)
    if check:
        check_files(plan, plan, files, folder, as_json=as_json)
    elif write_files(plan, files, folder, force=force, dry_run=dry_run, as_json=as_json):
        raise SystemExit(EXIT_FILES_DIFFER)
