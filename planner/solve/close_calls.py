"""Close calls: models that the scores of a role do not tell from the one that was chosen.

A score carries an error, and who leads by less than that leads by chance. Checkpoints of one model are not compared:
what quantization keeps of it is measured on the same questions, and errs less.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.facts.prior import ASSUMED, generation
from planner.facts.variant import Model
from planner.fleet import Fleet, Role
from planner.options.candidates import allowed
from planner.options.figures import RoleFigures
from planner.options.option import RoleOptions
from planner.options.paces import Pacing
from planner.options.prepare import prepare_checkpoint, prepare_role
from planner.options.problem import losses, stages
from planner.plan import CloseCall, Unsearched
from planner.search import watch
from planner.search.budget import BudgetSpent, purse
from planner.solve.assemble import Decision, by_role, decisions
from planner.solve.engine_version import best
from planner.solve.nearby import as_planned, with_role
from planner.solve.unsearched import open_keys
from planner.solve.whole import Solved


def close_calls(
    fleet: Fleet, catalog: Catalog, found: Solved, budget: int
) -> tuple[tuple[CloseCall, ...], tuple[Unsearched, ...]]:
    """Return for each role the best plan with another model that scores as much within the error, where there is one.

    All of the role's candidates are looked at. The other roles keep their checkpoints, and whatever else is best for
    them changes. The second are the roles for which there was no time.
    """
    fleet = as_planned(fleet, found.plan)
    kept: dict[str, RoleOptions] = {}
    calls = [_call(fleet, catalog, found, decision, kept, budget) for decision, *_ in by_role(found.decided)]
    return (
        tuple(call for call in calls if isinstance(call, CloseCall)),
        tuple(call for call in calls if isinstance(call, Unsearched)),
    )


def _call(
    fleet: Fleet, catalog: Catalog, found: Solved, decision: Decision, kept: dict[str, RoleOptions], budget: int
) -> CloseCall | Unsearched | None:
    role, now = decision.role, decision.option.accuracy
    if watch.stopped():
        return None
    figures = RoleFigures(role, catalog)
    near = tuple(_near(catalog, figures, decision))
    if not near or now.score is None:
        return None
    unlooked = Unsearched(what="close calls", role=role.name, keys=tuple(open_keys(role)))
    if purse().spent:
        return unlooked
    watch.task(f"close calls of {role.name}")
    other = replace(role, models=near)
    try:
        answered = _answered(fleet, catalog, found, other, kept, budget)
    except BudgetSpent:
        return None if watch.stopped() else unlooked
    others = [one for one in answered if one.role.name == role.name]
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


def _answered(
    fleet: Fleet, catalog: Catalog, found: Solved, other: Role, kept: dict[str, RoleOptions], budget: int
) -> tuple[Decision, ...]:
    """Return the best plan with a role in place of the one of its name; the others keep their checkpoints.

    Those of their options are enough that the plan was chosen from, unless somebody gets less than the plan has: others
    were beaten by other checkpoints alone. ``kept`` has all options of other roles' checkpoints that were found before.

    Raises:
        BudgetSpent: there was no time to look at all options, or to find a plan.
    """
    where, names = found.prepared.places, stages(fleet.objective)
    pacing = Pacing.of(fleet.objective, catalog.speed, priced=fleet.priced)
    asked = prepare_role(other, where, catalog, names, pacing=pacing)
    changed = with_role(fleet, other)

    def solved(others: Iterable[RoleOptions]) -> tuple[Decision, ...]:
        roles = tuple(asked if one.role.name == other.name else one for one in others)
        if any(one.cut for one in roles if one.role.name in own):
            raise BudgetSpent(budget)
        prepared = replace(found.prepared, roles=roles, missed=None)
        answer = best(changed, prepared, budget)
        return decisions(prepared, answer) if answer else ()

    own = {one.role.name: one.option.variant.repository for one in found.decided}
    quick = solved(_only(one, own.get(one.role.name)) for one in found.prepared.roles)
    if quick and not _less(quick, found.decided, other, names):
        return quick
    for one in found.prepared.roles:
        name = one.role.name
        if name in own and name != other.name and name not in kept:
            avoid = not one.faulty
            kept[name] = prepare_checkpoint(one.role, where, catalog, names, own[name], avoid=avoid, pacing=pacing)
    return solved(kept.get(one.role.name, one) for one in found.prepared.roles)


def _only(found: RoleOptions, repository: str | None) -> RoleOptions:
    """Return the options of a role with one checkpoint; all of them where the plan leaves the role out."""
    kept = tuple(one for one in found.options if repository in (None, one.variant.repository))
    return replace(found, options=kept, cut=False)


def _less(quick: Sequence[Decision], before: Sequence[Decision], asked: Role, names: tuple[str, ...]) -> bool:
    """Whether a role has less than before, or the asked one less than its target."""
    loss = losses(names)

    def lost(decided: Sequence[Decision]) -> dict[tuple[str, int], tuple[int, ...]]:
        return {(one.role.name, one.option.pool): loss(one.option.worth)(one.sequences) for one in decided}

    served = sum(one.requests for one in quick if one.role.name == asked.name)
    now, then = lost(quick), lost(before)
    return served < asked.concurrency_target or any(
        key[0] != asked.name and (key not in now or now[key] > value) for key, value in then.items()
    )


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
