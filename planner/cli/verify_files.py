"""``planner verify`` without further options: the rendered files, read back and held against the plan."""

from collections.abc import Sequence
from pathlib import Path

import click

from planner.artifacts import HOME
from planner.artifacts.verify import verify
from planner.catalog import load_catalog
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.cli.lock import PLAN_FILE, changed
from planner.explain.words import listed
from planner.fleet import load_fleet
from planner.plain_data import as_dict
from planner.plan import plan_from_yaml


def verify_files(folder: Path, fleet_file: Path, catalog_folders: tuple[Path, ...], *, as_json: bool) -> int:
    """Say of every target in a folder whether it starts the plan, and return the exit code."""
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    plan = plan_from_yaml(folder / PLAN_FILE)
    since = changed(plan, fleet, catalog)
    targets, differences = verify(plan, fleet, catalog, folder / HOME)
    if as_json:
        wrong = [as_dict(difference) for difference in differences]
        facts = {"as_planned": not wrong, "targets": targets, "differences": wrong}
        say_json({"changed_since_plan": since, **facts})
    else:
        click.echo(shown(_since(since)))
    for target in targets if not as_json else ():
        mine = [difference for difference in differences if difference.target == target]
        for difference in mine:
            click.echo(shown(str(difference)))
        if not mine:
            click.echo(shown(f"{target}: starts the plan"))
    return EXIT_FILES_DIFFER if differences else EXIT_PROVEN


def _since(names: Sequence[str]) -> str:
    """Say whether what the plan was made from is still what it was."""
    if not names:
        return "fleet: not changed since the plan"
    has = "has" if len(names) == 1 else "have"
    return f"{listed(names)}: {has} changed since the plan; `planner solve` plans again"
