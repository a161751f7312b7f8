"""What ``planner what-if`` does: solves variations of a fleet, and prints them side by side."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from planner.catalog import load_catalog
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.freeing import running_plan, say_freed
from planner.cli.json_text import say_json
from planner.cli.moving import checked_moves, moves_text
from planner.cli.progress import counted
from planner.cli.text import table, wrapped
from planner.explain.money_text import dollars
from planner.explain.scenario_text import SERVED, against, gpus_of, in_short, per_hour, per_million, served, status
from planner.explain.words import COUNTED, has_unit
from planner.fleet import GPU_OPTION, LOSE_OPTION, SET_OPTION, Edit, read_fleet, scenarios
from planner.fleet.load import fleet_of
from planner.plain_data import as_dict
from planner.plan import NoPlan, Plan, differences, gain, plan_json
from planner.plan.freeing import Freeing
from planner.solve.scenarios import ScenarioOutcome
from planner.solve.scenarios import what_if as solve_scenarios

Changes = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""What is typed of other GPUs, other values of fields, and lost nodes."""


def compared(
    fleet_file: Path,
    changes: Changes,
    catalog_folders: tuple[Path, ...],
    time_limit: int,
    jobs: int | None,
    *,
    matrix: bool,
    as_json: bool,
) -> int:
    """Solve a fleet with changes, print a row for each, and return the exit code."""
    gpus, settings, lost = changes
    edits = [*(Edit(GPU_OPTION, name) for name in gpus), *(Edit(SET_OPTION, setting) for setting in settings)]
    edits += [Edit(LOSE_OPTION, name) for name in lost]
    catalog = load_catalog(overlays=catalog_folders)
    wanted = scenarios(edits, matrix=matrix)
    written = read_fleet(fleet_file)
    running = running_plan(fleet_file, fleet_of(written, catalog), catalog) if lost else None
    outcomes = counted(solve_scenarios(written, wanted, catalog, time_limit, jobs, running), len(wanted), "scenarios")
    if as_json:
        say_json({"scenarios": [_document(outcome, outcomes[0]) for outcome in outcomes]})
    else:
        click.echo(shown("\n\n".join([_text(outcomes), *_moved(outcomes)])))
    return EXIT_PROVEN if all(_proven(outcome) for outcome in outcomes) else EXIT_NOT_PROVEN


def freed(
    fleet_file: Path,
    catalog_folders: tuple[Path, ...],
    nodes: tuple[int, ...],
    gpus: tuple[int, ...],
    time_limit: int,
    *,
    as_json: bool,
) -> int:
    """Print the fewest moves that free so many nodes, or GPUs side by side, and return the exit code."""
    asked = [Freeing(what="nodes", count=count) for count in nodes]
    asked += [Freeing(what="gpus", count=count) for count in gpus]
    return say_freed(fleet_file, load_catalog(overlays=catalog_folders), asked, time_limit, as_json=as_json)


def _proven(outcome: ScenarioOutcome) -> bool:
    return outcome.answer is not None and (not isinstance(outcome.answer, Plan) or outcome.answer.proof.proven)


def _moves(outcome: ScenarioOutcome) -> dict[str, Any]:
    """Return what moves in a scenario that loses a node, as a key of its own."""
    if outcome.before is None or not isinstance(outcome.answer, Plan):
        return {}
    return {"moves": as_dict(checked_moves(outcome.fleet, outcome.before, outcome.answer))}


def _moved(outcomes: Sequence[ScenarioOutcome]) -> Iterator[str]:
    """Yield what moves in every scenario that loses a node."""
    for outcome in outcomes:
        if outcome.before and isinstance(outcome.answer, Plan):
            found = checked_moves(outcome.fleet, outcome.before, outcome.answer)
            yield f"{outcome.scenario.name}: {moves_text(outcome.fleet, found, outcome.answer)}"


def _text(outcomes: Sequence[ScenarioOutcome]) -> str:
    """Return the table, and below it why scenarios have no plan."""
    base = outcomes[0]
    roles = sorted({role.name for outcome in outcomes for role in outcome.fleet.roles})
    header = ["scenario", "GPUs", "$/h", "$/M tokens", "plan", "against the first", *roles]
    rows = [[*_facts(outcome, base), *(served(outcome.answer, role) for role in roles)] for outcome in outcomes]
    reasons = [
        f"{outcome.scenario.name}: {in_short(outcome.answer)}"
        for outcome in outcomes
        if not isinstance(outcome.answer, Plan)
    ]
    prices = dict.fromkeys(f"$/h: {basis}" for outcome in outcomes for basis in _bases(outcome))
    below = ["\n".join(reasons), wrapped("\n".join(prices)), _legend(outcomes, base)]
    return "\n\n".join(filter(None, [table(header, rows, frozenset({2, 3})), *below]))


def _legend(outcomes: Sequence[ScenarioOutcome], base: ScenarioOutcome) -> str:
    """Say what the columns mean that are there."""
    answers = [outcome.answer for outcome in outcomes if isinstance(outcome.answer, Plan)]
    lines = [SERVED] if answers else []
    if any(per_million(answer) is not None for answer in answers):
        lines.append("$/M tokens: for a million tokens of answers, with all requests running")
    changes = [gain(base.answer, answer) for answer in answers] if isinstance(base.answer, Plan) else []
    counted = dict.fromkeys(change.stage for change in changes if change and not has_unit(change.stage))
    return "\n".join([*lines, *(f"{stage}: {COUNTED[stage]}" for stage in counted)])


def _facts(outcome: ScenarioOutcome, base: ScenarioOutcome) -> list[str]:
    answer = outcome.answer
    change = "" if outcome is base else against(base.answer, answer)
    paid, hourly = per_million(answer), per_hour(answer, outcome.price)
    prices = ["" if amount is None else dollars(amount) for amount in (hourly, paid)]
    return [outcome.scenario.name, gpus_of(outcome.fleet), *prices, status(answer), change]


def _bases(outcome: ScenarioOutcome) -> tuple[str, ...]:
    """Return whose prices a scenario's are."""
    if isinstance(outcome.answer, Plan):
        return tuple(outcome.answer.price.basis.split("; ")) if outcome.answer.price else ()
    return outcome.price.sources if outcome.price else ()


def _document(outcome: ScenarioOutcome, base: ScenarioOutcome) -> dict[str, Any]:
    answer = outcome.answer
    both = (base.answer, answer) if isinstance(answer, Plan) and isinstance(base.answer, Plan) else None
    more = gain(*both) if both else None
    changed = differences(*both) if both else ()
    return {
        "scenario": outcome.scenario.name,
        "edits": [str(edit) for edit in outcome.scenario.edits],
        "gpus": [{"pool": pool.name, "gpu": pool.gpu.name, "count": pool.gpu_count} for pool in outcome.fleet.pools],
        "usd_per_hour": per_hour(outcome.answer, outcome.price),
        "usd_per_million_output_tokens": per_million(outcome.answer),
        "price_sources": _bases(outcome),
        "gain": as_dict(more) if more else None,
        "differences": [as_dict(item) for item in changed],
        **_moves(outcome),
        "plan": json.loads(plan_json(answer)) if isinstance(answer, Plan) else None,
        "no_plan": json.loads(plan_json(answer)) if isinstance(answer, NoPlan) else None,
    }
