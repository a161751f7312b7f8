"""``planner solve``: a fleet -> the proven best plan, printed, and written with the files that run it."""

from pathlib import Path

import click

from planner import explain
from planner.catalog import load_catalog
from planner.check import require
from planner.cli.files import (
    check_files,
    check_option,
    dry_run_option,
    force_option,
    plan_files,
    targets_option,
    templates_option,
    write_files,
)
from planner.cli.frame import (
    EXIT_FILES_DIFFER,
    EXIT_NO_PLAN,
    EXIT_NOT_PROVEN,
    EXIT_PROVEN,
    catalog_option,
    wrapped,
)
from planner.cli.plan_text import plan_text
from planner.fleet import load_fleet
from planner.plan import NoPlan, plan_json
from planner.solve import BUDGET
from planner.solve import solve as solve_fleet

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
@dry_run_option
@force_option
@click.option(
    "--time-limit",
    type=click.IntRange(min=1),
    default=BUDGET,
    show_default=True,
    metavar="SECONDS",
    help="Deterministic seconds for each solve, which count steps and not the clock: they repeat on any machine.",
)
def solve(
    fleet_file: Path,
    out: Path | None,
    catalog_folders: tuple[Path, ...],
    templates: Path | None,
    targets: tuple[str, ...],
    as_json: bool,
    check: bool,
    dry_run: bool,
    force: bool,
    time_limit: int,
) -> None:
    """Find the proven best plan for a fleet and render its files."""
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    answer = solve_fleet(fleet, catalog, time_limit)
    if isinstance(answer, NoPlan):
        click.echo(plan_json(answer) if as_json else wrapped(explain.no_plan(answer)), nl=not as_json)
        raise SystemExit(EXIT_NO_PLAN)
    require(answer, fleet, catalog)
    files = plan_files(answer, templates, targets)
    if check:
        check_files(files, out or fleet_file.parent)
        raise SystemExit(EXIT_PROVEN if answer.proof.proven else EXIT_NOT_PROVEN)
    click.echo(plan_json(answer) if as_json else plan_text(answer), nl=not as_json)
    differ = write_files(files, out or fleet_file.parent, force=force, dry_run=dry_run)
    if differ:
        raise SystemExit(EXIT_FILES_DIFFER)
    raise SystemExit(EXIT_PROVEN if answer.proof.proven else EXIT_NOT_PROVEN)
