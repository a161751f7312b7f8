"""``planner report``: a plan as one HTML page."""

from pathlib import Path

import click

from planner.catalog import load_catalog
from planner.check import require
from planner.cli.lock import PLAN_FILE, say_stale
from planner.cli.output import save
from planner.cli.shared import catalog_option
from planner.fleet import load_fleet
from planner.plan import plan_from_yaml
from planner.report import page, view

_EPILOG = """\b
Exit code: 0 the page is written; 1 the plan cannot be read, or does not hold for
its fleet.
"""


@click.command(epilog=_EPILOG)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path), default=PLAN_FILE)
@click.option(
    "--fleet",
    "fleet_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fleet the plan was made for; by default fleet.yaml beside the plan.",
)
@click.option("--out", type=click.Path(path_type=Path), default="report.html", show_default=True, metavar="FILE")
@catalog_option
def report(plan_file: Path, fleet_file: Path | None, out: Path, catalog_folders: tuple[Path, ...]) -> None:
    """Show a plan as one HTML page.

    The page needs no network and no other file. The plan is checked first: one that breaks its promises is not shown.
    """
    catalog = load_catalog(overlays=catalog_folders)
    plan = plan_from_yaml(plan_file)
    source = fleet_file or plan_file.parent / "fleet.yaml"
    fleet = load_fleet(source, catalog)
    changed = say_stale(plan, fleet, catalog, plan_file.parent)
    require(plan, fleet, catalog, objective=not changed)
    texts = (path.read_text(encoding="utf-8") for path in (source, plan_file))
    save(out, page(view(plan, fleet, catalog, *texts)).encode())
