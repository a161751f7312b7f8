"""Reach: what plans are worth at most with some options of a role, so that those that reach too little are not sized.

A plan that is known before all options are sized tells what a better one has to reach, and prices of memory tell what
each option takes off that: ``planner.search.bounds`` has the proof, for any prices. An option that reaches too little
is in no plan that is as good as the known one, so what is chosen in the end is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from planner.fleet import Role
from planner.options.limits import KV_CACHE_DTYPES
from planner.options.offers import Named, Offers, least_of_each
from planner.options.place import Place
from planner.options.problem import losses
from planner.options.prune import spans
from planner.options.rungs import Box
from planner.options.worth import SHARE, STEP, Worth
from planner.plain_data import as_dict
from planner.search.prices import SCALE, Prices
from planner.search.problem import COST
from planner.units import ceil_div


class Reach(Struct, frozen=True):
    """What is known of a plan: the weighted sum of its first stages, which are ``names``, and prices.

    ``alone`` are the roles that share their GPUs with nobody. ``least`` has for every role what an option must have
    left after the prices; it is empty until it is known what is left of the best options of all roles.
    """

    names: tuple[str, ...]
    value: int
    prices: Prices
    alone: frozenset[str]
    least: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, kept: Any) -> "Reach":  # noqa: ANN401 - plain JSON data
        """Return what was ``written``."""
        found = kept["prices"]
        prices = Prices(
            weights=tuple(found["weights"]),
            capacity=tuple(found["capacity"]),
            bytes=tuple(found["bytes"]),
            whole=tuple(found["whole"]),
            everything=found["everything"],
        )
        return cls(tuple(kept["names"]), kept["value"], prices, frozenset(kept["alone"]), kept["least"])

    def written(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        prices = {name: list(v) if isinstance(v, tuple) else v for name, v in as_dict(self.prices).items()}
        least = dict(self.least)
        return {
            "names": [*self.names],
            "value": self.value,
            "prices": prices,
            "alone": sorted(self.alone),
            "least": least,
        }

    def most(self, offers: Offers, named: Named, where: Sequence[Place]) -> int | None:
        """Return what is left at most of a checkpoint of which only accuracy and weights are known; None of none."""
        role, figures, best = offers.role, offers.figures, offers.best
        known = [
            figure
            for kv_cache_dtype in {*KV_CACHE_DTYPES, role.kv_cache_dtype or "auto"}
            if (figure := best.figure(figures.compared(*named, kv_cache_dtype, role.context_min))) is not None
        ]
        whole = max(known, default=0)
        share = best.share(whole) if known else 0
        worth = Worth(
            accuracy=share, accuracy_left=whole, context=STEP, batch=STEP, served_base=SHARE, served=0, score=SHARE
        )
        value = [-role.weight * part for part in losses(self.names)(worth)(0)]
        least = least_of_each(role, named, 1)
        there = (place for place in where if role.pools is None or place.name in role.pools)
        found = (self._beside(role, place, value, least) for place in there)
        return max((left for left in found if left is not None), default=None)

    def _beside(self, role: Role, place: Place, value: Sequence[int], least: int) -> int | None:
        """Return what is left at most of a value where each server takes at least so much of all its GPUs together.

        That is least on as few GPUs as they fit on, or on as few as others may use too.
        """
        capacity = place.capacity_bytes
        found = [
            self._on(role, place, gpus, value, least // gpus)
            for gpus in {max(1, ceil_div(least, capacity)), max(1, ceil_div(2 * least, capacity))}
            if gpus <= place.nodes.gpu_count
        ]
        return max((left for left in found if left is not None), default=None)

    def _on(self, role: Role, place: Place, gpus: int, value: Sequence[int], size: int) -> int | None:
        servers = role.replicas or 1
        alone = role.name in self.alone
        return self.prices.left(place.pool, gpus * servers, ((1, 1),), lambda _: value, lambda _: size, alone=alone)

    def left(self, role: Role, box: Box, size: Callable[[int], int]) -> int | None:
        """Return what is left, after the prices, of the options of a box that each take ``size``; None of none."""
        candidate, load, loss = box.rungs.candidate, box.rungs.load, losses(self.names)(box.worth)
        return self.prices.left(
            candidate.place.pool,
            candidate.width * candidate.blocks * load.replicas,
            spans(box.least, box.most),
            lambda count: [-role.weight * part for part in loss(count)],
            size,
            alone=role.name in self.alone,
        )

    def within(self, role: Role, left: int) -> int:
        """Return what the first stage of a plan can be at most with an option of which so much is left."""
        total = self.value + (left - self.least[role.name]) // SCALE
        later = self.prices.weights[0] - 1 if COST in self.names[1:] else 0  # all others are at least 0
        return (total + later) // self.prices.weights[0]

    def settled(self, roles: Sequence[Role], best: Sequence[int | None]) -> "Reach":
        """Return the same with what an option of each role must have left, given the most that any of it has left.

        None is for a role of which no option fits: there is no plan then, and every option counts.
        """
        found = [max(own or 0, 0) if role.optional else own for role, own in zip(roles, best, strict=True)]
        known = [own for own in found if own is not None]
        if len(known) < len(found):
            return self
        spare = sum(known) + self.prices.everything - self.value * SCALE
        least = {role.name: own - spare for role, own in zip(roles, known, strict=True)}
        return Reach(self.names, self.value, self.prices, self.alone, least)

    def nearer(self, roles: Sequence[Role], best: Sequence[int | None], parts: int) -> Mapping[str, int]:
        """Return what options must have left that reach no less than the best of their role by a part of what may be.

        ``best`` is what ``settled`` was given.
        """
        found = {}
        for role, own in zip(roles, best, strict=True):
            most = max(own or 0, 0) if role.optional or own is None else own
            found[role.name] = most - (most - self.least[role.name]) // parts
        return found

    def reaching(self, value: int) -> "Reach":
        """Return the same with another value."""
        more = (value - self.value) * SCALE
        least = {name: left + more for name, left in self.least.items()}
        return Reach(self.names, value, self.prices, self.alone, least)
