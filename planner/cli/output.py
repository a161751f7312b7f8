"""How the command line speaks: data on stdout, talk on stderr, and what the process returns."""

from collections.abc import Sequence

import click

EXIT_PROVEN = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_NO_PLAN = 3
EXIT_NOT_PROVEN = 4
EXIT_FILES_DIFFER = 5

_VERB_WIDTH = len("overwrite")


def verb(word: str, path: str) -> None:
    """Say on stderr what happened to a file: ``create``, ``identical``, ``conflict``, …, right-aligned."""
    click.echo(f"{word:>{_VERB_WIDTH}} {path}", err=True)


def hint(text: str) -> None:
    """Say on stderr what the reader can do next."""
    click.echo(f"  hint: {text}", err=True)


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
