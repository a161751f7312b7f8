"""``planner diagnose``: what a vLLM log says happened, and what to try."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from planner.cli import names
from planner.cli.colour import shown
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import catalog_option
from planner.cli.text import wrapped
from planner.logs import diagnosis
from planner.logs.diagnosis import Diagnosis
from planner.logs.lines import read_lines
from planner.logs.secrets import line_without_secrets, without_secrets
from planner.logs.told import advice, happened, named_figures
from planner.plain_data import as_dict

if TYPE_CHECKING:
    from planner.adopt.logged import Expectation

_EPILOG = """\b
Exit code: 0 the log was read, whatever it says; 1 it could not be read.
"""


@click.command(epilog=_EPILOG)
@click.argument("log", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option(
    "--gpu", "gpu_name", type=names.GPU, metavar="NAME", help="The card: says what was expected beside what was logged."
)
@catalog_option
@json_option
def diagnose(log: Path, gpu_name: str | None, catalog_folders: tuple[Path, ...], as_json: bool) -> None:
    """Say what happened to the servers of a vLLM log, and why.

    LOG is what vLLM 0.6 to 0.33 printed, as it is or behind the prefixes of Docker, Compose,
    Kubernetes, journald or JSON; - reads standard input. Nothing leaves this machine.
    """
    if str(log) == "-":
        found = _read(sys.stdin.buffer)
    else:
        with log.open("rb") as stream:
            found = _read(stream)
    each = _expected(found, gpu_name, catalog_folders) if gpu_name else tuple(None for _ in found)
    if as_json:
        say_json(_as_json(found, each))
    else:
        told = [_told(one, beside) for one, beside in zip(found, each, strict=True)]
        click.echo(shown(wrapped("\n\n".join(told) if told else "the log is empty")))


def _expected(found: Sequence[Diagnosis], gpu_name: str, folders: tuple[Path, ...]) -> tuple["Expectation | None", ...]:
    """Return what was expected of each server; the catalog is only read where somebody asks for it."""
    from planner.adopt.logged import expectation
    from planner.catalog import load_catalog

    catalog = load_catalog(overlays=folders)
    gpu = catalog.gpu(gpu_name)
    return tuple(expectation(one, gpu, catalog) for one in found)


def _read(stream: BinaryIO) -> tuple[Diagnosis, ...]:
    return diagnosis.diagnose(read_lines(stream))


def _as_json(found: Sequence[Diagnosis], each: Sequence["Expectation | None"]) -> dict[str, Any]:
    """Return the facts of the server that matters most, the first that failed, and of all of them under ``servers``."""
    servers = [_server(one, beside) for one, beside in zip(found, each, strict=True)]
    failed = next((one for one in servers if one["cause"] not in ("started", "unknown")), None)
    nothing: dict[str, Any] = {"cause": "unknown", "line": None, "version": None, "figures": {}}
    return {**(failed or (servers[0] if servers else nothing)), "servers": servers}


def _server(found: Diagnosis, expected: "Expectation | None") -> dict[str, Any]:
    facts = as_dict(found)
    line = facts.pop("line")
    return {
        "cause": facts.pop("cause"),
        "line": line and line_without_secrets(line["text"]),
        "line_number": line and line["number"],
        **facts,
        "arguments": without_secrets(found.arguments),
        "try": advice(found),
        "expected": expected and _expected_json(expected),
    }


def _expected_json(expected: "Expectation") -> dict[str, Any]:
    facts = as_dict(expected)
    facts["change"] = {expected.change[0]: expected.change[1]} if expected.change else None
    return facts


def _told(found: Diagnosis, expected: "Expectation | None") -> str:
    parts = [happened(found)]
    if found.line:
        parts.append(f"  line {found.line.number}: {line_without_secrets(found.line.text)[:400]}")
    if said := advice(found):
        parts.append(f"  hint: {said}")
    rows = named_figures(found.figures)
    width = max((len(name) for name, _ in rows), default=0)
    parts += [f"  {name:<{width}}  {value}" for name, value in rows]
    parts += _told_expected(expected) if expected else []
    return "\n".join(parts)


def _told_expected(expected: "Expectation") -> list[str]:
    """Say what was expected beside what was logged, and the least change that helps."""
    if expected.why_not:
        return [f"  what was expected cannot be told: {expected.why_not}"]
    lines = ["  expected to start" if expected.starts else f"  expected not to start: {expected.reason}"]
    width = max((len(term.name) for term in expected.terms), default=0)
    for term in expected.terms:
        both = f"expected {_amount(term.name, term.expected)}, logged {_amount(term.name, term.logged)}"
        lines.append(f"  {term.name:<{width}}  {both}")
    if expected.change:
        name, value = expected.change
        lines.append(f"  hint: by the same prediction it starts with --{name} {value}")
    return lines


def _amount(name: str, value: float) -> str:
    """Write a figure with its unit, which its name tells."""
    if name.startswith("requests"):
        return f"{value:,.2f}"
    return f"{value:,.0f} tokens" if name.endswith("tokens") else f"{value:,.2f} GiB"
