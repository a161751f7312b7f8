"""``planner diagnose``: what a vLLM log says happened, and what to try."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from planner.cli.text import wrapped
from planner.logs import diagnosis
from planner.logs.diagnosis import Diagnosis
from planner.logs.lines import read_lines
from planner.logs.told import advice, happened, named_figures

_EPILOG = """\b
Exit code: 0 the log was read, whatever it says; 1 it could not be read.
"""


@click.command(epilog=_EPILOG)
@click.argument("log", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def diagnose(log: Path, as_json: bool) -> None:
    """Say what happened to the servers of a vLLM log, and why.

    LOG is what vLLM 0.6 to 0.33 printed, as it is or behind the prefixes of Docker, Compose,
    Kubernetes, journald or JSON; - reads standard input. Nothing leaves this machine.
    """
    if str(log) == "-":
        found = _read(sys.stdin.buffer)
    else:
        with log.open("rb") as stream:
            found = _read(stream)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        click.echo(wrapped("\n\n".join(map(_told, found)) if found else "the log is empty"))


def _read(stream: BinaryIO) -> tuple[Diagnosis, ...]:
    return diagnosis.diagnose(read_lines(stream))


def _as_json(found: Sequence[Diagnosis]) -> dict[str, Any]:
    """Return the facts of the server that matters most, the first that failed, and of all of them under ``servers``."""
    servers = [_server(one) for one in found]
    failed = next((one for one in servers if one["cause"] not in ("started", "unknown")), None)
    nothing: dict[str, Any] = {"cause": "unknown", "line": None, "version": None, "figures": {}}
    return {**(failed or (servers[0] if servers else nothing)), "servers": servers}


def _server(found: Diagnosis) -> dict[str, Any]:
    facts = dataclasses.asdict(found)
    line = facts.pop("line")
    return {
        "cause": facts.pop("cause"),
        "line": line and line["text"],
        "line_number": line and line["number"],
        **facts,
        "try": advice(found),
    }


def _told(found: Diagnosis) -> str:
    parts = [happened(found)]
    if found.line:
        parts.append(f"  line {found.line.number}: {found.line.text[:400]}")
    if said := advice(found):
        parts.append(f"  hint: {said}")
    rows = named_figures(found.figures)
    width = max((len(name) for name, _ in rows), default=0)
    parts += [f"  {name:<{width}}  {value}" for name, value in rows]
    return "\n".join(parts)
