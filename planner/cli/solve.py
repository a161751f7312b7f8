"""``planner solve``: a fleet -> the proven best plan, printed, and written with the files that run it."""

from pathlib import Path

import click

from planner.catalog import load_catalog
from planner.cli.axes import check_axes, points_option, x_option, y_option
from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option, done, hint, time_limit_option
from planner.cli.stdin import InputFile, folder_of
from planner.cli.terminal import working
from planner.cli.write_options import (
    check_option,
    dry_run_option,
    force_option,
    fresh_option,
    targets_option,
    templates_option,
)

_EPILOG = """\b
Exit code: 0 the plan is proven best; 3 no plan exists, and the output explains why;
4 a plan was found but not proven best within --time-limit; 5 a file that was
edited by hand was left alone, or --check found a difference; 1 any other error.
"""


@click.command(epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(), default="fleet.yaml")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for plan.yaml and artifacts/; by default that of the fleet file.",
)
@catalog_option
@templates_option
@targets_option
@json_option
@check_option
@fresh_option
@dry_run_option
@force_option
@x_option(required=False)
@y_option(required=False)
@click.option(
    "--point",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plan point N of the list that planner pareto prints, instead of the fleet's own objective.",
)
@points_option
@time_limit_option
def solve(
    fleet_file: Path,
    out: Path | None,
    catalog_folders: tuple[Path, ...],
    templates: Path | None,
    targets: tuple[str, ...],
    as_json: bool,
    check: bool,
    fresh: bool,
    dry_run: bool,
    force: bool,
    x: str | None,
    y: str | None,
    point: int | None,
    points: int,
    time_limit: int,
) -> None:
    """Find the proven best plan for a fleet and render its files.

    Where the folder has a plan.yaml already, the new plan follows it: what was decided there stays unless something is
    better for a change. So does what else was rendered with --target. With - for the fleet, standard input is read, and
    only the plan is printed unless --out names a folder.
    """
    check_axes(x, y)
    if len({x is None, y is None, point is None}) > 1:
        raise click.UsageError("--x, --y and --point go together")
    if check and not (out or folder_of(fleet_file)):
        raise click.UsageError("standard input is in no folder whose files could be checked: name one with --out")
    catalog = load_catalog(overlays=catalog_folders)
    from planner.fleet import load_fleet  # not to show or complete options

    fleet = load_fleet(fleet_file, catalog)
    for gpu in {pool.gpu.name: pool.gpu for pool in fleet.pools}.values():
        if gpu.seen:
            hint(f"the margins on {gpu.name} heed your own start-ups: {len(gpu.seen)} (planner calibrate)")
        if gpu.paced:
            hint(f"speeds on {gpu.name} heed your own load tests: {len(gpu.paced)} (planner calibrate)")
    done(f"read {fleet_file}: roles: {len(fleet.roles)}, GPUs: {sum(pool.gpu_count for pool in fleet.pools)}")
    with working("loading the solver"):
        from planner.cli.solving import Asked, solved  # the fleet has been read and found right

    asked = Asked(
        folder=out or folder_of(fleet_file),
        templates=templates,
        targets=targets,
        as_json=as_json,
        check=check,
        fresh=fresh,
        dry_run=dry_run,
        force=force,
        point=None if x is None or y is None or point is None else (x, y, point),
        points=points,
        budget=time_limit,
    )
    raise SystemExit(solved(fleet, catalog, asked))
