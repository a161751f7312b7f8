"""``planner pareto``: what more of one thing costs of another, as the plans of which none is better in both."""

from pathlib import Path

import click

from planner.cli.axes import check_axes, points_option, x_option, y_option
from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile

_DRAWN = (".svg", ".png")
"""Kinds of files that a chart is drawn as."""

_EPILOG = """\b
Examples:
  planner pareto fleet.yaml --x concurrency --y accuracy --chart frontier.svg
  planner pareto fleet.yaml --x cost --y concurrency --csv frontier.csv
  planner solve fleet.yaml --x concurrency --y accuracy --point 3
\b
Exit code: 0 every point is proven; 3 no plan exists, and the output explains why;
4 one was not proven within --time-limit, or the frontier may go on; 1 any other error.
"""


def _chart_path(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a chart of a kind that is not drawn, before anything is solved."""
    if path is not None and path.suffix.lower() not in _DRAWN:
        raise click.BadParameter(f"the name must end in {' or '.join(_DRAWN)}")
    return path


@click.command(epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(), default="fleet.yaml")
@x_option(required=True)
@y_option(required=True)
@points_option
@catalog_option
@json_option
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the points as CSV.")
@click.option(
    "--chart",
    type=click.Path(path_type=Path),
    callback=_chart_path,
    metavar="FILE",
    help="Draw the points, as .svg or .png; needs matplotlib, the extra 'chart'.",
)
@time_limit_option
def pareto(
    fleet_file: Path,
    x: str,
    y: str,
    points: int,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
    csv_file: Path | None,
    chart: Path | None,
    time_limit: int,
) -> None:
    """List the plans of which none is better in both of two things.

    The things are accuracy, concurrency, context, throughput, time per token, and cost by the hour
    or for a million tokens. Each plan is complete and checked; planner solve with the same --x and
    --y and with --point N writes the one with number N.
    """
    check_axes(x, y)
    from planner.cli.frontiers import Asked, listed  # not to show or complete options

    asked = Asked(x=x, y=y, points=points, csv_file=csv_file, chart=chart, budget=time_limit)
    raise SystemExit(listed(fleet_file, catalog_folders, asked, as_json=as_json))
