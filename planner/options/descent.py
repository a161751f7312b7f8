"""Descent: the options of a role in the order of what is left of them after the prices, as far down as is enough.

Checkpoints, offers and boxes are taken apart only when nothing else may have more left, so that hardly anything is
sized that is not enough in the end.
"""

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from planner.options.gathering import Gathering
from planner.options.offers import Named, Offer
from planner.options.option import Option
from planner.options.prune import Front
from planner.options.reach import Reach
from planner.options.rungs import Box
from planner.options.sizing import Size
from planner.search.watch import go_on

_SIZED = 10
"""How many looks sizing an option takes as long as."""


class _Start(NamedTuple):
    """A checkpoint whose offers were not made yet."""

    named: Named


class _Part(NamedTuple):
    """A box of an offer; ``sized`` says that the size of its smallest option counts, ``option`` is its only one."""

    box: Box
    offer: Offer
    sized: bool = False
    option: Option | None = None


_Waiting: TypeAlias = tuple[int, int, _Start | _Part]


class Descent:
    """What is left to look at of a role, the most that may be left of anything first; ``looks`` are those taken."""

    def __init__(self, gathering: Gathering, reach: Reach) -> None:
        self._gathering, self._reach = gathering, reach
        self._role = gathering.offers.role
        self._number = itertools.count()
        self._waiting: list[_Waiting] = []
        self.looks = 0
        for named in gathering.named:
            self._push(reach.most(gathering.offers, named), _Start(named))

    def most(self) -> int | None:
        """Return the most that is left of any option; None where none fits."""
        while self._waiting:
            left, _, part = self._waiting[0]
            if isinstance(part, _Part) and part.option:
                return -left
            self._apart(heapq.heappop(self._waiting)[-1], None)
        return None

    def options(self, least: int, front: Front, looks: int) -> Iterator[Option]:
        """Yield the options of which so much is left and that no others beat, until so many looks were taken."""
        while self.missed(least) is not None and self.looks < looks:
            part = heapq.heappop(self._waiting)[-1]
            if not isinstance(part, _Part) or part.option is None:
                self._apart(part, front)
            elif not part.box.beaten(front, part.option.demand.footprint):
                front.add(part.option)
                yield part.option

    def missed(self, least: int) -> int | None:
        """Return the most that is left of what was not looked at yet; None where it is not so much."""
        return -self._waiting[0][0] if self._waiting and -self._waiting[0][0] >= least else None

    def _push(self, left: int | None, part: _Start | _Part) -> None:
        if left is not None:
            heapq.heappush(self._waiting, (-left, next(self._number), part))

    def _wait(self, offer: Offer, box: Box, size: Size, *, sized: bool = False, option: Option | None = None) -> None:
        self._push(self._reach.left(self._role, box, size), _Part(box, offer, sized, option))

    def _apart(self, part: _Start | _Part, front: Front | None) -> None:
        """Put what a part consists of in its place, unless a front beats it."""
        go_on()
        boxes = self._gathering.boxes
        if isinstance(part, _Start):
            for offer in self._gathering.add(part.named):
                for box in boxes.of(offer):
                    self.looks += 1
                    self._wait(offer, box, box.size)
            return
        box, offer = part.box, part.offer
        if front and box.beaten(front):
            return
        if box.batch:
            self.looks += _SIZED
            option = box.rungs.rung(box)
            if option:
                self._wait(offer, box, option.demand.footprint, option=option)
        elif box.length or part.sized:
            for smaller in box.rungs.by_rung(box) if box.length else box.rungs.by_context(box):
                self.looks += 1 if box.length else _SIZED
                self._wait(offer, smaller, smaller.size)
        elif lowest := boxes.least(offer):
            self._wait(offer, box, lowest.footprint, sized=True)
