"""``planner report``: a plan, or why a fleet has none, as one HTML page."""

from pathlib import Path

import click

from planner.cli.json_text import json_option
from planner.cli.late import axes
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile

_EPILOG = """\b
Examples:
  planner report plan.yaml
  planner report plan.yaml --what-if l40s:2 --what-if roles.coder.context=32k
  planner report plan.yaml --pareto concurrency,accuracy --against old/plan.yaml
  planner report fleet.yaml
\b
Exit code: 0 the page is written; 3 the fleet has no plan, and the page says why;
1 the plan cannot be read, or does not hold for its fleet.
"""


def _two_axes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, str] | None:
    """Read the two axes of a frontier."""
    if text is None:
        return None
    x, _comma, y = text.partition(",")
    known = axes()
    if x == y or x not in known or y not in known:
        raise click.BadParameter(f"expected two of {', '.join(known)} with a comma between them")
    return x, y


@click.command(epilog=_EPILOG)
@click.argument("file", metavar="PLAN", type=InputFile(), default="plan.yaml")
@click.option(
    "--fleet",
    "fleet_file",
    type=InputFile(),
    metavar="FILE",
    help="Fleet the plan was made for; by default fleet.yaml beside the plan.",
)
@click.option("--out", type=click.Path(path_type=Path), default="report.html", show_default=True, metavar="FILE")
@click.option(
    "--what-if",
    "wanted",
    multiple=True,
    metavar="CHANGE",
    help="Solve and compare the fleet with GPUs of another kind (l40s:2), or another value for a field "
    "(roles.coder.context=32k); repeatable.",
)
@click.option(
    "--pareto", "two_axes", callback=_two_axes, metavar="X,Y", help="Solve and show the frontier of two things."
)
@click.option("--against", type=InputFile(), metavar="OLD", help="Say what differs from an earlier plan file.")
@click.option(
    "--serve", is_flag=True, help="Show the page at an address of this machine, with sliders that solve again."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port for --serve; by default a free one.")
@catalog_option
@json_option
@time_limit_option
def report(
    file: Path,
    fleet_file: Path | None,
    out: Path,
    wanted: tuple[str, ...],
    two_axes: tuple[str, str] | None,
    against: Path | None,
    serve: bool,
    port: int,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
    time_limit: int,
) -> None:
    """Show a plan as one HTML page.

    The page needs no network and no other file. The plan is checked first: one that breaks its promises is not shown.
    In place of a plan a fleet file may stand, which is solved; if it has no plan, the page says why.
    """
    if serve and (wanted or two_axes or against or as_json):
        raise click.UsageError("--serve goes without --what-if, --pareto, --against and --json")
    from planner.cli.reporting import Asked, reported  # not to show or complete options

    asked = Asked(wanted=wanted, axes=two_axes, against=against, budget=time_limit)
    target = port if serve else out
    raise SystemExit(reported(file, fleet_file, catalog_folders, asked, target, as_json=as_json))
