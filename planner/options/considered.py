"""Considered: what explanations ask about a role beyond the options the search needs; sized when it is asked for."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Role
from planner.options.candidates import allowed, pinned_out
from planner.options.ladders import STAGES
from planner.options.layouts import layout_of, narrowed
from planner.options.looks import RUNG, Looks
from planner.options.offers import Named, Offer, Offers, least_of_each
from planner.options.option import Kept, Option, Rejection, canonical
from planner.options.paces import Pacing
from planner.options.pipeline_stages import Fewest
from planner.options.place import Place


class Considered:
    """Everything that the pins of a role leave, in every place, with ``avoid`` without known faults of the engine.

    ``pacing`` counts its speed.
    """

    def __init__(
        self,
        role: Role,
        where: Sequence[Place],
        catalog: Catalog,
        *,
        avoid: bool = False,
        pacing: Pacing | None = None,
    ) -> None:
        self._role = role
        self._where = where
        self._catalog = catalog
        self._avoid = avoid
        self._pacing = pacing

    @cached_property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why variants are out, sorted: of one that is an option somewhere, nothing about other places.

        A variant that fits no place is told once for each KV cache dtype, at the place where it comes closest.
        """
        refused = pinned_out(self._role)
        options: set[tuple[str, str]] = set()
        for found in every(self._offers, self._where):
            if isinstance(found, Rejection):
                refused.append(found)
            elif rejection := found.rungs.engine_refusal() or _too_large(found):
                refused.append(rejection)
            else:
                options.add((found.candidate.variant.repository, found.candidate.kv_cache_dtype))
        return tuple(_telling(refused, options))

    def smallest(self) -> tuple[Option, ...]:
        """Return the smallest option of every candidate and number of servers, fit or not; the most accurate first."""
        offers = (found for found in every(self._offers, self._where) if isinstance(found, Offer))
        lowest = (option for found in offers if not found.rungs.engine_refusal() for option in found.smallest())
        return tuple(sorted(lowest, key=canonical))

    def like(self, option: Option) -> tuple[Option, ...]:
        """Return all options of the same variant in the same places, and the first context that does not fit."""
        offers = self._alike(option, [(option.model, option.variant)])
        found = (other for offer in offers for other in offer.options(option.replicas))
        return tuple(sorted((other for other in found if other.layout == option.layout), key=canonical))

    def better(
        self, option: Option, room_bytes: int, kept: Callable[[Option], Kept], everything: Kept
    ) -> Option | None:
        """Return the more accurate option in the same places that fits a room and leaves the role most of what it has.

        That is what is ``kept`` of ``everything``, and after that accuracy. Where none fits it is the one that needs
        least more. Some are not looked at, where there are not looks enough for all.
        """
        looks, best = Looks.most(), None
        named = self._more_accurate(option)
        for most, one in sorted(named, key=lambda found: -found[0]):
            if best and best[0][0] == everything and best[0][1] > most:
                break
            if self._least_of_each(one, option) > room_bytes:
                continue
            for found in self._alike(option, [one]):
                if found.least_bytes > room_bytes or found.rungs.engine_refusal():
                    continue
                for other in _within(found, option, room_bytes, looks):
                    key = kept(other), other.worth.accuracy_left
                    if not best or key > best[0] or (key == best[0] and canonical(other) < canonical(best[1])):
                        best = key, other
        return best[1] if best else self._least(option, [one for _, one in named])

    def _least(self, option: Option, named: Sequence[Named]) -> Option | None:
        least: Option | None = None
        for bytes_of_each, one in sorted(
            ((self._least_of_each(one, option), one) for one in named), key=lambda pair: pair[0]
        ):
            if least and bytes_of_each > least.least_bytes:
                break
            for found in sorted(self._alike(option, [one]), key=lambda found: found.least_bytes):
                if least and found.least_bytes > least.least_bytes:
                    break
                if found.rungs.engine_refusal():
                    continue
                for other in (rungs.lowest() for rungs in found.with_servers(option.replicas)):
                    fits = other.layout == option.layout and _beats(other, option)
                    if fits and (not least or _size(other) < _size(least)):
                        least = other
        return least

    def _least_of_each(self, named: Named, option: Option) -> int:
        """Return what each GPU of a server like an option's has at least of a checkpoint; 0 where that is not known."""
        return least_of_each(self._role, named, option.server.flags.ranks)

    @cached_property
    def _offers(self) -> Offers:
        return Offers.of(self._role, self._catalog, avoid=self._avoid, pacing=self._pacing)

    def _alike(self, option: Option, named: Sequence[Named]) -> Iterator[Offer]:
        """Yield the offers of some variants whose servers may be where those of an option are."""
        place = next(place for place in self._where if place.pool == option.pool)
        pacing = self._pacing and replace(self._pacing, counted=False)
        offers = replace(self._offers, role=narrowed(self._role, layout_of(option.server.flags)), pacing=pacing)
        yield from (found for found in offers.at([place], named) if isinstance(found, Offer))

    def _more_accurate(self, option: Option) -> list[tuple[int, Named]]:
        """Return the variants that are more accurate than an option, with the figure of their most accurate option."""
        figures, best = self._offers.figures, self._offers.best
        found = []
        for model, variant in allowed(self._role):
            figure = best.figure(figures.compared(model, variant, "auto", self._role.context_min))
            if figure is not None and (best.share(figure), figure) > _accuracy(option):
                found.append((figure, (model, variant)))
        return found


def every(offers: Offers, where: Sequence[Place]) -> Iterator[Offer | Rejection]:
    """Yield all offers in all places, and why others are none.

    Where the role leaves the number of pipeline stages open, ``Fewest`` says how many are tried.
    """
    fewest = Fewest(allowed(offers.role))
    for stages in (None, *(STAGES if offers.role.pipeline_parallel_sizes is None else ())):
        for place, named in list(fewest.open_at(where, stages)):
            for found in offers.at([place], named, stages):
                yield found
                if isinstance(found, Offer):
                    fewest.bounded(found)
                    if found.least():
                        fewest.fits(place.pool, found.candidate.layout, found.candidate.nodes)


def _within(offer: Offer, option: Option, room_bytes: int, looks: Looks) -> Iterator[Option]:
    """Yield the options of an offer that are more accurate than another of as many servers, and fit a room."""
    for rungs in offer.with_servers(option.replicas):
        if looks.spent:
            return
        looks.take(RUNG)
        if rungs.lowest().least_bytes > room_bytes:
            continue
        for other in rungs.fitting():
            looks.take(RUNG)
            if other.layout == option.layout and other.least_bytes <= room_bytes and _beats(other, option):
                yield other


def _too_large(found: Offer) -> Rejection | None:
    lowest = min(option.least_bytes for option in found.smallest())
    capacity = found.candidate.place.capacity_bytes
    return found.candidate.rejected(found.rungs.role, "memory", lowest, capacity) if lowest > capacity else None


def _telling(refused: Sequence[Rejection], options: set[tuple[str, str]]) -> Iterator[Rejection]:
    closest: dict[tuple[str, str], Rejection] = {}
    for rejection in sorted(set(refused), key=lambda item: (item.reason == "memory", item.wanted - item.found, item)):
        key = rejection.repository, rejection.kv_cache_dtype
        if rejection.pool and key in options:
            continue
        closest.setdefault(key if rejection.pool else (rejection.repository, ""), rejection)
    yield from sorted(closest.values())


def _accuracy(option: Option) -> tuple[int, int]:
    return option.worth.accuracy, option.worth.accuracy_left


def _beats(other: Option, option: Option) -> bool:
    return _accuracy(other) > _accuracy(option)


def _size(option: Option) -> tuple[int, str]:
    return option.least_bytes, option.variant.repository
