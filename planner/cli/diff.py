"""``planner diff``: what differs between two plan files, in words."""

import dataclasses
from pathlib import Path

import click

from planner import explain
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.stdin import InputFile
from planner.plan import differences, earlier_plan, plan_from_yaml

_EPILOG = """\b
Exit code: 0 both plans promise the same; 5 they differ; 1 a file is not a plan
this version reads.
"""

_PLAN_FILE = InputFile()


@click.command(epilog=_EPILOG)
@click.argument("old", type=_PLAN_FILE)
@click.argument("new", type=_PLAN_FILE)
@json_option
@click.option("--markdown", is_flag=True, help="Print a table of memory, speed and dollars for a review.")
def diff(old: Path, new: Path, as_json: bool, markdown: bool) -> None:
    """Say what differs between two plan files.

    Compared is what the plans promise: engine, servers, GPUs and what was maximised; not how it was proven. With
    --markdown, an empty OLD stands for no plan before.
    """
    if markdown:
        if as_json:
            raise click.UsageError("give --json or --markdown, not both")
        raise SystemExit(_markdown(old, new))
    found = differences(plan_from_yaml(old), plan_from_yaml(new))
    if as_json:
        say_json({"differences": [dataclasses.asdict(item) for item in found]})
    else:
        click.echo(shown(explain.difference(found)))
    raise SystemExit(EXIT_FILES_DIFFER if found else EXIT_PROVEN)


def _markdown(old: Path, new: Path) -> int:
    """Print what a new plan brings, and return the exit code."""
    from planner.explain.change_table import change_table

    before, after = earlier_plan(old), plan_from_yaml(new)
    click.echo(change_table(before, after), nl=False)
    return EXIT_FILES_DIFFER if before is None or differences(before, after) else EXIT_PROVEN
