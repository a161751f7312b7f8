"""``planner explain``: why the plan of a fleet is as it is, and what more memory would buy."""

import dataclasses
from pathlib import Path

import click

from planner.catalog import load_catalog
from planner.cli import names
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NO_PLAN, EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import json_option, say, say_json
from planner.cli.lock import plan_there
from planner.cli.progress import watched
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile, folder_of
from planner.cli.text import wrapped
from planner.errors import UnknownName
from planner.explain import headline, no_plan
from planner.explain.account_text import account as told
from planner.fleet import Fleet, load_fleet
from planner.plan import NoPlan, plan_json

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
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    _check_role(fleet, role)
    from planner.solve.account import account  # the solver: not before the fleet has been read

    before = plan_there(folder_of(fleet_file))
    found = watched(fleet, lambda: account(fleet, catalog, role, time_limit, before))
    if isinstance(found, NoPlan):
        if as_json:
            say(plan_json(found))
        else:
            click.echo(shown(wrapped(no_plan(found))))
        raise SystemExit(EXIT_NO_PLAN)
    if as_json:
        say_json(dataclasses.asdict(found))
    else:
        click.echo(shown(wrapped(f"{headline(found.plan)}\n\n{told(found, role)}")))
    raise SystemExit(EXIT_PROVEN if found.plan.proof.proven else EXIT_NOT_PROVEN)


def _check_role(fleet: Fleet, role: str | None) -> None:
    names = [item.name for item in fleet.roles]
    if role is not None and role not in names:
        raise UnknownName("role", role, tuple(names))
