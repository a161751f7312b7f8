"""The accuracy of one variant in one role: the catalog's figures, or the user's own where fleet.yaml gives them."""

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.facts import accuracy
from planner.facts.accuracy import Accuracy, Recovery, Score
from planner.facts.prior import assumed_points
from planner.facts.variant import Model, Variant
from planner.fleet import Figure, Role
from planner.options.candidates import allowed
from planner.options.worth import Measure, measure


class RoleFigures:
    """Accuracies of a role's candidates, all on one scale."""

    def __init__(self, role: Role, catalog: Catalog) -> None:
        self._task = role.task
        self._tables = catalog.accuracy
        self._scale = catalog.accuracy.scale_for(role.task, role.models)
        self._given = {figure.name: figure for figure in role.figures}
        self._points = assumed(role, self._scale)
        self._known: dict[tuple[str, str, int], Accuracy] = {}
        self._role = role
        self._parts = tuple(RoleFigures(part, catalog) for part in role.parts)

    def of(self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int) -> Accuracy:
        """Return the accuracy of a variant with this KV cache dtype and context."""
        if self._parts:
            return self._parts[0].of(model, variant, kv_cache_dtype, context_tokens)
        key = variant.repository, kv_cache_dtype, context_tokens
        if key not in self._known:
            self._known[key] = self._of(model, variant, kv_cache_dtype, context_tokens)
        return self._known[key]

    def compared(self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int) -> Accuracy:
        """Return the accuracy that variants are compared by: without the KV cache where nobody published its cost."""
        if kv_cache_dtype != "auto" and not kv_cache_dtype.startswith("fp8"):
            known = self._tables.cache_recovery(kv_cache_dtype, context_tokens) is not accuracy.UNKNOWN_RECOVERY
            kv_cache_dtype = kv_cache_dtype if known else "auto"
        found = self.of(model, variant, kv_cache_dtype, context_tokens)
        if not self._parts:
            return found
        shares = [part.share(model, variant, kv_cache_dtype, context_tokens) for part in self._parts]
        total = sum(part.weight for part in self._role.parts)
        known_shares = [share for share in shares if share is not None]
        if len(known_shares) < len(shares):
            return replace(found, score=None, recovery_median=None)
        mean = sum(part.weight * share for part, share in zip(self._role.parts, known_shares, strict=True)) // total
        return replace(found, score=mean)

    def share(self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int) -> int | None:
        """Return the share of the best candidate's figure that a variant has, in hundredths of a percent."""
        best = self.measure
        figure = best.figure(self.compared(model, variant, kv_cache_dtype, context_tokens))
        return None if figure is None else figure * accuracy.FULL // best.best

    @cached_property
    def measure(self) -> Measure:
        """How the variants that the role's pins leave are compared.

        Those of a server for several roles by the mean of the shares they have of each role's best, by weight.
        """
        if self._parts:
            return Measure(kind="score", best=accuracy.FULL)
        role = self._role
        return measure([self.of(model, variant, "auto", role.context_min) for model, variant in allowed(role)])

    def floors(
        self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int
    ) -> Iterator[tuple[Literal["recovery", "score"], int, int | None]]:
        """Yield every floor of the role, and of those its servers do too, with what the variant has at least."""
        for part in self._parts or (self,):
            found = part.of(model, variant, kv_cache_dtype, context_tokens)
            if part._role.recovery_floor is not None:
                yield "recovery", part._role.recovery_floor, found.recovery_floor
            if part._role.score_floor is not None:
                yield "score", part._role.score_floor, found.score_floor

    def others(
        self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int
    ) -> tuple[tuple[Role, Accuracy], ...]:
        """Return the further roles that its servers do, each with the accuracy of a variant at it."""
        found = (part.of(model, variant, kv_cache_dtype, context_tokens) for part in self._parts[1:])
        return tuple(zip(self._role.parts[1:], found, strict=True))

    def _of(self, model: Model, variant: Variant, kv_cache_dtype: str, context_tokens: int) -> Accuracy:
        published = self._tables.of(
            model,
            variant,
            self._task,
            scale=self._scale,
            kv_cache_dtype=kv_cache_dtype,
            context_tokens=context_tokens,
            points=self._points.get(model.repository),
        )
        own, base = self._given.get(variant.repository), self._given.get(model.repository)
        if own is None and base is None:
            return published
        cache = self._tables.cache_recovery(kv_cache_dtype, context_tokens)
        if own is not None and own.score is not None:
            whole = Recovery(median=accuracy.FULL, floor=accuracy.FULL, label="given", source=own.source)
            return accuracy.compose(self._scale, self._score(own), accuracy.combine(whole, cache))
        recovery = _recovery(published)
        if own is not None and own.recovery is not None:
            weights = Recovery(median=own.recovery, floor=own.recovery, label="given", source=own.source)
            recovery = accuracy.combine(weights, cache)
        score = self._score(base) if base is not None and base.score is not None else self._published_score(model)
        return accuracy.compose(self._scale, score, recovery)

    def _score(self, figure: Figure) -> Score:
        return Score(scale=self._scale, value=figure.score or 0, mode="", source=figure.source)

    def _published_score(self, model: Model) -> Score | None:
        return next((row for row in self._tables.scores(model) if row.scale == self._scale), None)


def assumed(role: Role, scale: str) -> dict[str, int]:
    """Return the points that several models are compared by which no ``scale`` compares, by repository.

    There are none where the fleet gives figures of its own, or where a candidate's size is not known.
    """
    several = len({model.base or model.repository for model in role.models}) > 1
    return assumed_points(role.models, role.task) if several and not scale and not role.figures else {}


def _recovery(published: Accuracy) -> Recovery:
    if published.recovery_median is None or published.recovery_floor is None:
        return accuracy.UNKNOWN_RECOVERY
    return Recovery(
        median=published.recovery_median,
        floor=published.recovery_floor,
        label=published.label,
        source=published.source,
    )
