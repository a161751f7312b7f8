"""What ``planner pareto`` does: finds the plans of which none is better in both of two things, and prints them."""

import csv
import io
import itertools
import json
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog, load_catalog
from planner.check import measure
from planner.cli.chart import Marks, draw, require_matplotlib
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_NOT_PROVEN, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.cli.lock import plan_there
from planner.cli.no_plan import say_none
from planner.cli.output import save
from planner.cli.progress import watched
from planner.cli.shared import hint
from planner.cli.stdin import folder_of
from planner.cli.terminal import working
from planner.cli.text import table, wrapped
from planner.explain.frontier_text import UNITS, axis_text, axis_title, axis_value, bases, listed_points, scales
from planner.explain.scenario_text import SERVED
from planner.fleet import Fleet, load_fleet
from planner.plan import Frontier, NoPlan, Plan, ServerPlan, plan_json, undominated
from planner.units import format_tokens


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for: the axes, up to how many points, the files to write, and the budget in deterministic seconds.

    A ``chart`` is drawn as the kind that the end of its name says.
    """

    x: str
    y: str
    points: int
    csv_file: Path | None
    chart: Path | None
    budget: int


def listed(fleet_file: Path, catalog_folders: tuple[Path, ...], asked: Asked, *, as_json: bool) -> int:
    """Print the frontier of a fleet, write what is asked for, and return the exit code."""
    if asked.chart:
        require_matplotlib()
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file, catalog)
    with working("loading the solver"):  # the fleet has been read and found right
        from planner.solve.frontier import pareto as find_frontier

    x, y = asked.x, asked.y
    found = watched(fleet, lambda: find_frontier(fleet, x, y, catalog, asked.budget, asked.points))
    if isinstance(found, NoPlan):
        return say_none(found, as_json=as_json)
    if as_json:
        say_json(_document(found, fleet))
    else:
        click.echo(shown(_text(found, fleet)))
    if asked.csv_file:
        save(asked.csv_file, _csv(found, fleet).encode())
    if asked.chart:
        _draw(asked.chart, found, fleet, catalog, plan_there(folder_of(fleet_file)))
    if not as_json:
        file = fleet_file if folder_of(fleet_file) else "-"
        hint(f"planner solve {file} --x {x} --y {y} --point N writes the plan of a point")
    proven = not found.open_end and all(map(undominated, found.plans))
    return EXIT_PROVEN if proven else EXIT_NOT_PROVEN


def _draw(file: Path, frontier: Frontier, fleet: Fleet, catalog: Catalog, there: Plan | None) -> None:
    """Write the chart of a frontier, with the plan that is there on it."""
    from planner.solve.noise import score_noise  # the solver: not before the fleet has been read

    marks = Marks(
        changes=_changes(frontier, fleet),
        noise=tuple(score_noise(plan, fleet, catalog) for plan in frontier.plans),
        current=_current(frontier, fleet, catalog, there),
    )
    title = f"{fleet.name}: {frontier.x} and {frontier.y}"
    save(file, draw(frontier, title, fleet, file.suffix.lower(), marks))


def _current(frontier: Frontier, fleet: Fleet, catalog: Catalog, plan: Plan | None) -> Plan | None:
    """Return the plan that is there with its values on the axes, where it still holds."""
    found = measure(plan, fleet, catalog, frontier.plans[0].objective) if plan else None
    return found and replace(found, prices=frontier.plans[0].prices)


def _changes(frontier: Frontier, fleet: Fleet) -> tuple[str, ...]:
    """Return for each point what it has that the point before it has not; nothing for the first."""
    found = [""]
    for before, plan in itertools.pairwise(frontier.plans):
        changed = []
        for role in (role.name for role in fleet.roles):
            old, new = (set(_served(one, role, True).split(", ")) for one in (before, plan))
            parts = [part for part in _served(plan, role, True).split(", ") if part in new - old]
            changed += [f"{role}: {', '.join(parts)}"] if parts else []
        found.append("; ".join(changed))
    return tuple(found)


def _text(frontier: Frontier, fleet: Fleet) -> str:
    """Return the table, and below it what it is a table of."""
    roles = [role.name for role in fleet.roles]
    titles = [axis_title(frontier, axis) for axis in (frontier.x, frontier.y)]
    names = {role: _models(frontier, role) for role in roles}
    header = ["point", *titles, "plan", *(_heading(role, names[role]) for role in roles)]
    rows = []
    for number, plan in enumerate(frontier.plans, 1):
        values = (axis_value(plan, axis, fleet) for axis in (frontier.x, frontier.y))
        figures = [axis_text(value, title) for value, title in zip(values, titles, strict=True)]
        proven = "proven" if undominated(plan) else "not proven"
        rows.append([str(number), *figures, proven, *(_served(plan, role, len(names[role]) > 1) for role in roles)])
    units = [SERVED, *(f"{title}: {UNITS[title]}" for title in titles if title != UNITS[title])]
    units += scales(frontier)
    units += [f"price: {basis}" for basis in bases(frontier)]
    return "\n".join([table(header, rows, frozenset({0, 1, 2})), "", *units, wrapped(listed_points(frontier))])


def _models(frontier: Frontier, role: str) -> set[str]:
    """Return the models that serve a role in any point."""
    return {server.model for plan in frontier.plans for server in plan.servers if server.role == role}


def _heading(role: str, models: set[str]) -> str:
    return f"{role}: {min(models)}" if len(models) == 1 else role


def _of(plan: Plan, role: str) -> list[ServerPlan]:
    return [server for server in plan.servers if server.role == role]


def _served(plan: Plan, role: str, named: bool) -> str:
    """Say how a role is served: scheme and cache, context and requests, and how many servers; the model if asked."""
    servers = _of(plan, role)
    if not servers:
        return "left out"
    model = [servers[0].model] if named else []
    return " and ".join(_equal(group, model) for group in plan.by_pool(role).values())


def _equal(servers: list[ServerPlan], model: list[str]) -> str:
    """Say what servers of one role in one pool have."""
    one = servers[0]
    parts = [*model, one.scheme]
    parts += [f"{one.kv_cache_dtype} KV cache"] if one.kv_cache_dtype != "auto" else []
    parts.append(f"{format_tokens(one.max_model_len)} × {one.requests}")
    return (f"{len(servers)} of " if len(servers) > 1 else "") + ", ".join(parts)


def _csv(frontier: Frontier, fleet: Fleet) -> str:
    """Return one line per point: the axes in the units of docs/pareto.md, and what each role has."""
    text = io.StringIO()
    rows = csv.DictWriter(text, list(_row(frontier, fleet, 0)), lineterminator="\n")
    rows.writeheader()
    rows.writerows(_row(frontier, fleet, index) for index in range(len(frontier.plans)))
    return text.getvalue()


def _row(frontier: Frontier, fleet: Fleet, index: int) -> dict[str, object]:
    plan = frontier.plans[index]
    row: dict[str, object] = {"point": index + 1}
    for axis in (frontier.x, frontier.y):
        row[axis_title(frontier, axis)] = f"{axis_value(plan, axis, fleet):.6f}".rstrip("0").rstrip(".")
    row["proven"] = str(undominated(plan)).lower()
    for role in fleet.roles:
        row.update({f"{role.name}.{name}": value for name, value in _columns(_of(plan, role.name)).items()})
    return row


def _columns(servers: list[ServerPlan]) -> dict[str, object]:
    """Return what a role has, empty where it is left out; ``requests`` are those of all its servers."""
    one = servers[0] if servers else None
    score = one.accuracy.score if one else None
    return {
        "variant": one.repository if one else "",
        "scheme": one.scheme if one else "",
        "kv_cache_dtype": " and ".join(dict.fromkeys(server.kv_cache_dtype for server in servers)),
        "score": "" if score is None else score / 100,
        "context": one.max_model_len if one else "",
        "requests": sum(server.requests for server in servers),
        "gpus": sum(len(server.gpus) for server in servers),
    }


def _document(frontier: Frontier, fleet: Fleet) -> dict[str, Any]:
    axes = {"x": frontier.x, "y": frontier.y}
    titles = {name: axis_title(frontier, axis) for name, axis in axes.items()}
    return {
        "fleet": fleet.name,
        **{name: {"axis": axis, "unit": UNITS[titles[name]]} for name, axis in axes.items()},
        "price_sources": list(bases(frontier)),
        "complete": frontier.complete,
        "open_end": frontier.open_end,
        "points": [
            {
                "number": number,
                **{name: axis_value(plan, axis, fleet) for name, axis in axes.items()},
                "proven": undominated(plan),
                "plan": json.loads(plan_json(plan)),
            }
            for number, plan in enumerate(frontier.plans, 1)
        ],
    }
