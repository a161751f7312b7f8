"""View: everything that the page of a plan shows, as plain facts."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from planner import explain
from planner.artifacts import HOME
from planner.artifacts.nodes import many, node_names
from planner.artifacts.quoting import slug
from planner.catalog import Catalog
from planner.check.servers import Recomputed
from planner.check.turns import as_planned
from planner.engine.profile import load_profile
from planner.fleet import Fleet
from planner.plan import KnownFault, Plan, ServerPlan
from planner.report.curves import Curves, curves
from planner.report.glance import Answer, glance
from planner.report.memory import GPUBar, gpu_bars
from planner.report.starts import Start, starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a figure comes from: what it is, its value, and who says so."""

    what: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A known fault of the engine that servers of these roles meet; without a serious one there is no plan."""

    roles: tuple[str, ...]
    account: str
    serious: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one page shows; ``fleet_text`` is the file of the fleet and ``plan_text`` the plan's.

    ``later`` are servers that are not started with the fleet, because they take turns; ``pins`` are what roles pin of
    the engine, by role.
    """

    title: str
    headline: str
    money: tuple[str, ...]
    glance: tuple[Answer, ...]
    servers: tuple[ServerPlan, ...]
    bars: tuple[GPUBar, ...]
    curves: tuple[Curves, ...]
    starts: tuple[Start, ...]
    later: tuple[str, ...]
    turns: str
    pins: tuple[tuple[str, str], ...]
    faults: tuple[Fault, ...]
    reasons: str
    sources: tuple[Source, ...]
    commands: tuple[str, ...]
    fleet_text: str
    plan_text: str


def view(plan: Plan, fleet: Fleet, catalog: Catalog, fleet_text: str, plan_text: str) -> View:
    """Return what the page of a plan shows; the plan must hold for the fleet, and the texts are their files."""
    facts = Recomputed(plan, as_planned(fleet, plan), catalog, load_profile(plan.engine_version))
    prices = [explain.price(plan.price)] if plan.price else []
    bars, own_curves, own_starts = gpu_bars(plan), curves(facts), starts(plan)
    begun = {one.server for one in own_starts}
    pins = {server.role: explain.settings(server.settings) for server in plan.servers if server.settings}
    return View(
        title=plan.fleet,
        headline=explain.headline(plan),
        money=(*prices, *(explain.money(plan.money).splitlines() if plan.money else [])),
        glance=tuple(glance(bars, own_curves, own_starts)),
        servers=plan.servers,
        bars=bars,
        curves=own_curves,
        starts=own_starts,
        later=tuple(server.name for server in plan.servers if server.name not in begun),
        turns=explain.turns(plan),
        pins=tuple(pins.items()),
        faults=tuple(_faults(plan)),
        reasons=explain.reasons(plan),
        sources=tuple(_sources(plan)),
        commands=tuple(_commands(plan)),
        fleet_text=fleet_text,
        plan_text=plan_text,
    )


def _faults(plan: Plan) -> Iterator[Fault]:
    roles: dict[KnownFault, dict[str, None]] = {}
    for server in plan.servers:
        for fault in server.known_faults:
            roles.setdefault(fault, {})[server.role] = None
    for fault, names in roles.items():
        yield Fault(roles=tuple(names), account=fault.account, serious=fault.serious)


def _commands(plan: Plan) -> Iterator[str]:
    """Yield what is typed beside the fleet file, in the order in which it is needed."""
    folders = [f"{HOME}/{slug(node)}" for node in node_names(plan)] if many(plan) else [HOME]
    yield "planner verify"
    for folder in folders:
        yield f"bash {shlex.quote(f'{folder}/launch.sh')} check"
        yield f"bash {shlex.quote(f'{folder}/launch.sh')} up"
    yield "planner explain"


def _sources(plan: Plan) -> Iterator[Source]:
    for server in plan.servers:
        accuracy = server.accuracy
        pinned = "a folder" if server.local else f"commit {server.revision}" if server.revision else "no commit"
        weights = f"{server.ledger.weights_bytes:,} bytes"
        yield Source(what=f"{server.name}: weights", value=weights, source=f"{server.repository}, {pinned}")
        if accuracy.score is not None:
            yield Source(
                what=f"{server.name}: score", value=f"{accuracy.score / 100:.2f}", source=accuracy.score_source
            )
        if accuracy.recovery_median is not None:
            kept = f"{accuracy.recovery_median / 100:.2f} %, {accuracy.label}"
            yield Source(what=f"{server.name}: recovery", value=kept, source=accuracy.source)
        if server.speed and server.speed.grade:
            yield Source(what=f"{server.name}: speed", value=server.speed.grade, source="docs/speed.md")
    if plan.price:
        paid = f"{plan.price.per_hour} {plan.price.currency} an hour"
        yield Source(what="price", value=paid, source=f"{plan.price.basis} {plan.price.date}".strip())
    proof, lock = plan.proof, plan.lock
    for stage in proof.stages:
        yield Source(what=f"proof: {stage.name}", value=str(stage.value), source=f"no plan exceeds {stage.bound}")
    yield Source(what="solver", value=f"{proof.solver} {proof.solver_version}", source=f"model {proof.model_sha256}")
    for what in ("fleet_sha256", "catalog_sha256", "engine_profile_sha256", "speed_sha256"):
        yield Source(what=what, value=getattr(lock, what), source=f"planner {lock.planner_version}")
