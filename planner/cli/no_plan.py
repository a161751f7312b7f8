"""Why a fleet has no plan, as commands that solve print it."""

import click

from planner import explain
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NO_PLAN
from planner.cli.json_text import say
from planner.cli.text import wrapped
from planner.plan import NoPlan, plan_json


def say_none(found: NoPlan, *, as_json: bool) -> int:
    """Print why there is no plan, and return the exit code."""
    if as_json:
        say(plan_json(found))
    else:
        click.echo(shown(wrapped(explain.no_plan(found))))
    return EXIT_NO_PLAN
