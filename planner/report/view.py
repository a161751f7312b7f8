"""View: everything that the page of a plan shows, as plain facts."""

import shlex
from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner import explain
from planner.artifacts import HOME
from planner.artifacts.nodes import many, node_names
from planner.artifacts.quoting import slug
from planner.catalog import Catalog
from planner.check.servers import Recomputed
from planner.check.turns import as_planned
from planner.engine.profile import load_profile
from planner.explain.named import named
from planner.explain.words import listed
from planner.fleet import Fleet
from planner.plan import KnownFault, Plan
from planner.report.alternatives import Alternatives, alternatives
from planner.report.curves import Curves, curves
from planner.report.glance import Answer, glance
from planner.report.memory import GPUBar, gpu_bars
from planner.report.servers import ServerRow, server_rows
from planner.report.sources import Source, sources
from planner.report.starts import StartRow, start_rows, starts

_MOST_NODES = 16
"""Nodes of which each has its commands on the page."""

_MOST_TEXT = 200_000
"""Characters of a plan.yaml that the page holds."""


class Fault(Struct, frozen=True, kw_only=True):
    """A known fault of the engine that servers of these roles meet; without a serious one there is no plan."""

    roles: tuple[str, ...]
    account: str
    serious: bool


class View(Struct, frozen=True, kw_only=True):
    """What one page shows; ``fleet_text`` is the file of the fleet and ``plan_text`` the plan's, or None if it is long.

    ``notes`` say what the headline does not: what has changed since, and what the proof leaves out.
    ``later`` names servers that are not started with the fleet, because they take turns; ``pins`` are what roles pin of
    the engine, by role. ``commands`` are those of the first nodes; ``nodes`` says on which others they are the same.
    """

    title: str
    headline: str
    notes: tuple[str, ...]
    money: tuple[str, ...]
    glance: tuple[Answer, ...]
    servers: tuple[ServerRow, ...]
    bars: tuple[GPUBar, ...]
    curves: tuple[Curves, ...]
    starts: tuple[StartRow, ...]
    later: str
    turns: str
    pins: tuple[tuple[str, str], ...]
    faults: tuple[Fault, ...]
    reasons: str
    alternatives: Alternatives
    sources: tuple[Source, ...]
    commands: tuple[str, ...]
    nodes: str
    fleet_text: str
    plan_text: str | None


def view(
    plan: Plan, fleet: Fleet, catalog: Catalog, fleet_text: str, plan_text: str, *, changed: Sequence[str] = ()
) -> View:
    """Return what the page of a plan shows; the plan must hold for the fleet, and the texts are their files.

    ``changed`` is what is no longer as it was when the plan was made.
    """
    facts = Recomputed(plan, as_planned(fleet, plan), catalog, load_profile(plan.engine_version))
    prices = [explain.price(plan.price)] if plan.price else []
    bars, own_curves, begun = gpu_bars(plan), curves(facts), starts(plan)
    own_starts = tuple(start_rows(plan, begun))
    at_once = {one.server for one in begun}
    later = [server.name for server in plan.servers if server.name not in at_once]
    pins = {server.role: explain.settings(server.settings) for server in plan.servers if server.settings}
    return View(
        title=plan.fleet,
        headline=explain.headline(plan),
        notes=(*_since(changed), *explain.untried(fleet, plan)),
        money=(*prices, *(explain.money(plan.money).splitlines() if plan.money else [])),
        glance=tuple(glance(bars, own_curves, own_starts)),
        servers=tuple(server_rows(plan)),
        bars=bars,
        curves=own_curves,
        starts=own_starts,
        later=named(later) if later else "",
        turns=explain.turns(plan),
        pins=tuple(pins.items()),
        faults=tuple(_faults(plan)),
        reasons=explain.reasons(plan, alternatives=False),
        alternatives=alternatives(plan),
        sources=tuple(sources(plan, fleet)),
        commands=tuple(_commands(plan)),
        nodes=_like_the_first(plan),
        fleet_text=fleet_text,
        plan_text=plan_text if len(plan_text) <= _MOST_TEXT else None,
    )


def _since(changed: Sequence[str]) -> Iterator[str]:
    if changed:
        have = "has" if len(changed) == 1 else "have"
        yield f"the {listed(changed)} {have} changed since this plan was made; `planner solve` plans again"


def _faults(plan: Plan) -> Iterator[Fault]:
    roles: dict[KnownFault, dict[str, None]] = {}
    for server in plan.servers:
        for fault in server.known_faults:
            roles.setdefault(fault, {})[server.role] = None
    for fault, names in roles.items():
        yield Fault(roles=tuple(names), account=fault.account, serious=fault.serious)


def _commands(plan: Plan) -> Iterator[str]:
    """Yield what is typed beside the fleet file, in the order in which it is needed."""
    folders = [f"{HOME}/{slug(node)}" for node in node_names(plan)[:_MOST_NODES]] if many(plan) else [HOME]
    yield "planner verify"
    for folder in folders:
        yield f"bash {shlex.quote(f'{folder}/launch.sh')} check"
        yield f"bash {shlex.quote(f'{folder}/launch.sh')} up"
    yield "planner explain"


def _like_the_first(plan: Plan) -> str:
    """Name the nodes whose commands are not written out."""
    others = node_names(plan)[_MOST_NODES:] if many(plan) else ()
    return named(others) if others else ""
