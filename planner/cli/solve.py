"""``planner solve``: a fleet -> the proven best plan, printed, and written with the files that run it."""

from pathlib import Path

import click

from planner import explain
from planner.catalog import Catalog, load_catalog
from planner.check import require
from planner.cli.axes import check_axes, points_option, x_option, y_option
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_NO_PLAN, EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.lock import fresh_option, plan_there, say_followed, say_gone, up_to_date, with_targets
from planner.cli.output import (
    check_files,
    check_option,
    dry_run_option,
    force_option,
    plan_files,
    targets_option,
    templates_option,
    write_files,
)
from planner.cli.plan_text import plan_text
from planner.cli.progress import time_limit_option, watched
from planner.cli.shared import catalog_option
from planner.cli.text import wrapped
from planner.fleet import Fleet, load_fleet
from planner.plan import NoPlan, Plan, plan_json

_EPILOG = """\b
Exit code: 0 the plan is proven best; 3 no plan exists, and the output explains why;
4 a plan was found but not proven best within --time-limit; 5 a file that was
edited by hand was left alone, or --check found a difference; 1 any other error.
"""


@click.command(epilog=_EPILOG)
@click.argument("fleet_file", type=click.Path(path_type=Path), default="fleet.yaml")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for plan.yaml and artifacts/; by default that of the fleet file.",
)
@catalog_option
@templates_option
@targets_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON instead of a table.")
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
    better for a change. So does what else was rendered with --target.
    """
    check_axes(x, y)
    if len({x is None, y is None, point is None}) > 1:
        raise click.UsageError("--x, --y and --point go together")
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    folder = out or fleet_file.parent
    before = None if fresh else plan_there(folder)
    if before:
        say_gone(before, fleet, folder)
    if before and check and point is None and up_to_date(before, fleet, catalog, time_limit):
        answer: Plan | NoPlan = before
    else:
        answer = watched(fleet, lambda: _answer(fleet, catalog, time_limit, before, x, y, point, points))
    if isinstance(answer, NoPlan):
        click.echo(plan_json(answer) if as_json else wrapped(explain.no_plan(answer)), nl=not as_json)
        raise SystemExit(EXIT_NO_PLAN)
    require(answer, fleet, catalog)
    answer = with_targets(answer, targets or (before.lock.targets if before else ()))
    files = plan_files(answer, templates)
    if check:
        check_files(files, folder)
        return
    click.echo(plan_json(answer) if as_json else plan_text(answer), nl=not as_json)
    for line in explain.untried(fleet, answer):
        click.echo(f"note: {line}", err=True)
    if before:
        say_followed(before, answer, folder)
    differ = write_files(files, folder, force=force, dry_run=dry_run)
    if differ:
        raise SystemExit(EXIT_FILES_DIFFER)
    raise SystemExit(EXIT_PROVEN if answer.proof.proven else EXIT_NOT_PROVEN)


def _answer(
    fleet: Fleet,
    catalog: Catalog,
    budget: int,
    before: Plan | None,
    x: str | None,
    y: str | None,
    point: int | None,
    points: int,
) -> Plan | NoPlan:
    """Return the best plan for the fleet's objective, or that of a point of a frontier.

    The solver is loaded here, when the fleet has been read and found right.
    """
    from planner.solve import solve as solve_fleet
    from planner.solve.frontier import point as solve_point

    if x is None or y is None or point is None:
        return solve_fleet(fleet, catalog, budget, before)
    return solve_point(fleet, catalog, x, y, point, budget, points, before)
