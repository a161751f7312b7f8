"""Sources: where every figure of the page comes from."""

from collections.abc import Iterator

from msgspec import Struct

from planner.explain.words import COSTS, stage_in_full
from planner.fleet import Fleet
from planner.plan import Plan, ServerPlan

_RULES = {
    "baseline, non-torch, graphs, margin": "memory profile of {engine}: docs/engine-profiles.md",
    "KV cache, context": "layers of the checkpoint's config, blocks of {engine}: docs/accuracy-of-estimates.md",
    "activation": "layers of the checkpoint's config, code of {engine}: docs/accuracy-of-estimates.md",
    "speed": "docs/speed.md",
    "start order": "time limits of the rendered files: docs/artifacts.md",
}
"""Figures that are counted -> what with, and where that is described."""


class Source(Struct, frozen=True, kw_only=True):
    """Where a figure comes from: what it is, its value, and who says so."""

    what: str
    value: str
    source: str


def sources(plan: Plan, fleet: Fleet) -> Iterator[Source]:
    """Yield the sources of a plan's figures; of replicas in one pool, which are alike, those of the first server."""
    told = (source for server in plan.unlike for source in _of_server(server))
    yield from dict.fromkeys(told)
    for gpu in {pool.gpu.name: pool.gpu for pool in fleet.pools}.values():
        yield Source(what=f"{gpu.name}: memory", value="", source="; ".join(gpu.sources) or "the catalog")
    known = "" if plan.engine_known else ", as of a neighbouring version"
    for what, source in _RULES.items():
        yield Source(what=what, value="", source=source.format(engine=f"{plan.engine} {plan.engine_version}{known}"))
    if plan.price:
        paid = f"{plan.price.per_hour} {plan.price.currency} an hour"
        yield Source(what="price", value=paid, source=f"{plan.price.basis} {plan.price.date}".strip())
    yield from _of_proof(plan)


def _of_server(server: ServerPlan) -> Iterator[Source]:
    pinned = "a folder" if server.local else f"commit {server.revision}" if server.revision else "no commit"
    weights = f"{server.ledger.weights_bytes:,} bytes"
    yield Source(what=f"{server.role}: weights", value=weights, source=f"{server.repository}, {pinned}")
    for name, accuracy in ((server.role, server.accuracy), *((one.name, one.accuracy) for one in server.shared)):
        if accuracy.score is not None:
            yield Source(what=f"{name}: score", value=f"{accuracy.score / 100:.2f}", source=accuracy.score_source)
        if accuracy.recovery_median is not None:
            kept = f"{accuracy.recovery_median / 100:.2f} %, {accuracy.label}"
            yield Source(what=f"{name}: recovery", value=kept, source=accuracy.source)
    if server.speed and server.speed.grade:
        yield Source(what=f"{server.role}: speed", value=server.speed.grade, source="docs/speed.md")


def _of_proof(plan: Plan) -> Iterator[Source]:
    proof, lock = plan.proof, plan.lock
    for stage in proof.stages:
        name = plan.title(stage.name)
        value, bound = (stage_in_full(name, amount) for amount in (stage.value, stage.bound))
        limit = f"no plan has less than {bound}" if name in COSTS else f"no plan exceeds {bound}"
        yield Source(what=f"proof: {name}", value=value, source=limit)
    yield Source(
        what="solver", value=f"{proof.solver} {proof.solver_version}", source=f"model {proof.model_sha256 or 'none'}"
    )
    for what in ("fleet_sha256", "catalog_sha256", "engine_profile_sha256", "speed_sha256"):
        yield Source(what=what, value=getattr(lock, what), source=f"planner {lock.planner_version}")
