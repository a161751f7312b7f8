"""Sizing: the options of a role's offers, of which as few as possible are sized.

Options are looked at many together, as boxes, in the order of what the best of a box is worth. What is beaten already
with the least it may take (its weights, its lowest rung, the smallest option of a context) is not taken apart further.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from planner.memory.demand import Demand
from planner.options.offers import Offer
from planner.options.option import Option
from planner.options.prune import Front, Loss
from planner.options.rungs import Box
from planner.search.watch import go_on

Size = Callable[[int], int]


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


def best_first(boxes: Boxes, front: Front) -> Iterator[Option]:
    """Yield the options that fit and that no others beat."""
    waiting: list[tuple[Loss, int, int, Box, Offer]] = []
    number = itertools.count()

    def wait(offer: Offer, parts: Iterable[Box]) -> None:
        for box in parts:
            heapq.heappush(waiting, (front.loss(box.worth)(box.most), box.size(box.least), next(number), box, offer))

    for offer in boxes.offers:
        wait(offer, boxes.of(offer))
    while waiting:
        go_on()
        *_, box, offer = heapq.heappop(waiting)
        if box.beaten(front):
            continue
        if box.batch:
            option = box.rungs.rung(box)
            if option and not box.beaten(front, option.demand.footprint):
                front.add(option)
                yield option
        elif box.length:
            wait(offer, box.rungs.by_rung(box))
        else:
            lowest = boxes.least(offer)
            if lowest and not box.beaten(front, lowest.footprint):
                wait(offer, box.rungs.by_context(box))
