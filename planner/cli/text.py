"""Running text and tables on a terminal."""

import re
import textwrap
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
WIDTH = 110
"""Columns of running text; tables take what they need."""

_NO_BREAK = "\u00a0"


def escaped(text: str) -> str:
    """Return a text, or JSON, of somebody's files with what steers a terminal written out by its number."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


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
