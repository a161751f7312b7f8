"""Next best: the best plan with another combination of variants, and models that the scores do not tell apart.

Both are what docs/plan.md says of ``runner_up`` and ``close_calls``.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from benchmarks.second_opinion.accuracies import accuracy_of
from benchmarks.second_opinion.brute import Allowed, Brute
from benchmarks.second_opinion.ways import KEPT, Way
from planner.catalog import Catalog
from planner.facts.variant import Model, Variant
from planner.fleet import Fleet, Role
from planner.plan import CloseCall, Plan


def wrong_runner_up(plan: Plan, fleet: Fleet, catalog: Catalog, budget: int) -> Iterator[str]:
    """Say where brute force finds another next best than a plan has.

    Another combination lacks the chosen variant in one role at least. What may stay is what the plan itself has.
    """
    brute = Brute(fleet, catalog, plan, budget)
    chosen = {server.role: server.repository for server in plan.servers}
    others = [brute.best(without=_variant(*pair)) for pair in chosen.items()]
    best = max((tuple(found.values()) for found in others if found), default=None)
    right = dict(zip(brute.names, best, strict=True)) if best else None
    if right:
        right.pop(KEPT, None)
    found = {stage.name: stage.value for stage in plan.runner_up.stages} if plan.runner_up else None
    if plan.runner_up and not all(stage.proven for stage in plan.runner_up.stages):
        yield f"next best not proven: {found}, right {right}"
    elif found != right:
        yield f"next best {found}, right {right}"
    elif plan.runner_up and {(own.role, own.repository) for own in plan.runner_up.servers} >= set(chosen.items()):
        yield f"next best has the variants of the plan: {chosen}"


def _variant(role: str, repository: str) -> Allowed:
    return lambda name, way: name == role and way.repository == repository


def wrong_close_calls(plan: Plan, fleet: Fleet, catalog: Catalog, budget: int) -> Iterator[str]:
    """Say where another model is a close call than those that brute force finds, or is one with other figures."""
    calls = {call.role: call for call in plan.close_calls}
    for role in fleet.roles:
        if any(server.role == role.name for server in plan.servers):
            yield from _wrong_call(plan, role, calls.get(role.name), fleet, catalog, budget)


def _wrong_call(
    plan: Plan, role: Role, call: CloseCall | None, fleet: Fleet, catalog: Catalog, budget: int
) -> Iterator[str]:
    now = next(server for server in plan.servers if server.role == role.name)
    if now.accuracy.score is None:
        return
    error = catalog.accuracy.error(now.accuracy.scale, now.accuracy.score)
    near = replace(role, models=tuple(_near(role, now.repository, now.accuracy.score, error, catalog)), variant=None)
    if not near.models:
        if call:
            yield f"close call {call}, but no model of {role.name} is close"
        return
    changed = replace(fleet, roles=tuple(near if one.name == role.name else one for one in fleet.roles))
    brute = Brute(changed, catalog, None, budget)
    kept = {server.role: server.repository for server in plan.servers}

    def others(name: str, way: Way) -> bool:
        return name == role.name or name not in kept or way.repository == kept[name]

    def close(name: str, way: Way) -> bool:
        far = abs(way.figure - (now.accuracy.score or 0)) >= error
        return others(name, way) and not (name == role.name and far)

    def as_said(name: str, way: Way) -> bool:
        assert call
        own = way.repository, way.requests, (now.accuracy.score or 0) - way.figure
        return others(name, way) and (name != role.name or own == (call.repository, call.requests, call.lead))

    best = brute.best(only=others)
    if best is None:
        wrong = call is not None
    elif call:
        wrong = brute.best(only=as_said) != best
    else:
        wrong = brute.best(only=close, without=lambda name, way: name == role.name and not way.repository) == best
    if wrong:
        yield f"close call of {role.name}: {call}, right {best}"


def _near(role: Role, chosen: str, score: int, error: int, catalog: Catalog) -> Iterator[Model]:
    """Yield other models with the checkpoints that score as much within the error."""

    def close(model: Model, variant: Variant) -> bool:
        found = accuracy_of(catalog, role, model, variant, "auto", role.context_min).score
        return role.allows(variant) and found is not None and abs(found - score) < error

    own = next(one for one in role.models if any(variant.repository == chosen for variant in one.variants))
    for model in role.models:
        kept = tuple(variant for variant in model.variants if close(model, variant))
        if kept and (model.base or model.repository) != (own.base or own.repository):
            yield replace(model, variants=kept)
