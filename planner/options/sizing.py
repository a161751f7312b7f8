"""Sizing: the options of a role's offers, of which as few as possible are sized.

Options are looked at many together, as boxes, in the order of what the best of a box is worth. What is beaten already
with the least it may take (its weights, its lowest rung, the smallest option of a context) is not taken apart further.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from planner.memory.demand import Demand
from planner.options.looks import BOX, CONTEXT, FORECAST, LEAST, RUNG, Looks
from planner.options.offers import Offer
from planner.options.option import Option
from planner.options.prune import Front, Loss
from planner.options.rungs import Box

Size = Callable[[int], int]


class Boxes(Struct):
    """The options of some offers as boxes, and what was found out about the smallest of each offer."""

    offers: list[Offer] = field(default_factory=list)
    _least: dict[int, Demand | None] = field(default_factory=dict)

    def of(self, offer: Offer) -> Iterator[Box]:
        """Yield the boxes of an offer to begin with: one for each load, where it may fit empty GPUs."""
        if offer.least_bytes <= offer.candidate.place.capacity_bytes:
            yield from offer.boxes()

    def unknown(self, offer: Offer) -> bool:
        """Whether ``least`` has to be worked out."""
        return id(offer) not in self._least

    def least(self, offer: Offer) -> Demand | None:
        """Return what each option of an offer takes at least, or None where none fits empty GPUs."""
        if self.unknown(offer):
            self._least[id(offer)] = offer.least()
        return self._least[id(offer)]

    def fits(self, offer: Offer) -> bool:
        """Whether any option of an offer fits empty GPUs."""
        if self.least(offer) is None:
            return False
        capacity, length = offer.candidate.place.capacity_bytes, offer.rungs.role.context_min
        return any(rungs.least_at(length).footprint(rungs.load.least) <= capacity for rungs in offer.at_loads)


class BestFirst:
    """The options of some boxes that fit and that no others beat, those that lose least first, within some looks.

    ``cut`` says that there were no looks for all of them, ``missed`` what the rest loses at least; None where that is
    not known.
    """

    def __init__(self, boxes: Boxes, front: Front, looks: Looks) -> None:
        self._boxes, self._front, self._looks = boxes, front, looks
        self._waiting: list[tuple[Loss, int, int, Box, Offer]] = []
        self._number = itertools.count()
        self.cut = False
        self.missed: Loss | None = None

    def options(self) -> Iterator[Option]:
        """Yield the options."""
        for offer in sorted(self._boxes.offers, key=lambda offer: offer.least_bytes):
            if self._looks.spent:
                self.cut = True
                return
            known = len(offer.rungs.paces)
            self._wait(offer, self._boxes.of(offer))
            self._looks.take(FORECAST * (len(offer.rungs.paces) - known))
        while self._waiting and not self._looks.spent:
            *_, box, offer = heapq.heappop(self._waiting)
            if box.beaten(self._front):
                continue
            if box.batch:
                self._looks.take(RUNG)
                option = box.rungs.rung(box)
                if option and not box.beaten(self._front, option.demand.footprint):
                    self._front.add(option)
                    yield option
            elif box.length:
                self._wait(offer, box.rungs.by_rung(box))
            elif box.rungs.unsettled:
                self._wait(offer, box.rungs.by_load(box))
            else:
                self._apart(box, offer)
        if self._waiting:
            self.cut, self.missed = True, self._waiting[0][0]

    def _apart(self, box: Box, offer: Offer) -> None:
        self._looks.take(LEAST if self._boxes.unknown(offer) else BOX)
        lowest = self._boxes.least(offer)
        if lowest is None or lowest.footprint(box.least) > offer.candidate.place.capacity_bytes:
            return
        if not box.beaten(self._front, lowest.footprint):
            self._wait(offer, box.rungs.by_context(box), CONTEXT)

    def _wait(self, offer: Offer, parts: Iterable[Box], looks: int = BOX) -> None:
        for box in parts:
            self._looks.take(looks)
            loss = self._front.loss(box.worth)(box.most)
            heapq.heappush(self._waiting, (loss, box.size(box.least), next(self._number), box, offer))
