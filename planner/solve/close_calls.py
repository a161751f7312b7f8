"""Close calls: models that the scores of a role do not tell from the one that was chosen.

A score carries an error, and who leads by less than that leads by chance. Checkpoints of one model are not compared:
what quantization keeps of it is measured on the same questions, and errs less.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.facts.prior import ASSUMED, generation
from planner.facts.variant import Model
from planner.fleet import Fleet, Role
from planner.options import Prepared
from planner.options.candidates import allowed
from planner.options.figures import RoleFigures
from planner.options.option import RoleOptions
from planner.options.paces import Pacing
from planner.options.prepare import prepare_role
from planner.options.problem import stages
from planner.plan import CloseCall, Unsearched
from planner.search import watch
from planner.search.budget import BudgetSpent
from planner.solve.assemble import Decision, by_role, decisions
from planner.solve.engine_version import best
from planner.solve.nearby import as_planned, narrowed, with_role
from planner.solve.unsearched import open_keys
from planner.solve.whole import Solved


def close_calls(
    fleet: Fleet, catalog: Catalog, found: Solved, budget: int
) -> tuple[tuple[CloseCall, ...], tuple[Unsearched, ...]]:
    """Return for each role the best plan with another model that scores as much within the error, where there is one.

    All of the role's candidates are looked at. The other roles keep their checkpoints, with the options of those that
    the plan was chosen from. The second are the roles for which there was no time.
    """
    fleet = as_planned(fleet, found.plan)
    calls = [_call(fleet, catalog, found, decision, budget) for decision, *_ in by_role(found.decided)]
    return (
        tuple(call for call in calls if isinstance(call, CloseCall)),
        tuple(call for call in calls if isinstance(call, Unsearched)),
    )


def _call(
    fleet: Fleet, catalog: Catalog, found: Solved, decision: Decision, budget: int
) -> CloseCall | Unsearched | None:
    role, now = decision.role, decision.option.accuracy
    figures = RoleFigures(role, catalog)
    near = tuple(_near(catalog, figures, decision))
    if not near or now.score is None or watch.stopped():
        return None
    watch.task(f"close calls of {role.name}")
    unlooked = Unsearched(what="close calls", role=role.name, keys=tuple(open_keys(role)))
    other = replace(narrowed(role, near[0]), models=near, schemes=role.schemes)
    prepared = _prepared(fleet, catalog, found, other)
    if prepared is None:
        return unlooked
    try:
        answer = best(with_role(fleet, other), prepared, budget)
    except BudgetSpent:
        return None if watch.stopped() else unlooked
    others = [one for one in decisions(prepared, answer) if one.role.name == role.name] if answer else []
    if not others:
        return None
    option = others[0]
    then = figures.of(
        option.option.model, option.option.variant, option.option.kv_cache_dtype, option.option.max_model_len
    )
    error = catalog.accuracy.error(now.scale, now.score)
    if then.score is None or abs(now.score - then.score) >= error:
        return None
    return CloseCall(
        role=role.name,
        repository=option.option.variant.repository,
        scale=now.scale,
        lead=now.score - then.score,
        error=error,
        requests=sum(one.requests for one in others),
    )


def _prepared(fleet: Fleet, catalog: Catalog, found: Solved, other: Role) -> Prepared | None:
    """Return the options of a role in place of the one of its name, and those of the other roles' checkpoints.

    None where there was no time for all of the role's own.
    """
    own = {one.role.name: one.option.variant.repository for one in found.decided}
    pacing = Pacing.of(fleet.objective, catalog.speed, priced=fleet.priced)
    asked = prepare_role(other, found.prepared.places, catalog, stages(fleet.objective), pacing=pacing)
    if asked.cut:
        return None
    roles = (
        asked if one.role.name == other.name else _only(one, own.get(one.role.name)) for one in found.prepared.roles
    )
    return replace(found.prepared, roles=tuple(roles), missed=None)


def _only(found: RoleOptions, repository: str | None) -> RoleOptions:
    """Return the options of a role with one checkpoint; all of them where the plan leaves the role out."""
    kept = tuple(one for one in found.options if repository in (None, one.variant.repository))
    return replace(found, options=kept)


def _near(catalog: Catalog, figures: RoleFigures, decision: Decision) -> Iterator[Model]:
    """Yield other models, left with the checkpoints that score as much as the chosen one within the error."""
    role, now = decision.role, decision.option
    if now.accuracy.score is None or role.parts:
        return
    error = catalog.accuracy.error(now.accuracy.scale, now.accuracy.score)
    own = now.model.base or now.model.repository
    variants: dict[str, list[str]] = {}
    for model, variant in allowed(role):
        score = figures.of(model, variant, "auto", role.context_min).score
        alike = now.accuracy.scale == ASSUMED and generation(model) == generation(now.model)
        if (model.base or model.repository) != own and not alike and score and abs(now.accuracy.score - score) < error:
            variants.setdefault(model.repository, []).append(variant.repository)
    for model in role.models:
        kept = variants.get(model.repository, [])
        if kept:
            yield replace(model, variants=tuple(one for one in model.variants if one.repository in kept))
