"""What ``planner solve`` does with a fleet that was read: solve it, check the plan, print it, write its files.

This loads the solver, the templates and everything that explains a plan.
"""

from pathlib import Path

import click
from msgspec import Struct

from planner import explain
from planner.catalog import Catalog
from planner.check import require
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import say
from planner.cli.lock import plan_there, say_followed, say_gone, up_to_date, with_targets
from planner.cli.no_plan import say_none
from planner.cli.output import check_files, plan_files, write_files
from planner.cli.plan_text import plan_text
from planner.cli.progress import watched
from planner.cli.shared import done, hint, note
from planner.cli.terminal import quiet, working
from planner.fleet import Fleet
from planner.plan import NoPlan, Plan, plan_json


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for: ``folder`` gets the files if there is one, ``budget`` is in deterministic seconds.

    ``point`` names a point of a frontier by its axes and its number among up to ``points``.
    """

    folder: Path | None
    templates: Path | None
    targets: tuple[str, ...]
    as_json: bool
    check: bool
    fresh: bool
    dry_run: bool
    force: bool
    point: tuple[str, str, int] | None
    points: int
    budget: int


def solved(fleet: Fleet, catalog: Catalog, asked: Asked) -> int:
    """Solve a fleet, print the plan, write its files, and return the exit code."""
    folder = asked.folder
    before = None if asked.fresh else plan_there(folder)
    if before and folder:
        say_gone(before, fleet, folder)
    if before and asked.check and asked.point is None and up_to_date(before, fleet, catalog, asked.budget):
        answer: Plan | NoPlan = before
    else:
        answer = watched(fleet, lambda: _answer(fleet, catalog, asked, before))
    if isinstance(answer, NoPlan):
        return say_none(answer, as_json=asked.as_json)
    with working("checking the plan"):
        require(answer, fleet, catalog)
    done("checked the plan")
    answer = with_targets(answer, asked.targets or (before.lock.targets if before else ()))
    waiting = answer.proof.interrupted and not asked.check and not asked.as_json
    if waiting:  # for the plan, not for its files
        click.echo(_told(answer))
    with working("rendering the files"):
        files = plan_files(answer, asked.templates)
    done(f"rendered {len(files)} files")
    if asked.check and folder:
        check_files(before, answer, files, folder, as_json=asked.as_json)
        return EXIT_PROVEN
    if asked.as_json:
        say(plan_json(answer))
    elif not waiting:
        click.echo(_told(answer))
    if before and not (asked.as_json or quiet()):
        _say_moves(fleet, before, answer)
    for line in explain.untried(fleet, answer):
        note(line)
    if before and folder:
        say_followed(before, answer, folder)
    if folder is None:
        hint("nothing was written; --out DIR writes the plan and its files into a folder")
    elif write_files(answer, files, folder, force=asked.force, dry_run=asked.dry_run, fresh=asked.fresh):
        return EXIT_FILES_DIFFER
    return EXIT_PROVEN if answer.proof.proven else EXIT_NOT_PROVEN


def _told(plan: Plan) -> str:
    return shown(explain.headline(plan) if quiet() else plan_text(plan))


def _say_moves(fleet: Fleet, before: Plan, plan: Plan) -> None:
    """Say what the machines go through from the plan that is there to the new one, where anything changes on them."""
    from planner.cli.moving import checked_moves, moves_text

    found = checked_moves(fleet, before, plan)
    if found.moves:
        click.echo(f"\n{shown(moves_text(fleet, found, plan))}")


def _answer(fleet: Fleet, catalog: Catalog, asked: Asked, before: Plan | None) -> Plan | NoPlan:
    """Return the best plan for the fleet's objective, or that of a point of a frontier."""
    from planner.solve import solve as solve_fleet  # not where a plan that is there is up to date
    from planner.solve.frontier import point as solve_point

    if asked.point is None:
        return solve_fleet(fleet, catalog, asked.budget, before)
    x, y, number = asked.point
    return solve_point(fleet, catalog, x, y, number, asked.budget, asked.points, before)
