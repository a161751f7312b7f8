"""The page docs/performance.md, written by the benchmark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.speed_ratio.growth import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One piece of work: CPU seconds of the older build and of this one, and the medians of their ratios."""

    name: str
    old: float
    new: float
    cpu: float
    wall: float
    values: str


_PAGE = """\
# Performance

This page is written by `{command}`
and was last written on {today}. `OLD` is a checkout of commit {commit}. Seconds are of CPU, on whatever machine ran it
and beside whatever else that did: the ratios of pairs are what counts,
{pairs}.

## Beside an older build

| work | older build, CPU s | this build, CPU s | CPU | wall | first objective, older and this |
| --- | ---: | ---: | ---: | ---: | --- |
{rows}

*First time* is a plan without anything that is kept between runs; the other line is by somebody who planned the fleet
before. The libraries that a command usually needs, `python -c "import pydantic, yaml, click"`, take {alone:.2f} s:
{beside}.

Values of objectives are shares of the best that each build's own catalog, scales and choice of publishers know: another
catalog gives the same plan another value, so those of two builds cannot be compared.

## What is kept between runs

The shipped catalog as JSON, and of roles without `models` the names of the checkpoints that a best plan may need and
what a first plan reached, under digests of all that decides them; sizes are worked out anew each time
([catalog.md](catalog.md)). `PLANNER_NO_CACHE=1` keeps nothing.

## How time grows

Plans for 80 GB H100s, eight to a node, each made for the first time; CPU seconds.

{growth}
"""


def page(
    rows: Sequence[Row], alone: float, points: Iterable[Point], *, command: str, commit: str, today: str, pairs: str
) -> str:
    """Return the page; ``commit`` is that of the older build."""
    beside = ", ".join(f"{row.name} takes {row.new / alone:.1f} times as much" for row in rows if not row.values)
    return _PAGE.format(
        command=command,
        commit=commit,
        today=today,
        pairs=pairs,
        rows="\n".join(map(_row, rows)),
        alone=alone,
        beside=beside,
        growth=_growth(points),
    )


def _row(row: Row) -> str:
    return f"| {row.name} | {row.old:.2f} | {row.new:.2f} | {row.cpu:.2f} × | {row.wall:.2f} × | {row.values} |"


def _growth(points: Iterable[Point]) -> str:
    """Return a table for each thing that grows."""
    tables: dict[str, list[tuple[int, float]]] = {}
    for what, count, seconds in points:
        tables.setdefault(what, []).append((count, seconds))
    return "\n\n".join(
        "\n".join(
            [
                f"| {what} | {' | '.join(str(count) for count, _ in found)} |",
                f"| --- | {' | '.join('---:' for _ in found)} |",
                f"| CPU s | {' | '.join(f'{seconds:.1f}' for _, seconds in found)} |",
            ]
        )
        for what, found in tables.items()
    )
