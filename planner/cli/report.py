"""``planner report``: a plan, or why a fleet has none, as one HTML page."""

import contextlib
import importlib
import re
from pathlib import Path

import click

from planner.catalog import Catalog, load_catalog
from planner.check import require
from planner.cli.exit_codes import EXIT_NO_PLAN, EXIT_PROVEN
from planner.cli.json_text import json_option
from planner.cli.lock import PLAN_FILE, changed, say_stale
from planner.cli.output import save
from planner.cli.progress import counted, watched
from planner.cli.shared import catalog_option, hint, time_limit_option
from planner.cli.stdin import InputFile
from planner.fleet import GPU_OPTION, SET_OPTION, Edit, Fleet, load_fleet, read_fleet, scenarios
from planner.plan import AXES, NoPlan, Plan, plan_from_yaml, plan_to_yaml
from planner.report import (
    Changes,
    Compared,
    FrontierView,
    NoPlanView,
    Scenarios,
    View,
    changes,
    frontier_view,
    no_plan_view,
    page,
    scenario_table,
    view,
)
from planner.report.asked import controls
from planner.report.server import Server
from planner.report.session import Session
from planner.search.budget import POINTS

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


def _axes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, str] | None:
    """Read the two axes of a frontier."""
    if text is None:
        return None
    x, _comma, y = text.partition(",")
    if x == y or x not in AXES or y not in AXES:
        raise click.BadParameter(f"expected two of {', '.join(AXES)} with a comma between them")
    return x, y


@click.command(epilog=_EPILOG)
@click.argument("file", metavar="PLAN", type=InputFile(), default=PLAN_FILE)
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
@click.option("--pareto", "axes", callback=_axes, metavar="X,Y", help="Solve and show the frontier of two things.")
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
    axes: tuple[str, str] | None,
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
    if serve and (wanted or axes or against or as_json):
        raise click.UsageError("--serve goes without --what-if, --pareto, --against and --json")
    catalog = load_catalog(overlays=catalog_folders)
    plan = None if _is_fleet(file) else plan_from_yaml(file)
    source = file if plan is None else fleet_file or file.parent / "fleet.yaml"
    fleet = load_fleet(source, catalog)
    answer = _solved(fleet, catalog, time_limit) if plan is None else _kept(plan, fleet, catalog, file.parent)
    fleet_text = source.read_text(encoding="utf-8")
    compared = Compared(
        scenarios=_scenarios(source, wanted, catalog, time_limit) if wanted else None,
        frontier=_frontier(fleet, axes, catalog, time_limit) if axes else None,
        changes=_changes(against, answer, fleet_text) if against and isinstance(answer, Plan) else None,
    )
    if isinstance(answer, NoPlan):
        shown: View | NoPlanView = no_plan_view(answer, fleet_text)
    else:
        plan_text = plan_to_yaml(answer) if plan is None else file.read_text(encoding="utf-8")
        shown = view(answer, fleet, catalog, fleet_text, plan_text, changed=changed(answer, fleet, catalog))
    if serve:
        session = Session(
            written=read_fleet(source), catalog=catalog, controls=controls(fleet, catalog), budget=time_limit
        )
        _serve(session, shown, port)
        return
    save(out, page(shown, compared).encode(), as_json=as_json)
    raise SystemExit(EXIT_PROVEN if isinstance(answer, Plan) else EXIT_NO_PLAN)


def _is_fleet(file: Path) -> bool:
    """Whether a file is a fleet: it has roles, and is not of the schema of plans. What cannot be read is no fleet."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.search(r"^roles:", text, re.M)) and not re.search(r"^schema:", text, re.M)


def _kept(plan: Plan, fleet: Fleet, catalog: Catalog, folder: Path) -> Plan:
    """Return a plan that holds for its fleet."""
    old = say_stale(plan, fleet, catalog, folder)
    require(plan, fleet, catalog, objective=not old)
    return plan


def _solved(fleet: Fleet, catalog: Catalog, time_limit: int) -> Plan | NoPlan:
    from planner.solve import solve_and_check

    return watched(fleet, lambda: solve_and_check(fleet, catalog, time_limit))


def _scenarios(source: Path, wanted: tuple[str, ...], catalog: Catalog, time_limit: int) -> Scenarios:
    from planner.solve.scenarios import what_if

    edits = [Edit(SET_OPTION if "=" in change else GPU_OPTION, change) for change in wanted]
    cases = scenarios(edits, matrix=False)
    return scenario_table(counted(what_if(read_fleet(source), cases, catalog, time_limit), len(cases), "scenarios"))


def _frontier(fleet: Fleet, axes: tuple[str, str], catalog: Catalog, time_limit: int) -> FrontierView | None:
    from planner.solve.frontier import pareto

    return frontier_view(watched(fleet, lambda: pareto(fleet, *axes, catalog, time_limit, POINTS)), fleet)


def _changes(against: Path, answer: Plan, fleet_text: str) -> Changes:
    beside = against.parent / "fleet.yaml"
    before = beside.read_text(encoding="utf-8") if beside.is_file() else None
    return changes(plan_from_yaml(against), answer, before, fleet_text)


def _serve(session: Session, first: View | NoPlanView, port: int) -> None:
    """Answer until Ctrl-C; the solver is loaded while the address is opened, so that the first answer is no later."""
    with Server(session, first, port) as server:
        click.echo(server.url)
        hint("open it in a browser of this machine; Ctrl-C ends it")
        importlib.import_module("planner.solve")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
