"""Points: candidates with their sequences settled, and of these only what an optimum can need.

A point is a candidate with so many sequences; it takes the same bytes wherever it goes. Point ``o`` is beaten by ``k``
of the same role when both have as many servers in the same pool, with as many pipeline stages, ``k`` is split over no
more GPUs and takes no more of each, and ``k`` is worth as much in every stage of the objective, or more in the first in
which they differ. Where a stage has a floor, both must be worth the same in it.

No optimum is lost: put ``k`` in the place of ``o``, on a part of the same GPUs. Memory does not rise on any GPU, so the
plan still fits, and no GPU more is in use. Every stage is a sum over the roles, so the plan's stages change by what
``k`` and ``o`` differ in: the first that changes rises. Headroom does not fall. Of points equal in everything the first
in canonical order is kept. So the optimum that comes first in canonical order has no beaten point. Where a stage has a
floor, ``k`` must be worth as much as ``o`` in it too, for the plan to keep to the floor; and ``k`` and ``o`` must both
be barred or both not.

When the models of a whole catalog may serve a role, that leaves tens of its thousands of points.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import le
from typing import NamedTuple

from planner.search.problem import COST, Answer, Candidate, Choice, Problem


@dataclass(frozen=True, slots=True)
class Points:
    """A problem whose candidates are points, and for every role the candidate and the sequences of each point."""

    problem: Problem
    origins: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def served(self) -> bool:
        """Whether every required role has a point, that is, whether it fits empty GPUs."""
        return all(role.candidates or role.optional for role in self.problem.roles)

    def original(self, answer: Answer) -> Answer:
        """Return an answer to this problem as one to the problem that the points were made from."""
        choices = zip(self.origins, answer.choices, strict=True)
        return replace(answer, choices=tuple(choice and _original(origins, choice) for origins, choice in choices))


class _Point(NamedTuple):
    """In the order of these fields a point comes after all that beat it; ``loss`` is the worth, negated."""

    size: int
    width: int
    loss: tuple[int, ...]
    candidate: int
    fewer: int


def points(problem: Problem) -> Points:
    """Return a problem with the same best plan in which every candidate is a point that no other one beats."""
    roles, origins = [], []
    held = tuple(stage for stage, _ in problem.floors)
    for position, role in enumerate(problem.roles):
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, candidate in enumerate(role.candidates):
            groups.setdefault((*candidate.layout, candidate.barred), []).append(index)
        kept = sorted(
            (point.candidate, point.fewer)
            for group in groups.values()
            for point in _unbeaten(_promising(_Sizes(problem, position), group, held), held)
        )
        found = [(index, -fewer) for index, fewer in kept]
        candidates = tuple(_settled(role.candidates[index], sequences) for index, sequences in found)
        roles.append(replace(role, candidates=candidates))
        origins.append(tuple(found))
    return Points(replace(problem, roles=tuple(roles)), tuple(origins))


class _Sizes:
    """What the candidates of one role are as points."""

    def __init__(self, problem: Problem, role: int) -> None:
        self._problem = problem
        self._names = problem.stages
        self._candidates = problem.roles[role].candidates
        self._alone = problem.alone(role)

    def points(self, index: int, *, ends: bool = False) -> Iterator[_Point]:
        """Yield the points of a candidate that fit an empty GPU, or the first and the last; alone it takes it whole."""
        candidate = self._candidates[index]
        capacity = self._problem.pools[candidate.pool].capacity
        worth = self._worth(candidate)
        first, last = candidate.least, candidate.most
        for sequences in sorted({first, last}) if ends else range(first, last + 1):
            size = candidate.footprint(sequences)
            if size > capacity:
                return
            loss = tuple([-constant - slope * sequences for constant, slope in worth])
            yield _Point(capacity if self._alone else size, candidate.width, loss, index, -sequences)

    def least_loss(self, index: int) -> tuple[int, ...]:
        """Return the least loss of a candidate: with the most sequences, which are never worth less than fewer."""
        candidate = self._candidates[index]
        return tuple([-constant - slope * candidate.most for constant, slope in self._worth(candidate)])

    def _worth(self, candidate: Candidate) -> list[tuple[int, int]]:
        return [(0, 0) if name == COST else pair for name, pair in zip(self._names, candidate.worth, strict=True)]


def _promising(sizes: _Sizes, group: Sequence[int], held: Sequence[int]) -> Iterator[_Point]:
    """Yield the points of candidates that are not beaten as a whole, by the first or last points of others."""
    ends = {index: list(sizes.points(index, ends=True)) for index in group}
    stairs: dict[int, tuple[list[int], list[tuple[int, ...]]]] = {}
    for point in _unbeaten((point for found in ends.values() for point in found), held):
        own, losses = stairs.setdefault(point.width, ([], []))
        own.append(point.size)
        losses.append(point.loss)
    for index in group:
        if not ends[index]:
            continue
        first, loss = ends[index][0], sizes.least_loss(index)
        if held or not any(_below(stairs[width], first.size, loss) for width in stairs if width <= first.width):
            yield from sizes.points(index)


def _below(stair: tuple[list[int], list[tuple[int, ...]]], size: int, loss: tuple[int, ...]) -> bool:
    """Whether a step is smaller and loses no more, or is no larger and loses less; steps lose less as they grow."""
    own, losses = stair
    step = bisect_right(own, size) - 1
    return step >= 0 and (losses[step] < loss or (losses[step] == loss and own[step] < size))


def _unbeaten(group: Iterable[_Point], held: Sequence[int]) -> Iterator[_Point]:
    """Yield the points that none of the same group beats; ``held`` are the stages with floors."""
    least: dict[tuple[int, ...], tuple[int, ...]] = {}
    for point in sorted(group):
        own = point.width, *(point.loss[stage] for stage in held)
        if not any(loss <= point.loss and all(map(le, other, own)) for other, loss in least.items()):
            least[own] = point.loss
            yield point


def _settled(candidate: Candidate, sequences: int) -> Candidate:
    """Return a candidate that has so many sequences and no choice of them."""
    return replace(
        candidate,
        fixed=candidate.footprint(sequences),
        per_sequence=0,
        kv_floor=0,
        kv_per_sequence=0,
        peak_floor=0,
        peak_base=0,
        peak_per_sequence=0,
        least=sequences,
        most=sequences,
        worth=tuple((candidate.value(stage, sequences), 0) for stage in range(len(candidate.worth))),
    )


def _original(origins: tuple[tuple[int, int], ...], choice: Choice) -> Choice:
    candidate, sequences = origins[choice.candidate]
    return replace(choice, candidate=candidate, sequences=sequences)
