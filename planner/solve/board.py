"""Board: the GPUs of a problem, what is left of each, and which servers are where."""

from collections.abc import Iterable
from functools import cache

from planner.solve.problem import Block, Candidate, Problem

Spot = tuple[int, int, int]
"""The number of a block's first GPU, the number after its last, and the number of its node."""


class Board:
    """Servers of roles on blocks of GPUs; a place is only given when memory, sharing and spreading allow it.

    GPUs have numbers: those of the first pool first, node by node.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._offsets = [0]
        for pool in problem.pools:
            self._offsets.append(self._offsets[-1] + pool.gpus)
        self.free = [pool.capacity for pool in problem.pools for _ in range(pool.gpus)]
        self.on: list[list[int]] = [[] for _ in self.free]
        self.spots: dict[int, list[Spot]] = {}
        self._sizes: dict[int, int] = {}
        self._strict = bool(problem.apart) or any(role.spread for role in problem.roles)
        self._all_spots = cache(self._list_spots)

    def put(self, role: int, candidate: Candidate, sequences: int, *, emptiest: bool = False) -> bool:
        """Place all servers of a role on the fullest blocks that take them, or the emptiest; all or none."""
        size = candidate.footprint(sequences)
        self._sizes[role] = size
        self.spots[role] = []
        for _ in range(candidate.blocks):
            fitting = [(self._rank(spot, emptiest=emptiest), spot) for spot in self.fitting(role, candidate, size)]
            if not fitting:
                self.remove(role)
                return False
            self.add(role, min(fitting)[1])
        return True

    def fitting(self, role: int, candidate: Candidate, size: int) -> Iterable[Spot]:
        """Yield the spots that take one more server of a role."""
        stacked = self.problem.roles[role].stacked
        for spot in self._all_spots(candidate.pool, candidate.width):
            first, last, _ = spot
            if min(self.free[first:last]) < size:
                continue
            if any(self.on[gpu].count(role) >= stacked for gpu in range(first, last)):
                continue
            if self._strict and not self._allowed(role, spot):
                continue
            yield spot

    def begin(self, role: int, size: int) -> None:
        """Say what each server of a role takes, before any is added."""
        self._sizes[role] = size
        self.spots[role] = []

    def add(self, role: int, spot: Spot) -> None:
        """Put one more server of a role on a spot."""
        for gpu in range(spot[0], spot[1]):
            self.free[gpu] -= self._sizes[role]
            self.on[gpu].append(role)
        self.spots[role].append(spot)

    def take_back(self, role: int, spot: Spot) -> None:
        """Take one server of a role off a spot."""
        for gpu in range(spot[0], spot[1]):
            self.free[gpu] += self._sizes[role]
            self.on[gpu].remove(role)
        self.spots[role].remove(spot)

    def remove(self, role: int) -> tuple[list[Spot], int] | None:
        """Take all servers of a role off, and return what ``restore`` needs to put them back; None if it has none."""
        if role not in self.spots:
            return None
        spots = list(self.spots[role])
        for spot in spots:
            self.take_back(role, spot)
        del self.spots[role]
        return spots, self._sizes.pop(role)

    def restore(self, role: int, before: tuple[list[Spot], int] | None) -> None:
        """Put back what ``remove`` took off."""
        if before:
            self.begin(role, before[1])
            for spot in before[0]:
                self.add(role, spot)

    def blocks(self, role: int) -> tuple[Block, ...]:
        """Return the blocks of a role's servers."""
        return tuple(sorted(self._block(spot) for spot in self.spots.get(role, [])))

    def used(self, pool: int) -> int:
        """Return how many GPUs of a pool have a server."""
        return sum(1 for gpu in range(self._offsets[pool], self._offsets[pool + 1]) if self.on[gpu])

    def likeness(self, spot: Spot) -> tuple[object, ...]:
        """Return what makes spots alike, so that only one of them need be tried."""
        gpus = range(spot[0], spot[1])
        there = tuple(sorted(role for role, spots in self.spots.items() if spot[2] in {other[2] for other in spots}))
        return tuple((self.free[gpu], tuple(sorted(self.on[gpu]))) for gpu in gpus), there if self._strict else ()

    def _rank(self, spot: Spot, *, emptiest: bool) -> tuple[int, int]:
        gpus = range(spot[0], spot[1])
        left = min(self.free[gpu] for gpu in gpus)
        return (max(len(self.on[gpu]) for gpu in gpus), -left) if emptiest else (left, 0)

    def _allowed(self, role: int, spot: Spot) -> bool:
        if self.problem.roles[role].spread and any(spot[2] == other[2] for other in self.spots.get(role, [])):
            return False
        apart = self.problem.apart
        return not any(
            (min(role, other), max(role, other)) in apart for gpu in range(spot[0], spot[1]) for other in self.on[gpu]
        )

    def _list_spots(self, pool: int, width: int) -> tuple[Spot, ...]:
        shape, offset = self.problem.pools[pool], self._offsets[pool]
        found = []
        for position, node in enumerate(shape.nodes):
            for first in range(0, shape.width - width + 1, width):
                start = offset + position * shape.width + first
                found.append((start, start + width, node))
        return tuple(found)

    def _block(self, spot: Spot) -> Block:
        pool = max(index for index in range(len(self.problem.pools)) if self._offsets[index] <= spot[0])
        position, first = divmod(spot[0] - self._offsets[pool], self.problem.pools[pool].width)
        return Block(pool, position, first, spot[1] - spot[0])
