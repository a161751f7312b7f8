"""Prune: options of a role that others beat whatever the plan is, so that they need not be sized, or not be kept.

An option is beaten when another with as many servers in the same pool and as many pipeline stages is split over no more
GPUs, takes no more of each, and is worth as much to the objective, or more: ``planner.search.pieces`` says why no best
plan needs it. Because a plan without one variant is asked for too, it takes two other variants to beat an option, or
another option of its own. What is as large and worth as much is left to ``pieces``, which keeps the first of them.
"""

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import le
from typing import NamedTuple

from msgspec import Struct, field

from planner.memory.demand import Demand
from planner.options.option import Option
from planner.options.worth import Worth
from planner.units import ceil_div

Layout = tuple[int, int, int, int]
"""What decides, beside the width, where servers may be: pool, servers, stages, nodes."""

Likeness = tuple[str, str, int]
"""What servers of one role in several pools must have alike or are told apart by: variant, KV cache dtype, context."""

Loss = tuple[int, ...]
Losses = Callable[[Worth], Callable[[int], Loss]]
"""What a worth loses with so many sequences."""


class Shape(NamedTuple):
    """What of an option decides which others may beat it, beside its size and worth: they need no more of anything."""

    layout: Layout
    needs: tuple[int, ...]
    variant: str
    kv_cache_dtype: str = "auto"


class _Point(NamedTuple):
    """In this order the first of some points beats the others that are no smaller."""

    loss: Loss
    size: int
    variant: str


class Front:
    """The points of options sized so far that others have to beat.

    ``loss`` says what a worth with so many sequences loses, stage after stage of the objective; ``in_all`` that all of
    it must be as good for one to beat another, because the order of the stages is not settled. Options of a role
    ``across`` pools are beaten in all of it, and by options alike: what one has less of, servers elsewhere may not have
    more of.
    """

    def __init__(self, loss: Losses, *, in_all: bool, across: bool = False) -> None:
        self.loss = loss
        self._across = across
        self._new = _Pile if in_all or across else _Stair
        self._known: dict[tuple[Layout, Likeness | None], dict[tuple[int, ...], _Pile | _Stair]] = {}

    def add(self, option: Option) -> None:
        """Take in an option with some of the numbers of sequences it may have."""
        likeness = option.likeness if self._across else None
        known = self._known.setdefault((option.layout, likeness), {}).setdefault(option.needs, self._new())
        loss, size, variant = self.loss(option.worth), option.demand.footprint, option.variant.repository
        for first, last in spans(option.sequences_min, option.sequences_max):
            for count in {first, last}:
                known.add(_Point(loss(count), size(count), variant))

    def beats(
        self, shape: Shape, worth: Worth, least: int, most: int, size: Callable[[int], int], length: int = 0
    ) -> bool:
        """Whether all is beaten that is worth no more, and takes no less than ``size`` says, with so many sequences.

        All have the context ``length``; 0 stands for any.
        """
        likeness = (shape.variant, shape.kv_cache_dtype, length) if self._across else None
        there = self._known.get((shape.layout, likeness), {}).items()
        known = [found for needs, found in there if all(map(le, needs, shape.needs))]
        if not known:
            return False
        loss = self.loss(worth)
        if loss(least) == loss(most):  # the smallest of them is beaten last
            return _beaten(_Point(loss(most), size(least), shape.variant), known)
        for first, last in reversed(spans(least, most)):
            point = _Point(loss(last), size(first), shape.variant)
            if not _beaten(point, known):
                return False
        return True


def _beaten(point: _Point, known: Sequence["_Pile | _Stair"]) -> bool:
    variants: set[str] = set()
    for found in known:
        variants |= found.beating(point)
        if point.variant in variants or len(variants) >= _ENOUGH:
            return True
    return False


_ENOUGH = 2


class _Pile(Struct):
    """Points that beat others which lose no less of anything."""

    points: list[_Point] = field(default_factory=list)

    def add(self, point: _Point) -> None:
        """Take in a point unless it is beaten."""
        beating = self.beating(point)
        if point.variant not in beating and len(beating) < _ENOUGH:
            self.points.append(point)

    def beating(self, point: _Point) -> set[str]:
        """Return variants with a point that beats this one: its own, or two others, where there are any."""
        found: set[str] = set()
        for other in self.points:
            if (
                other.size <= point.size
                and all(map(le, other.loss, point.loss))
                and (other.loss, other.size) != (point.loss, point.size)
            ):
                found.add(other.variant)
                if other.variant == point.variant or len(found) == _ENOUGH:
                    break
        return found


class _Stair(Struct):
    """For sizes in their order, the point up to there that loses least, and the least of any other variant."""

    sizes: list[int] = field(default_factory=list)
    steps: list[tuple[_Point, ...]] = field(default_factory=list)

    def add(self, point: _Point) -> None:
        """Take in a point where it is among the best two up to its size, and drop the steps it makes the same."""
        place = bisect_right(self.sizes, point.size)
        before = self.steps[place - 1] if place else ()
        if (len(before) == _ENOUGH and before[-1] <= point) or _best(before, point) == before:
            return
        first = bisect_left(self.sizes, point.size)
        sizes, steps = [point.size], [_best(before, point)]
        while place < len(self.steps):
            better = _best(self.steps[place], point)
            if better == self.steps[place]:  # no better further on either, where there are more points
                break
            if better != steps[-1]:
                sizes.append(self.sizes[place])
                steps.append(better)
            place += 1
        self.sizes[first:place], self.steps[first:place] = sizes, steps

    def beating(self, point: _Point) -> set[str]:
        """Return variants with a point that beats this one, two of them where there are any."""
        place = bisect_right(self.sizes, point.size)
        return {other.variant for other in self.steps[place - 1] if other[:2] < point[:2]} if place else set()


def _best(step: tuple[_Point, ...], point: _Point) -> tuple[_Point, ...]:
    """Return the best two points of different variants, one of which may be new."""
    for place, other in enumerate(step):
        if point < other:
            rest = tuple(later for later in step[place:] if later.variant != point.variant)
            return (*step[:place], point, *rest)[:_ENOUGH]
        if other.variant == point.variant:
            return step
    return (*step, point)[:_ENOUGH]


@functools.cache
def spans(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """Return numbers of sequences from the least to the most in groups, each by its first and its last.

    Groups grow with the numbers, so that there are tens of them whatever the most is.
    """
    found = []
    while least <= most:
        last = min(most, max(least, least * 5 // 4))
        found.append((least, last))
        least = last + 1
    return tuple(found)


def never_larger(one: Demand, other: Demand, first: int, last: int) -> bool:
    """Whether one footprint is at most the other for all sequences from ``first`` to ``last``.

    Both are piecewise linear, so their difference is linear between the corners and largest at an end of a piece.
    """
    corners = {first, last}
    for demand in (one, other):
        for corner in _corners(demand):
            corners.update(value for value in (corner - 1, corner) if first < value < last)
    return all(one.footprint(count) <= other.footprint(count) for count in corners)


def _corners(demand: Demand) -> tuple[int, ...]:
    """Return the first number of sequences beyond each of the two floors."""
    found = []
    if demand.kv_bytes_per_sequence:
        found.append(ceil_div(demand.kv_floor_bytes, demand.kv_bytes_per_sequence))
    if demand.activation_bytes_per_sequence:
        above = max(0, demand.activation_floor_bytes - demand.activation_base_bytes)
        found.append(ceil_div(above, demand.activation_bytes_per_sequence))
    return tuple(found)
