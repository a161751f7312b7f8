"""Descent: the options of a role in the order of what is left of them after the prices, as far down as is enough.

Checkpoints, offers and boxes are taken apart only when nothing else may have more left, so that hardly anything is
sized that is not enough in the end.
"""

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from planner.options.gathering import Gathering
from planner.options.looks import BOX, CONTEXT, LEAST, RUNG, Looks
from planner.options.offers import Named, Offer
from planner.options.option import Option
from planner.options.prune import Front
from planner.options.reach import Reach
from planner.options.rungs import Box
from planner.options.sizing import Size
from planner.search.budget import BudgetSpent


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
    """What is left to look at of a role, the most that may be left of anything first.

    ``looks`` are those taken, of ``all_looks`` that there are for all roles.
    """

    def __init__(self, gathering: Gathering, reach: Reach, all_looks: Looks) -> None:
        self._gathering, self._reach, self._all_looks = gathering, reach, all_looks
        self._role = gathering.offers.role
        self._number = itertools.count()
        self._waiting: list[_Waiting] = []
        self.looks = 0
        for named in gathering.named:
            self._push(reach.most(gathering.offers, named, gathering.where), _Start(named))

    def most(self) -> int | None:
        """Return the most that is left of any option; None where none fits.

        Raises:
            BudgetSpent: there were no looks left to tell.
        """
        while self._waiting:
            left, _, part = self._waiting[0]
            if isinstance(part, _Part) and part.option:
                return -left
            if self._all_looks.spent:
                raise BudgetSpent(0)
            self._next(None)
        return None

    def options(self, least: int, front: Front, looks: int) -> Iterator[tuple[int, Option]]:
        """Yield the options of which so much is left and that no others beat, until so many looks were taken.

        Each is with what is left of it.
        """
        while self.missed(least) is not None and self.looks < looks and not self._all_looks.spent:
            left, _, part = self._waiting[0]
            if not isinstance(part, _Part) or part.option is None:
                self._next(front)
                continue
            heapq.heappop(self._waiting)
            if not part.box.beaten(front, part.option.demand.footprint):
                front.add(part.option)
                yield -left, part.option

    def missed(self, least: int) -> int | None:
        """Return the most that is left of what was not looked at yet; None where it is not so much."""
        return -self._waiting[0][0] if self._waiting and -self._waiting[0][0] >= least else None

    def _push(self, left: int | None, part: _Start | _Part) -> None:
        if left is not None:
            heapq.heappush(self._waiting, (-left, next(self._number), part))

    def _wait(self, offer: Offer, box: Box, size: Size, *, sized: bool = False, option: Option | None = None) -> None:
        self._push(self._reach.left(self._role, box, size), _Part(box, offer, sized, option))

    def _next(self, front: Front | None) -> None:
        """Take the first of what waits apart, and count what that took."""
        left, _, part = heapq.heappop(self._waiting)
        before = self._all_looks.left
        self._apart(part, front)
        self.looks += before - self._all_looks.left
        if isinstance(part, _Start) and self._gathering.cut:
            self._push(-left, part)

    def _apart(self, part: _Start | _Part, front: Front | None) -> None:
        """Put what a part consists of in its place, unless a front beats it."""
        boxes, take = self._gathering.boxes, self._all_looks.take
        if isinstance(part, _Start):
            for offer in self._gathering.add(part.named):
                for box in boxes.of(offer):
                    take(BOX)
                    self._wait(offer, box, box.size)
            return
        box, offer = part.box, part.offer
        if front and box.beaten(front):
            return
        if box.batch:
            take(RUNG)
            option = box.rungs.rung(box)
            if option:
                self._wait(offer, box, option.demand.footprint, option=option)
        elif box.length or part.sized:
            for smaller in box.rungs.by_rung(box) if box.length else box.rungs.by_context(box):
                take(BOX if box.length else CONTEXT)
                self._wait(offer, smaller, smaller.size)
        else:
            take(LEAST)
            if lowest := boxes.least(offer):
                self._wait(offer, box, lowest.footprint, sized=True)
