"""A Pareto frontier as a chart, drawn by matplotlib, an optional extra; the same frontier gives the same bytes."""

import io
from typing import Any

from planner.errors import PlannerError
from planner.explain.frontier import UNITS, axis_title, axis_value
from planner.plan import COST, Frontier, undominated

FORMATS = (".svg", ".png")

_STYLE: Any = {"svg.hashsalt": "planner", "font.family": "DejaVu Sans", "font.size": 10}
_INCHES = (8, 5)
_DOTS_PER_INCH = 150
_BLUE, _GREY = "#1f5fa8", "#8a8a8a"
_UNDATED: dict[str, dict[str, Any]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
"""What would otherwise stand in the file besides the picture, and change from day to day or version to version."""


class NoChart(PlannerError):
    """The library that draws charts is not installed."""

    def __str__(self) -> str:
        return "a chart needs matplotlib, which is not installed\n  hint: pip install 'planner[chart]'"


def require_matplotlib() -> None:
    """Do nothing when charts can be drawn.

    Raises:
        NoChart: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoChart from None


def draw(frontier: Frontier, title: str, weights: int, suffix: str) -> bytes:
    """Return the chart of a frontier in a format of ``FORMATS``; points that are not proven are hollow."""
    import matplotlib
    from matplotlib.figure import Figure

    x = [axis_value(plan, frontier.x, weights) for plan in frontier.plans]
    y = [axis_value(plan, frontier.y, weights) for plan in frontier.plans]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(x, y, color=_GREY, linewidth=1, drawstyle=_steps(frontier), zorder=1)
        filled = [_BLUE if undominated(plan) else "white" for plan in frontier.plans]
        axes.scatter(x, y, c=filled, edgecolors=_BLUE, s=36, zorder=2)
        for number, place in enumerate(zip(x, y, strict=True), 1):
            axes.annotate(str(number), place, xytext=_free(frontier), textcoords="offset points")
        axes.set_xlabel(_label(frontier, frontier.x))
        axes.set_ylabel(_label(frontier, frontier.y))
        axes.set_title(title, loc="left")
        axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.08)
        picture = io.BytesIO()
        figure.savefig(picture, format=suffix[1:], dpi=_DOTS_PER_INCH, metadata=_UNDATED[suffix])
    return picture.getvalue()


def _label(frontier: Frontier, axis: str) -> str:
    title = axis_title(frontier, axis)
    return UNITS[title] if title == "GPUs in use" else f"{title}: {UNITS[title]}"


def _steps(frontier: Frontier) -> str:
    """Return how the line between two points runs: along the best there is for every least or most of ``x``."""
    return "steps-post" if frontier.x == COST else "steps-pre"


def _free(frontier: Frontier) -> tuple[int, int]:
    """Return where there is room for a number beside a point, in typographic points: the side that no plan reaches."""
    return (-9 if frontier.x == COST else 5), (-13 if frontier.y == COST else 5)
