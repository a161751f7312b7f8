"""What ``planner report`` does: makes the page of a plan, and writes it or shows it to a browser."""

import contextlib
import importlib
import re
from pathlib import Path

import click
from msgspec import Struct

from planner.catalog import Catalog, load_catalog
from planner.check import require
from planner.cli.exit_codes import EXIT_NO_PLAN, EXIT_PROVEN
from planner.cli.lock import changed, say_stale
from planner.cli.output import save
from planner.cli.progress import counted, watched
from planner.cli.shared import hint
from planner.cli.terminal import working
from planner.fleet import GPU_OPTION, SET_OPTION, Edit, Fleet, load_fleet, read_fleet, scenarios
from planner.plan import NoPlan, Plan, plan_from_yaml, plan_to_yaml
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


class Asked(Struct, frozen=True, kw_only=True):
    """What a page is to have besides its plan, and the budget of every search for it."""

    wanted: tuple[str, ...]
    axes: tuple[str, str] | None
    against: Path | None
    budget: int


def reported(
    file: Path,
    fleet_file: Path | None,
    catalog_folders: tuple[Path, ...],
    asked: Asked,
    target: Path | int,
    *,
    as_json: bool,
) -> int:
    """Write the page to a file, or serve it at a port, and return the exit code."""
    catalog = load_catalog(overlays=catalog_folders)
    plan = None if _is_fleet(file) else plan_from_yaml(file)
    source = file if plan is None else fleet_file or file.parent / "fleet.yaml"
    fleet = load_fleet(source, catalog)
    answer = _solved(fleet, catalog, asked.budget) if plan is None else _kept(plan, fleet, catalog, file.parent)
    fleet_text = source.read_text(encoding="utf-8")
    compared = Compared(
        scenarios=_scenarios(source, asked.wanted, catalog, asked.budget) if asked.wanted else None,
        frontier=_frontier(fleet, asked.axes, catalog, asked.budget) if asked.axes else None,
        changes=_changes(asked.against, answer, fleet_text) if asked.against and isinstance(answer, Plan) else None,
    )
    if isinstance(answer, NoPlan):
        shown: View | NoPlanView = no_plan_view(answer, fleet_text)
    else:
        plan_text = plan_to_yaml(answer) if plan is None else file.read_text(encoding="utf-8")
        shown = view(answer, fleet, catalog, fleet_text, plan_text, changed=changed(answer, fleet, catalog))
    if isinstance(target, int):
        session = Session(
            written=read_fleet(source), catalog=catalog, controls=controls(fleet, catalog), budget=asked.budget
        )
        _serve(session, shown, target)
        return EXIT_PROVEN
    save(target, page(shown, compared).encode(), as_json=as_json)
    return EXIT_PROVEN if isinstance(answer, Plan) else EXIT_NO_PLAN


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
    with working("loading the solver"):
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
