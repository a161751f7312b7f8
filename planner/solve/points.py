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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import le
from typing import NamedTuple

from planner.solve.problem import COST, Answer, Candidate, Choice, Problem


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
        groups: dict[tuple[object, ...], list[_Point]] = {}
        for index, candidate in enumerate(role.candidates):
            groups.setdefault((*candidate.layout, candidate.barred), []).extend(
                _points(problem, position, index, candidate)
            )
        kept = sorted((point.candidate, point.fewer) for group in groups.values() for point in _unbeaten(group, held))
        found = [(index, -fewer) for index, fewer in kept]
        candidates = tuple(_settled(role.candidates[index], sequences) for index, sequences in found)
        roles.append(replace(role, candidates=candidates))
        origins.append(tuple(found))
    return Points(replace(problem, roles=tuple(roles)), tuple(origins))


def _points(problem: Problem, role: int, index: int, candidate: Candidate) -> Iterator[_Point]:
    """Yield the points of a candidate that fit an empty GPU; a role that shares with nobody takes its GPUs whole."""
    capacity = problem.pools[candidate.pool].capacity
    alone = problem.alone(role)
    worth = [(0, 0) if name == COST else pair for name, pair in zip(problem.stages, candidate.worth, strict=True)]
    for sequences in range(candidate.least, candidate.most + 1):
        size = candidate.footprint(sequences)
        if size > capacity:
            return
        loss = tuple([-constant - slope * sequences for constant, slope in worth])
        yield _Point(capacity if alone else size, candidate.width, loss, index, -sequences)


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
