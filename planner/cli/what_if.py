"""``planner what-if``: one table of what variations of a fleet would bring."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.catalog import load_catalog
from planner.cli import names
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.progress import counted
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile
from planner.cli.text import table, wrapped
from planner.explain.money_text import dollars
from planner.explain.scenario_text import SERVED, against, gpus_of, in_short, per_hour, per_million, served, status
from planner.explain.words import COUNTED, has_unit
from planner.fleet import GPU_OPTION, LOSE_OPTION, SET_OPTION, Edit, read_fleet, scenarios
from planner.fleet.load import fleet_of
from planner.plain_data import as_dict
from planner.plan import NoPlan, Plan, differences, gain, plan_json
from planner.plan.freeing import Freeing

if TYPE_CHECKING:
    from planner.solve.scenarios import ScenarioOutcome

_EPILOG = """\b
Examples:
  planner what-if fleet.yaml --gpu rtx-4090:2 --gpu l40s --gpu h100-sxm-80gb
  planner what-if fleet.yaml --set roles.coder.context.min=32k --set objective=accuracy
  planner what-if fleet.yaml --matrix --gpu l40s:2 --set roles.chat.weight=2
  planner what-if fleet.yaml --lose-node h100-2
  planner what-if fleet.yaml --free-node 1 --free-gpus 4
\b
Exit code: 0 every scenario has a proven answer, and no plan is one; 4 one of them
was not proven within --time-limit; 1 a scenario makes no valid fleet.
"""


@click.command("what-if", epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(), default="fleet.yaml")
@click.option(
    GPU_OPTION,
    "gpus",
    type=names.GPU_OR_INSTANCE,
    multiple=True,
    metavar="NAME[:COUNT]",
    help="GPUs in place of those of the fleet; repeatable.",
)
@click.option(
    SET_OPTION,
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Another value for a field; without a value the field goes. Repeatable.",
)
@click.option(
    LOSE_OPTION,
    "lost",
    multiple=True,
    metavar="NODE[,NODE]",
    help="Without a node, or several at once; says what moves from the plan that is there. Repeatable.",
)
@click.option(
    "--free-node",
    "free_nodes",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="COUNT",
    help="Instead: the fewest moves after which so many nodes have no server. Repeatable.",
)
@click.option(
    "--free-gpus",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="COUNT",
    help="Instead: the fewest moves that free so many GPUs side by side, such as an NVLink domain. Repeatable.",
)
@click.option("--matrix", is_flag=True, help="Every combination, instead of one change at a time.")
@catalog_option
@json_option
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes; by default one for each core.")
@time_limit_option
def what_if(
    fleet_file: Path,
    gpus: tuple[str, ...],
    settings: tuple[str, ...],
    lost: tuple[str, ...],
    free_nodes: tuple[int, ...],
    free_gpus: tuple[int, ...],
    matrix: bool,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
    jobs: int | None,
    time_limit: int,
) -> None:
    """Solve variations of a fleet side by side and compare them.

    The first row is the fleet as it is written; what the others gain or lose is against it.
    """
    edits = [*(Edit(GPU_OPTION, name) for name in gpus), *(Edit(SET_OPTION, setting) for setting in settings)]
    edits += [Edit(LOSE_OPTION, name) for name in lost]
    catalog = load_catalog(overlays=catalog_folders)
    from planner.cli.freeing import running_plan, say_freed  # the solver: not to show options
    from planner.solve.scenarios import what_if as solve_scenarios

    if free_nodes or free_gpus:
        if edits or matrix:
            raise click.UsageError("--free-node and --free-gpus are about the plan as it is: give no other change")
        asked = [Freeing(what="nodes", count=count) for count in free_nodes]
        asked += [Freeing(what="gpus", count=count) for count in free_gpus]
        raise SystemExit(say_freed(fleet_file, catalog, asked, time_limit, as_json=as_json))
    wanted = scenarios(edits, matrix=matrix)
    written = read_fleet(fleet_file)
    running = running_plan(fleet_file, fleet_of(written, catalog), catalog) if lost else None
    outcomes = counted(solve_scenarios(written, wanted, catalog, time_limit, jobs, running), len(wanted), "scenarios")
    if as_json:
        say_json({"scenarios": [_document(outcome, outcomes[0]) for outcome in outcomes]})
    else:
        click.echo(shown("\n\n".join([_text(outcomes), *_moved(outcomes)])))
    proven = all(_proven(outcome) for outcome in outcomes)
    raise SystemExit(EXIT_PROVEN if proven else EXIT_NOT_PROVEN)


def _proven(outcome: "ScenarioOutcome") -> bool:
    return outcome.answer is not None and (not isinstance(outcome.answer, Plan) or outcome.answer.proof.proven)


def _moves(outcome: "ScenarioOutcome") -> dict[str, Any]:
    """Return what moves in a scenario that loses a node, as a key of its own."""
    from planner.cli.moving import checked_moves

    if outcome.before is None or not isinstance(outcome.answer, Plan):
        return {}
    return {"moves": as_dict(checked_moves(outcome.fleet, outcome.before, outcome.answer))}


def _moved(outcomes: Sequence["ScenarioOutcome"]) -> Iterator[str]:
    """Yield what moves in every scenario that loses a node."""
    from planner.cli.moving import checked_moves, moves_text

    for outcome in outcomes:
        if outcome.before and isinstance(outcome.answer, Plan):
            found = checked_moves(outcome.fleet, outcome.before, outcome.answer)
            yield f"{outcome.scenario.name}: {moves_text(outcome.fleet, found, outcome.answer)}"


def _text(outcomes: Sequence["ScenarioOutcome"]) -> str:
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


def _legend(outcomes: Sequence["ScenarioOutcome"], base: "ScenarioOutcome") -> str:
    """Say what the columns mean that are there."""
    answers = [outcome.answer for outcome in outcomes if isinstance(outcome.answer, Plan)]
    lines = [SERVED] if answers else []
    if any(per_million(answer) is not None for answer in answers):
        lines.append("$/M tokens: for a million tokens of answers, with all requests running")
    changes = [gain(base.answer, answer) for answer in answers] if isinstance(base.answer, Plan) else []
    counted = dict.fromkeys(change.stage for change in changes if change and not has_unit(change.stage))
    return "\n".join([*lines, *(f"{stage}: {COUNTED[stage]}" for stage in counted)])


def _facts(outcome: "ScenarioOutcome", base: "ScenarioOutcome") -> list[str]:
    answer = outcome.answer
    change = "" if outcome is base else against(base.answer, answer)
    paid, hourly = per_million(answer), per_hour(answer, outcome.price)
    prices = ["" if amount is None else dollars(amount) for amount in (hourly, paid)]
    return [outcome.scenario.name, gpus_of(outcome.fleet), *prices, status(answer), change]


def _bases(outcome: "ScenarioOutcome") -> tuple[str, ...]:
    """Return whose prices a scenario's are."""
    if isinstance(outcome.answer, Plan):
        return tuple(outcome.answer.price.basis.split("; ")) if outcome.answer.price else ()
    return outcome.price.sources if outcome.price else ()


def _document(outcome: "ScenarioOutcome", base: "ScenarioOutcome") -> dict[str, Any]:
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
