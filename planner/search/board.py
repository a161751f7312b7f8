"""Board: the GPUs of a problem, what is left of each, and which servers are where."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.search.problem import Block, Candidate, Problem, by_server
from planner.search.turns import charge

Spot = tuple[int, int, int]
"""The number of a block's first GPU, the number after its last, and the number of its node."""


class _Before(NamedTuple):
    """The spots of a role, what it takes of each of their GPUs, and the stages of its servers."""

    spots: list[Spot]
    size: int
    stages: int
    asleep: int
    host: int


class Board:
    """Servers of roles on blocks of GPUs; a place is only given when memory, sharing and spreading allow it.

    GPUs have numbers: those of the first pool first, node by node. ``spots`` are those of each role, server by server;
    a server of several stages has one for each. ``on`` counts the servers of each role on a GPU.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._offsets = [0]
        for pool in problem.pools:
            self._offsets.append(self._offsets[-1] + pool.gpus)
        self.free = [pool.capacity for pool in problem.pools for _ in range(pool.gpus)]
        self.on: list[dict[int, int]] = [{} for _ in self.free]
        self._left = np.array(self.free, dtype=np.int64)
        self._servers = np.zeros(len(self.free), dtype=np.int64)
        self.spots: dict[int, list[Spot]] = {}
        self._sizes: dict[int, int] = {}
        self._stages: dict[int, int] = {}
        self._asleep: dict[int, int] = {}
        self._host: dict[int, int] = {}
        self._turning = problem.turning
        staged = any(candidate.stages > 1 for role in problem.roles for candidate in role.candidates)
        self._strict = bool(problem.apart) or staged or any(role.spread for role in problem.roles)
        self._apart: list[set[int]] = [set() for _ in problem.roles]
        for one, other in problem.apart:
            self._apart[one].add(other)
            self._apart[other].add(one)
        self._all_spots = cache(self._list_spots)

    def put(
        self,
        role: int,
        candidate: Candidate,
        sequences: int,
        *,
        emptiest: bool = False,
        wanted: Sequence[Block] = (),
    ) -> bool:
        """Place all servers of a role on the fullest blocks that take them, or the emptiest; all or none.

        Servers go to the blocks that are ``wanted`` first, as far as these take them. Those that the role has already
        are some of them.
        """
        size = candidate.footprint(sequences)
        if role not in self.spots:
            self.keep(role, candidate, sequences, wanted)
        if self.problem.host is not None and sum(self._host.values()) > self.problem.host:
            self.remove(role)
            return False
        if candidate.stages == 1 and not (self.spots[role] or role in self._turning):
            return self._put_many(role, candidate, size, emptiest=emptiest)
        for _ in range(len(self.spots[role]), candidate.blocks * candidate.stages):
            fitting = list(self.fitting(role, candidate, size))
            if not fitting:
                self.remove(role)
                return False
            self.add(role, min(fitting, key=lambda spot: (self._rank(spot, emptiest=emptiest), spot)))
        return True

    def keep(self, role: int, candidate: Candidate, sequences: int, wanted: Sequence[Block]) -> None:
        """Begin a role, and put its servers on the blocks that are wanted for them, those that fit there."""
        size = candidate.footprint(sequences)
        self.begin(role, size, candidate)
        for server in by_server(wanted, candidate.stages):
            if len(self.spots[role]) == candidate.blocks * candidate.stages:
                return
            for place, block in enumerate(server):
                spot = self._spot(block)
                if not self._fits(role, size, spot) or (place and spot not in self._next_stage(role, candidate, size)):
                    for before in reversed(server[:place]):
                        self.take_back(role, self._spot(before))
                    break
                self.add(role, spot)

    def _put_many(self, role: int, candidate: Candidate, size: int, *, emptiest: bool) -> bool:
        """Place all servers of a role that has none yet, each in the same place as one after another.

        A server changes nothing for the others but on its own GPUs, or, where they are spread, its own node.
        """
        stacked = self.problem.roles[role].stacked
        spots = self._ranked(candidate, size, stacked, emptiest=emptiest)
        missing = candidate.blocks if spots else -1
        while missing > 0 and spots:
            _, spot = heapq.heappop(spots)
            if self._strict and not self._allowed(role, spot):
                continue
            self.add(role, spot)
            missing -= 1
            gpus = range(spot[0], spot[1])
            if stacked > 1 and all(self.free[gpu] >= size and self._count(role, gpu) < stacked for gpu in gpus):
                heapq.heappush(spots, (self._rank(spot, emptiest=emptiest), spot))
        if missing:
            self.remove(role)
        return not missing

    def _ranked(
        self, candidate: Candidate, size: int, stacked: int, *, emptiest: bool
    ) -> list[tuple[tuple[int, int], Spot]]:
        """Return the spots with so much room, with their ranks, the best first; no more than may be needed.

        There are none where all of them together have not room enough.
        """
        shape, first = self.problem.pools[candidate.pool], self._offsets[candidate.pool]
        width, end = candidate.width, first + shape.gpus
        used = shape.width // width * width

        def grouped(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return values[first:end].reshape(-1, shape.width)[:, :used].reshape(-1, width)

        left = grouped(self._left).min(axis=1)
        there = np.flatnonzero(left >= size)
        if np.minimum(left[there] // max(size, 1), stacked).sum() < candidate.blocks:
            return []
        most = grouped(self._servers).max(axis=1)[there] if emptiest else left[there]
        least = -left[there] if emptiest else np.zeros_like(there)
        order = np.lexsort((there, least, most))
        if stacked == 1 and not self._strict:
            order = order[: candidate.blocks]
        spots = self._all_spots(candidate.pool, width)
        found = zip(most[order].tolist(), least[order].tolist(), there[order].tolist(), strict=True)
        return [((one, other), spots[number]) for one, other, number in found]

    def fitting(self, role: int, candidate: Candidate, size: int) -> Iterable[Spot]:
        """Yield the spots that take one more server of a role, or the next stage of a server that lacks some."""
        return (spot for spot in self._next_stage(role, candidate, size) if self._fits(role, size, spot))

    def _fits(self, role: int, size: int, spot: Spot) -> bool:
        """Whether a spot takes one more server of a role, or one more stage, that takes so much of each GPU."""
        stacked = self.problem.roles[role].stacked
        first, last, _ = spot
        return (
            all(self._takes(role, gpu, size) for gpu in range(first, last))
            and all(self._count(role, gpu) < stacked for gpu in range(first, last))
            and not (self._strict and not self._allowed(role, spot))
        )

    def count(self, candidate: Candidate) -> int:
        """Return how many spots there are for a server of a candidate, free or not."""
        return len(self._all_spots(candidate.pool, candidate.width))

    def begin(self, role: int, size: int, candidate: Candidate) -> None:
        """Say what each server of a role takes of its GPUs and which candidate it is, before any is added."""
        self._begin(role, _Before([], size, candidate.stages, candidate.asleep, candidate.host))

    def _begin(self, role: int, before: _Before) -> None:
        self._sizes[role] = before.size
        self._stages[role] = before.stages
        self._asleep[role] = before.asleep
        self._host[role] = before.host
        self.spots[role] = []

    def add(self, role: int, spot: Spot) -> None:
        """Put one more server of a role, or one more stage of it, on a spot."""
        for gpu in range(spot[0], spot[1]):
            self.free[gpu] -= self._grows(role, gpu)
            self.on[gpu][role] = self._count(role, gpu) + 1
            self._note(gpu, 1)
        self.spots[role].append(spot)

    def take_back(self, role: int, spot: Spot) -> None:
        """Take the server, or the stage, that was put on a spot last off it."""
        self._take_off(role, spot)
        spots = self.spots[role]
        del spots[len(spots) - 1 - spots[::-1].index(spot)]

    def _take_off(self, role: int, spot: Spot) -> None:
        for gpu in range(spot[0], spot[1]):
            if self.on[gpu][role] == 1:
                del self.on[gpu][role]
            else:
                self.on[gpu][role] -= 1
            self.free[gpu] += self._grows(role, gpu)
            self._note(gpu, -1)

    def _note(self, gpu: int, more: int) -> None:
        """Keep the arrays like the lists, after a server more, or one less, was put there."""
        self._left[gpu] = self.free[gpu]
        self._servers[gpu] += more

    def _count(self, role: int, gpu: int) -> int:
        """Return how many servers of a role are on a GPU."""
        return self.on[gpu].get(role, 0)

    def remove(self, role: int) -> _Before | None:
        """Take all servers of a role off, and return what ``restore`` needs to put them back; None if it has none."""
        if role not in self.spots:
            return None
        spots = self.spots.pop(role)
        for spot in spots:
            self._take_off(role, spot)
        asleep, host = self._asleep.pop(role), self._host.pop(role)
        return _Before(spots, self._sizes.pop(role), self._stages.pop(role), asleep, host)

    def restore(self, role: int, before: _Before | None) -> None:
        """Put back what ``remove`` took off."""
        if before:
            self._begin(role, before)
            for spot in before.spots:
                self.add(role, spot)

    def blocks(self, role: int) -> tuple[Block, ...]:
        """Return the blocks of a role's servers, those of a server's stages one after another."""
        found, stages = [self._block(spot) for spot in self.spots.get(role, [])], self._stages.get(role, 1)
        servers = sorted(sorted(server) for server in by_server(found, stages))
        return tuple(block for server in servers for block in server)

    def paid(self, pool: int) -> int:
        """Return how many GPUs of a pool have a server, or how many nodes where these are paid whole."""
        first, together = self._offsets[pool], self.problem.pools[pool].paid
        return len({(gpu - first) // together for gpu in range(first, self._offsets[pool + 1]) if self.on[gpu]})

    def likeness(self, spot: Spot) -> tuple[object, ...]:
        """Return what makes spots alike, so that only one of them need be tried."""
        there: tuple[int, ...] = ()
        if self._strict:
            there = tuple(sorted(role for role, spots in self.spots.items() if any(spot[2] == o[2] for o in spots)))
        return tuple((self.free[gpu], tuple(sorted(self.on[gpu].items()))) for gpu in range(spot[0], spot[1])), there

    def _rank(self, spot: Spot, *, emptiest: bool) -> tuple[int, int]:
        gpus = range(spot[0], spot[1])
        left = min(self.free[gpu] for gpu in gpus)
        return (int(max(self._servers[gpus.start : gpus.stop])), -left) if emptiest else (left, 0)

    def _next_stage(self, role: int, candidate: Candidate, size: int) -> Iterable[Spot]:
        """Return the spots that the stages of a server leave to its next one; all of them for one stage."""
        spots = self._all_spots(candidate.pool, candidate.width)
        if candidate.stages == 1:
            return spots
        begun = self._begun(role)
        if candidate.across:
            return [spot for spot in spots if all(spot[2] != other[2] for other in begun)]
        if begun:
            return [spot for spot in spots if spot[2] == begun[0][2] and spot not in begun]
        stacked = self.problem.roles[role].stacked
        free = Counter(
            node
            for first, last, node in spots
            if all(self._takes(role, gpu, size) and self._count(role, gpu) < stacked for gpu in range(first, last))
        )
        return [spot for spot in spots if free[spot[2]] >= candidate.stages]

    def _takes(self, role: int, gpu: int, size: int) -> bool:
        """Whether a GPU takes one more server of a role, in what is free or at the turn of others."""
        return self.free[gpu] >= size or (role in self._turning and self.free[gpu] >= self._grows(role, gpu))

    def _grows(self, role: int, gpu: int) -> int:
        """Return by how much one more server of a role makes what is taken of a GPU grow."""
        if role not in self._turning:
            return self._sizes[role]
        turn = next(turn for turn in self.problem.turns if role in turn.roles)
        count = {other: self._count(other, gpu) for other in turn.roles}
        before = self._charged(count, turn.awake)
        return self._charged(count | {role: count[role] + 1}, turn.awake) - before

    def _charged(self, count: Mapping[int, int], awake: int) -> int:
        there = [role for role, number in count.items() if number]
        return charge([(count[role] * self._sizes[role], count[role] * self._asleep[role]) for role in there], awake)

    def _begun(self, role: int) -> list[Spot]:
        """Return the spots of the server that lacks some of its stages."""
        spots = self.spots.get(role, [])
        return spots[len(spots) - len(spots) % self._stages.get(role, 1) :]

    def _allowed(self, role: int, spot: Spot) -> bool:
        # Not on one node: fleet/placement.py refuses it, search/placing.py states it, check/placement.py checks it.
        if self.problem.roles[role].spread:
            spots = self.spots.get(role, [])
            others = spots[: len(spots) - len(self._begun(role))]
            if any(spot[2] == other[2] for other in others):
                return False
        apart = self._apart[role]
        return not apart or not any(other in apart for gpu in range(spot[0], spot[1]) for other in self.on[gpu])

    def _list_spots(self, pool: int, width: int) -> tuple[Spot, ...]:
        shape, offset = self.problem.pools[pool], self._offsets[pool]
        found = []
        for position, node in enumerate(shape.nodes):
            for first in range(0, shape.width - width + 1, width):
                start = offset + position * shape.width + first
                found.append((start, start + width, node))
        return tuple(found)

    def _spot(self, block: Block) -> Spot:
        shape = self.problem.pools[block.pool]
        start = self._offsets[block.pool] + block.node * shape.width + block.first
        return start, start + block.width, shape.nodes[block.node]

    def _block(self, spot: Spot) -> Block:
        pool = max(index for index in range(len(self.problem.pools)) if self._offsets[index] <= spot[0])
        position, first = divmod(spot[0] - self._offsets[pool], self.problem.pools[pool].width)
        return Block(pool, position, first, spot[1] - spot[0])
