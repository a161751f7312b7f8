"""What all commands share: exit codes, data on stdout and talk on stderr, and the --catalog option."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import click

WIDTH = 110
"""Columns of running text; tables take what they need."""

_NO_BREAK = "\u00a0"

EXIT_PROVEN = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_NO_PLAN = 3
EXIT_NOT_PROVEN = 4
EXIT_FILES_DIFFER = 5
EXIT_INTERRUPTED = 130

catalog_option = click.option(
    "--catalog",
    "catalog_folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Catalog folder whose entries add to the shipped ones or replace them; may be repeated.",
)
"""``--catalog DIR``, as often as needed: overlays of ``planner.catalog.load_catalog``."""

_VERB_WIDTH = len("overwrite")


def verb(word: str, path: str) -> None:
    """Say on stderr what happened to a file: ``create``, ``identical``, ``conflict``, …, right-aligned."""
    click.echo(f"{word:>{_VERB_WIDTH}} {path}", err=True)


def hint(text: str) -> None:
    """Say on stderr what the reader can do next."""
    click.echo(f"  hint: {text}", err=True)


def wrapped(text: str) -> str:
    """Break lines that are longer than WIDTH; what follows stands two columns further in."""
    return "\n".join(_wrapped_line(line) for line in text.splitlines())


def _wrapped_line(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return line if len(line) <= WIDTH else fill(line.strip(), indent, f"{indent}  ")


def fill(text: str, first: str, rest: str) -> str:
    """Set a paragraph: ``first`` in front of its first line, ``rest`` of the others; names and ``95 %`` stay whole."""
    kept = re.sub("(?<=[0-9]) (?=[%G])", _NO_BREAK, text)
    lines = textwrap.fill(
        kept, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(_NO_BREAK, " ")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Set rows in columns two spaces apart; the columns numbered in ``right`` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
