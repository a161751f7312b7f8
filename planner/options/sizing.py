"""Sizing: the options of a role's offers, of which as few as possible are sized.

Options are looked at many together, as boxes, in the order of what the best of a box is worth. What is beaten already
with the least it may take (its weights, its lowest rung, the smallest option of a context), or reaches too little, is
not taken apart further.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from planner.memory.demand import Demand
from planner.options.offers import Offer
from planner.options.option import Option
from planner.options.prune import Front, Loss
from planner.options.rungs import Box
from planner.search.watch import go_on

Size = Callable[[int], int]


def anything(_: Box, __: Size) -> bool:
    """Say that every option is worthwhile."""
    return True


@dataclass(slots=True)
class Boxes:
    """The options of some offers as boxes, and what was found out about the smallest of each offer."""

    offers: list[Offer] = field(default_factory=list)
    _least: dict[int, Demand | None] = field(default_factory=dict)

    def of(self, offer: Offer) -> Iterator[Box]:
        """Yield the boxes of an offer to begin with: one for each load, where it may fit empty GPUs."""
        if offer.least_bytes <= offer.candidate.place.capacity_bytes:
            yield from offer.boxes()

    def least(self, offer: Offer) -> Demand | None:
        """Return what each option of an offer takes at least, or None where none fits empty GPUs."""
        if id(offer) not in self._least:
            self._least[id(offer)] = offer.least()
        return self._least[id(offer)]

    def fits(self, offer: Offer) -> bool:
        """Whether any option of an offer fits empty GPUs."""
        if self.least(offer) is None:
            return False
        capacity, length = offer.candidate.place.capacity_bytes, offer.rungs.role.context_min
        return any(rungs.least_at(length).footprint(rungs.load.least) <= capacity for rungs in offer.at_loads)


def best_first(boxes: Boxes, front: Front, worthwhile: Callable[[Box, Size], bool]) -> Iterator[Option]:
    """Yield the options that fit, that no others beat and that may be worthwhile."""
    waiting: list[tuple[Loss, int, int, Box, Offer]] = []
    number = itertools.count()

    def wait(offer: Offer, parts: Iterable[Box]) -> None:
        for box in parts:
            if worthwhile(box, box.size):
                heapq.heappush(
                    waiting, (front.loss(box.worth)(box.most), box.size(box.least), next(number), box, offer)
                )

    for offer in boxes.offers:
        wait(offer, boxes.of(offer))
    while waiting:
        go_on()
        *_, box, offer = heapq.heappop(waiting)
        if box.beaten(front):
            continue
        if box.batch:
            option = box.rungs.rung(box)
            if option and worthwhile(box, option.demand.footprint) and not box.beaten(front, option.demand.footprint):
                front.add(option)
                yield option
        elif box.length:
            wait(offer, box.rungs.by_rung(box))
        else:
            lowest = boxes.least(offer)
            if lowest and worthwhile(box, lowest.footprint) and not box.beaten(front, lowest.footprint):
                wait(offer, box.rungs.by_context(box))


def most_left(
    boxes: Boxes, starts: Iterable[tuple[int, Callable[[], Sequence[Offer]]]], left: Callable[[Box, Size], int | None]
) -> int | None:
    """Return the most that is left of any option, given what is left of the options of a box that take so much.

    ``starts`` are offers to be made only when as much may be left of them. None where no option fits. What may have
    most left is sized first, so that few are.
    """
    waiting: list[tuple[int, int, _Part | Callable[[], Sequence[Offer]]]] = []
    number = itertools.count()

    def wait(offer: Offer, box: Box, size: Size, *, sized: bool = False) -> None:
        found = left(box, size)
        if found is not None:
            heapq.heappush(waiting, (-found, next(number), _Part(box, offer, sized)))

    for most, make in starts:
        heapq.heappush(waiting, (-most, next(number), make))
    while waiting:
        go_on()
        found, _, part = heapq.heappop(waiting)
        if not isinstance(part, _Part):
            for offer in part():
                for box in boxes.of(offer):
                    wait(offer, box, box.size)
            continue
        box, offer = part.box, part.offer
        if box.batch and part.sized:
            return -found
        if box.batch:
            option = box.rungs.rung(box)
            if option:
                wait(offer, box, option.demand.footprint, sized=True)
        elif box.length or part.sized:
            for smaller in box.rungs.by_rung(box) if box.length else box.rungs.by_context(box):
                wait(offer, smaller, smaller.size)
        elif lowest := boxes.least(offer):
            wait(offer, box, lowest.footprint, sized=True)
    return None


class _Part(NamedTuple):
    """A box of an offer; ``sized`` says that the size of its smallest option was taken into account."""

    box: Box
    offer: Offer
    sized: bool
