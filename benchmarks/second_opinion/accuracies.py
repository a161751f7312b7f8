"""Accuracies: what the catalog says of a checkpoint in a role, or the fleet file in its place."""

from planner.catalog import Catalog
from planner.facts.accuracy import FULL, Accuracy, Recovery, Score, combine, compose
from planner.facts.variant import Model, Variant
from planner.fleet import Role


def accuracy_of(catalog: Catalog, role: Role, model: Model, variant: Variant, cache: str, context: int) -> Accuracy:
    """Return the accuracy of a checkpoint with this KV cache and context, on the scale of the role's models.

    A score that the file gives a checkpoint is that of its weights as they are; one that it gives a model is in the
    place of the published one, as a recovery is (docs/fleet.md, ``accuracy.figures``).
    """
    scale = catalog.accuracy.scale_for(role.task, role.models)
    tables = catalog.accuracy
    published = tables.of(model, variant, role.task, scale=scale, kv_cache_dtype=cache, context_tokens=context)
    given = {figure.name: figure for figure in role.figures}
    own, base = given.get(variant.repository), given.get(model.repository)
    if not own and not base:
        return published
    kept = tables.cache_recovery(cache, context)
    if own and own.score is not None:
        whole = Recovery(median=FULL, floor=FULL, label="given", source="")
        return compose(scale, Score(scale=scale, value=own.score, mode="", source=""), combine(whole, kept))
    if own and own.recovery is not None:
        weights = Recovery(median=own.recovery, floor=own.recovery, label="given", source="")
        recovery = combine(weights, kept)
    else:
        median, floor = published.recovery_median or 0, published.recovery_floor or 0
        recovery = Recovery(median=median, floor=floor, label=published.label, source="")
    scores = [row for row in tables.scores(model) if row.scale == scale]
    if base and base.score is not None:
        scores = [Score(scale=scale, value=base.score, mode="", source="")]
    return compose(scale, next(iter(scores), None), recovery)
