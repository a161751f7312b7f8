"""The options that name a Pareto frontier: its two axes, and how many points of it are found."""

from collections.abc import Callable
from typing import Any

import click

from planner.cli.late import Late, axes
from planner.search.budget import POINTS

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def x_option(*, required: bool) -> Option:
    """Return ``--x``."""
    text = "First axis of a Pareto frontier; points are counted from its least value."
    return click.option("--x", "x", type=Late(axes), required=required, help=text)


def y_option(*, required: bool) -> Option:
    """Return ``--y``."""
    text = "Second axis of the frontier."
    return click.option("--y", "y", type=Late(axes), required=required, help=text)


points_option = click.option(
    "--points",
    type=click.IntRange(min=2),
    default=POINTS,
    show_default=True,
    metavar="N",
    help="Points of the frontier at most; if it has more, both ends and some between them.",
)


def check_axes(x: str | None, y: str | None) -> None:
    """Refuse two axes that are one.

    Raises:
        click.UsageError: they are.
    """
    if x is not None and x == y:
        raise click.UsageError("--x and --y must differ")
