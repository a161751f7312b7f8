"""What ``planner explain`` does: reads the fleet, solves what its explanations are made of, and prints them."""

from pathlib import Path

import click

from planner.catalog import load_catalog
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.cli.lock import plan_there
from planner.cli.no_plan import say_none
from planner.cli.progress import watched
from planner.cli.stdin import folder_of
from planner.cli.text import wrapped
from planner.errors import UnknownName
from planner.explain import headline
from planner.explain.account_text import account as told
from planner.fleet import Fleet, load_fleet
from planner.plain_data import as_dict
from planner.plan import NoPlan


def explained(
    fleet_file: Path, role: str | None, catalog_folders: tuple[Path, ...], as_json: bool, time_limit: int
) -> int:
    """Print the explanation of a fleet, or of one role, and return the exit code.

    Raises:
        UnknownName: the fleet has no such role.
    """
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    _check_role(fleet, role)
    from planner.solve.account import account  # the solver: not before the fleet has been read

    before = plan_there(folder_of(fleet_file))
    found = watched(fleet, lambda: account(fleet, catalog, role, time_limit, before))
    if isinstance(found, NoPlan):
        return say_none(found, as_json=as_json)
    if as_json:
        say_json(as_dict(found))
    else:
        click.echo(shown(wrapped(f"{headline(found.plan)}\n\n{told(found, role)}")))
    return EXIT_PROVEN if found.plan.proof.proven else EXIT_NOT_PROVEN


def _check_role(fleet: Fleet, role: str | None) -> None:
    names = [item.name for item in fleet.roles]
    if role is not None and role not in names:
        raise UnknownName("role", role, tuple(names))
