"""Running text and tables on a terminal."""

import re
from collections.abc import Iterator, Sequence

from planner.cli.terminal import columns

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
WIDTH = 110
"""Columns of running text, or fewer where a terminal has fewer; tables take what they need."""

_NO_BREAK = "\u00a0"


def escaped(text: str) -> str:
    """Return a text, or JSON, of somebody's files with what steers a terminal written out by its number."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def wrapped(text: str) -> str:
    """Break lines that are longer than WIDTH; what follows stands two columns further in."""
    return "\n".join(_wrapped_line(line) for line in text.splitlines())


def _wrapped_line(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return line if len(line) <= _width() else fill(line.strip(), indent, f"{indent}  ")


def fitted(text: str) -> str:
    """Break lines that are longer than a terminal is wide; elsewhere a text stays as it is."""
    return text if columns() is None else "\n".join(_fitted_line(line) for line in text.split("\n"))


def _fitted_line(line: str) -> str:
    wide = columns() or WIDTH
    indent = line[: len(line) - len(line.lstrip())]
    return line if len(line) <= wide else fill(line.strip(), indent, f"{indent}  ", wide)


def _width() -> int:
    return min(WIDTH, columns() or WIDTH)


def fill(text: str, first: str, rest: str, width: int | None = None) -> str:
    """Set a paragraph: ``first`` in front of its first line, ``rest`` of the others; names and ``95 %`` stay whole."""
    import textwrap  # most of what is printed is no paragraph

    kept = re.sub("(?<=[0-9]) (?=[%G])", _NO_BREAK, text)
    lines = textwrap.fill(
        kept,
        width or _width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(_NO_BREAK, " ")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Set rows in columns two spaces apart; the columns numbered in ``right`` are right-aligned.

    On a terminal that is too narrow for that rows and columns change places; where this is too wide as well, each row
    is a block of its own, with a line for each of its cells.
    """
    columns_ = [*zip(header, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns_]
    wide = columns()
    if wide is not None and _across(widths) > wide:
        turned = [max(map(len, row)) for row in (header, *rows)]
        if len(rows) < 2 or _across(turned) > wide:
            return "\n\n".join("\n".join(_block(header, row)) for row in rows)
        return "\n".join(_line(column, turned, frozenset(range(1, len(turned)))) for column in columns_)
    return "\n".join(_line(row, widths, right) for row in (header, *rows))


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    set_ = (
        cell.rjust(width) if number in right else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(set_).rstrip()


def _block(header: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    """Yield the lines of one row: its first cell as a heading, below it the others that say something."""
    if row[0]:
        yield fill(f"{header[0]}: {row[0]}", "", "  ")
    name_width = max(map(len, header[1:]), default=0)
    for name, cell in zip(header[1:], row[1:], strict=True):
        if cell:
            yield fill(cell, f"  {name:<{name_width}}  ", " " * (name_width + 4))
