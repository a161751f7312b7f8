"""``planner solve``: a fleet -> the proven best plan, printed, and written with the files that run it."""

from pathlib import Path

import click

from planner import explain
from planner.artifacts import DEFAULT_TARGETS, EXTRA_TARGETS, HOME, File, Verb, render, write
from planner.catalog import load_catalog
from planner.check import require
from planner.cli.frame import (
    EXIT_FILES_DIFFER,
    EXIT_NO_PLAN,
    EXIT_NOT_PROVEN,
    EXIT_PROVEN,
    catalog_option,
    hint,
    verb,
    wrapped,
)
from planner.cli.plan_text import plan_text
from planner.fleet import load_fleet
from planner.plan import NoPlan, plan_json, plan_to_yaml
from planner.solve import BUDGET
from planner.solve import solve as solve_fleet

PLAN_FILE = "plan.yaml"

_EPILOG = """\b
Exit code: 0 the plan is proven best; 3 no plan exists, and the output explains why;
4 a plan was found but not proven best within --time-limit; 5 a file that was
edited by hand was left alone; 1 any other error.
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
@click.option(
    "--templates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of templates that take the place of the shipped ones of the same name.",
)
@click.option(
    "--target",
    "targets",
    type=click.Choice(EXTRA_TARGETS),
    multiple=True,
    help="Render this too; can be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON instead of a table.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would change.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited by hand.")
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
    artifacts = render(answer, templates, (*DEFAULT_TARGETS, *targets))
    rendered = {f"{HOME}/{path}": file for path, file in artifacts.items()}
    files = {PLAN_FILE: File(plan_to_yaml(answer)), **rendered}
    click.echo(plan_json(answer) if as_json else plan_text(answer), nl=not as_json)
    differ = _write(files, out or fleet_file.parent, force=force, dry_run=dry_run)
    if differ:
        raise SystemExit(EXIT_FILES_DIFFER)
    raise SystemExit(EXIT_PROVEN if answer.proof.proven else EXIT_NOT_PROVEN)


def _write(files: dict[str, File], folder: Path, *, force: bool, dry_run: bool) -> bool:
    """Write the files, say what happened to each, and return whether one was left alone because it differs."""
    outcomes = write(files, folder, force=force, dry_run=dry_run)
    for outcome in outcomes:
        verb(outcome.verb, str(folder / outcome.path))
    conflicts = any(outcome.verb is Verb.CONFLICT for outcome in outcomes)
    if conflicts:
        hint("a file was edited by hand, so nothing was written; --force overwrites it")
    elif dry_run:
        hint("this was a dry run; nothing was written")
    return conflicts
