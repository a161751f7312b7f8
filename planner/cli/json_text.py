"""What commands print with ``--json``: one document on stdout, of which docs/schemas has a JSON Schema each.

An error is such a document too, beside its text on stderr, so that whoever reads stdout as JSON always finds some.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from planner.cli.text import escaped
from planner.errors import InputError
from planner.plain_data import as_dict

SCHEMA = 1
"""Version of these documents, in each as ``schema``. It rises when a key of one changes its meaning or goes. A plan is
printed as plan.yaml has it, with that file's own version (``planner.plan.SCHEMA``)."""

OPTION = "--json"
_SAID = "document"

json_option = click.option(OPTION, "as_json", is_flag=True, help="Print JSON.")


def say_json(facts: Mapping[str, Any]) -> None:
    """Print a document with its version in front."""
    say(json.dumps({"schema": SCHEMA, **facts}, indent=2, ensure_ascii=False))


def say_files(files: Iterable[tuple[str, str]], *, written: bool, **more: Any) -> None:  # noqa: ANN401 - plain data
    """Print what happened to files, or would happen: each path with ``create``, ``identical``, ``conflict``, …."""
    listed = [{"path": path, "outcome": str(outcome)} for path, outcome in files]
    say_json({"written": written, "files": listed, **more})


def say(document: str) -> None:
    """Print a document, and remember that there is one: an error that comes after it is told on stderr alone."""
    click.get_current_context().meta[_SAID] = True
    click.echo(escaped(document.rstrip("\n")))


def remember(context: click.Context, typed: Sequence[str]) -> None:
    """Note whether a command line, as it was typed, asks for JSON: to read it may be what fails."""
    context.meta[OPTION] = OPTION in typed[: typed.index("--") if "--" in typed else None]


def say_error(context: click.Context, error: Exception) -> None:
    """Print an error as a document where JSON was asked for and none was printed."""
    if context.meta[OPTION] and _SAID not in context.meta:
        with context.scope(cleanup=False):
            say_json({"error": error_facts(error)})


def error_facts(error: Exception) -> dict[str, Any]:
    """Return the class of an error, what it says, what would be right, and every problem of a file."""
    problems = error.problems if isinstance(error, InputError) else ()
    said, _, hint = _text(error).partition("\n  hint: ")
    return {
        "kind": "UsageError" if isinstance(error, click.UsageError) else type(error).__name__,
        "message": _text(error) if problems else said,
        "hint": None if problems else hint or None,
        "problems": [as_dict(problem) for problem in problems],
    }


def _text(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError):
        return str(error.strerror or error).lower()
    return str(error)
