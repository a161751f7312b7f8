"""A Pareto frontier as a chart, drawn by matplotlib, an optional extra; the same frontier gives the same bytes."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from planner.errors import PlannerError
from planner.explain.frontier_text import UNITS, axis_title, axis_value, direction
from planner.fleet import Fleet
from planner.plan import GPUS_IN_USE, LESS, Frontier, Plan, undominated

_STYLE: Any = {"svg.hashsalt": "planner", "font.family": "DejaVu Sans", "font.size": 10}
_INCHES = (8, 5)
_LINE_INCHES = 0.16
"""What a line of the list below the axes adds to the height."""

_DOTS_PER_INCH = 150
_CLOSE = (0.025, 0.04)
"""Shares of the axes within which the numbers of two points would cover each other."""

_BLUE, _GREY, _PALE, _STAR = "#1f5fa8", "#8a8a8a", "#d6e2f0", "#c8641e"
_BELOW = -0.16
"""Where the list of what each point changes begins below the axes, as a share of their height."""

_LABEL = 56
"""Characters in a line of the name of an axis."""

_UNDATED: dict[str, dict[str, Any]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
"""What would otherwise stand in the file besides the picture, and change from day to day or version to version."""


class Marks(Struct, frozen=True, kw_only=True):
    """What a chart says besides the points: what each changes, how far its scores may err, and the plan that is there.

    ``noise`` is in per cent of the best candidates' scores.
    """

    changes: tuple[str, ...]
    noise: tuple[float, ...]
    current: Plan | None


class NoChart(PlannerError):
    """The library that draws charts is not installed."""

    def __str__(self) -> str:
        return "a chart needs matplotlib, which is not installed\n  hint: pip install matplotlib"


def require_matplotlib() -> None:
    """Do nothing when charts can be drawn.

    Raises:
        NoChart: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoChart from None


def draw(frontier: Frontier, title: str, fleet: Fleet, suffix: str, marks: Marks) -> bytes:
    """Return the chart of a frontier as ``.svg`` or ``.png``; points that are not proven are hollow.

    Bars are the error of the scores, and a star the plan that is there.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES[0], _INCHES[1] + len(marks.changes) * _LINE_INCHES), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, frontier, fleet, marks)
        changes = [f"{number}  {change}" for number, change in enumerate(marks.changes, 1) if change]
        axes.text(0, _BELOW, "\n".join(changes), transform=axes.transAxes, va="top", fontsize=8)
        axes.set_title(title, loc="left")
        _frame(axes, frontier)
        picture = io.BytesIO()
        figure.savefig(picture, format=suffix[1:], dpi=_DOTS_PER_INCH, metadata=_UNDATED[suffix])
    return picture.getvalue()


def _points(axes: Any, frontier: Frontier, fleet: Fleet, marks: Marks) -> None:  # noqa: ANN401 - matplotlib's
    """Draw the points with their numbers, the line between them, what their scores may err, and the plan there is."""
    x = [axis_value(plan, frontier.x, fleet) for plan in frontier.plans]
    y = [axis_value(plan, frontier.y, fleet) for plan in frontier.plans]
    axes.plot(x, y, color=_GREY, linewidth=1, drawstyle=_steps(frontier), zorder=1)
    filled = [_BLUE if undominated(plan) else "white" for plan in frontier.plans]
    axes.scatter(x, y, c=filled, edgecolors=_BLUE, s=36, zorder=2)
    if "accuracy" in (frontier.x, frontier.y):
        up = frontier.y == "accuracy"
        axes.errorbar(
            x, y, yerr=marks.noise if up else None, xerr=None if up else marks.noise, fmt="none", ecolor=_PALE,
            elinewidth=4, zorder=0, label="error of the scores",
        )  # fmt: skip
    if marks.current:
        here = [[axis_value(marks.current, axis, fleet)] for axis in (frontier.x, frontier.y)]
        axes.scatter(here[0], here[1], marker="*", s=150, c=_STAR, zorder=3, label="the plan that is there")
    for number, (place, side) in enumerate(zip(zip(x, y, strict=True), _sides(x, y), strict=True), 1):
        if side:
            axes.annotate(str(number), place, textcoords="offset points", **_beside(frontier, side))


def _frame(axes: Any, frontier: Frontier) -> None:  # noqa: ANN401 - matplotlib's
    """Name the axes, and draw what is around the points."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(_label(frontier, frontier.x))
    axes.set_ylabel(_label(frontier, frontier.y))
    for name, one in ((frontier.x, axes.xaxis), (frontier.y, axes.yaxis)):
        if axis_title(frontier, name) == GPUS_IN_USE:
            one.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.08)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _label(frontier: Frontier, axis: str) -> str:
    title = axis_title(frontier, axis)
    name = UNITS[title] if title == GPUS_IN_USE else f"{title}: {UNITS[title]}"
    return textwrap.fill(f"{name} ({direction(axis)})", _LABEL)


def _steps(frontier: Frontier) -> str:
    """Return how the line between two points runs: along the best there is for every least or most of ``x``."""
    return "steps-post" if frontier.x in LESS else "steps-pre"


def _sides(x: Sequence[float], y: Sequence[float]) -> Iterator[int]:
    """Yield on which side of each point its number stands: 1 the free side, -1 the other one, 0 nowhere.

    Numbers of points that are close would cover each other.
    """
    wide, high = (max(x) - min(x)) * _CLOSE[0], (max(y) - min(y)) * _CLOSE[1]

    def close(one: int, other: int) -> bool:
        return abs(x[one] - x[other]) <= wide and abs(y[one] - y[other]) <= high

    last: dict[int, int] = {}
    for index in range(len(x)):
        crowded = index + 1 < len(x) and close(index, index + 1)
        sides = (-1, 1) if crowded else (1, -1)
        side = next((side for side in sides if side not in last or not close(index, last[side])), 0)
        last[side] = index
        yield side


def _beside(frontier: Frontier, side: int) -> dict[str, Any]:
    """Return where a number stands beside its point; the free side is the one that no plan reaches."""
    right = side * (-1 if frontier.x in LESS else 1) > 0
    above = side * (-1 if frontier.y in LESS else 1) > 0
    return {"xytext": (5 if right else -5, 5 if above else -13), "ha": "left" if right else "right"}
