"""``planner observe``: what was asked of the servers, as a change of the fleet file."""

import difflib
from pathlib import Path

import click

from planner.cli.exit_codes import EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import hint
from planner.cli.stdin import InputFile
from planner.live.observed import Proposal, edited, proposals
from planner.live.pages import NoAnswer
from planner.live.prometheus import Asked, asked_of
from planner.plain_data import as_dict
from planner.yaml_source import dotted, read_yaml

_EPILOG = """\b
Exit code: 0 Prometheus was asked, whatever it says; 1 it does not answer, or the
fleet file cannot be read.
"""


@click.command(epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(exists=True), default="fleet.yaml")
@click.option("--prometheus", "url", required=True, metavar="URL", help="The Prometheus that watches the servers.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="How far to look back.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=10.0, metavar="S", show_default=True)
@json_option
def observe(fleet_file: Path, url: str, days: int, timeout_s: float, as_json: bool) -> None:
    """Propose what a fleet should ask for, from what was asked.

    The requests that were there at once, their lengths, how many came and what the prefix cache had
    become request, concurrency, rate and cached_prompt of each role, printed as a diff. Nothing is
    written.
    """
    source = read_yaml(fleet_file)
    text = fleet_file.read_text(encoding="utf-8-sig")
    roles = source.data.get("roles") if isinstance(source.data, dict) else None
    seen: dict[str, Asked] = {}
    proposed: list[Proposal] = []
    for role in roles if isinstance(roles, dict) else ():
        seen[role] = _asked(url, role, days, timeout_s)
        proposed += proposals(source, role, seen[role])
    after = edited(text, source, proposed)
    if as_json:
        changes = [{"path": dotted(one.path), "before": one.before, "after": one.after} for one in proposed]
        say_json({"roles": {role: as_dict(one) for role, one in seen.items()}, "changes": changes})
    else:
        lines = difflib.unified_diff(
            text.splitlines(keepends=True), after.splitlines(keepends=True), str(fleet_file), str(fleet_file)
        )
        click.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in lines), nl=False)
    for role, one in seen.items():
        if one.concurrency is None:
            hint(f"{role}: Prometheus has not seen it in {days} days (a server's model_name is the role's name)")
    raise SystemExit(EXIT_PROVEN)


def _asked(url: str, role: str, days: int, timeout_s: float) -> Asked:
    try:
        return asked_of(url, role, days, timeout_s)
    except NoAnswer as error:
        raise click.ClickException(str(error)) from error
