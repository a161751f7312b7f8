"""Packing: chosen servers -> blocks of GPUs, in plain Python and always the same way.

The solver decides what is served; where it goes is decided here, so that a plan does not depend on which of many equal
placements the solver happened to find. Servers go, the widest and largest first, each to the emptiest place, because
servers that share a GPU share its speed. If that fails, a bounded search tries other places, the fullest first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from planner.solve.placing import GPU, blocks, gpus
from planner.solve.problem import Block, Problem

_MOST_STEPS = 20_000

Decided = tuple[int, int] | None
"""A candidate and its sequences; None for an optional role that is left out."""


@dataclass(frozen=True, slots=True, order=True)
class _Item:
    """One server to place: sorted the widest first, then the largest, then by role."""

    negative_width: int
    negative_size: int
    role: int
    pool: int


@dataclass(slots=True)
class _State:
    """What is left of each GPU, who is on it, and on which nodes each role is."""

    problem: Problem
    free: dict[GPU, int]
    on: dict[GPU, list[int]]
    places: dict[int, list[Block]] = field(default_factory=dict)
    steps: int = 0

    def fits(self, item: _Item, block: Block) -> bool:
        role = self.problem.roles[item.role]
        if role.spread and self._node(block) in [self._node(other) for other in self.places.get(item.role, [])]:
            return False
        for gpu in block.gpus:
            there = self.on[gpu]
            if self.free[gpu] < -item.negative_size or there.count(item.role) >= role.stacked:
                return False
            if any((min(item.role, other), max(item.role, other)) in self.problem.apart for other in there):
                return False
        return True

    def put(self, item: _Item, block: Block) -> None:
        for gpu in block.gpus:
            self.free[gpu] += item.negative_size
            self.on[gpu].append(item.role)
        self.places.setdefault(item.role, []).append(block)

    def take(self, item: _Item, block: Block) -> None:
        for gpu in block.gpus:
            self.free[gpu] -= item.negative_size
            self.on[gpu].remove(item.role)
        self.places[item.role].remove(block)

    def load(self, block: Block) -> tuple[int, int]:
        """How many servers are on a block, and how little is left of its fullest GPU."""
        return max(len(self.on[gpu]) for gpu in block.gpus), -min(self.free[gpu] for gpu in block.gpus)

    def likeness(self, block: Block) -> tuple[object, ...]:
        """Blocks alike in this need not be tried both."""
        node = self.problem.pools[block.pool].nodes[block.node]
        there = [role for role, places in sorted(self.places.items()) if node in map(self._node, places)]
        return tuple((self.free[gpu], tuple(sorted(self.on[gpu]))) for gpu in block.gpus), tuple(there)

    def _node(self, block: Block) -> int:
        return self.problem.pools[block.pool].nodes[block.node]


def pack(
    problem: Problem, decided: Sequence[Decided], most_gpus: Sequence[int] | None = None
) -> list[tuple[Block, ...]] | None:
    """Return the blocks of every role's servers, or None when no place was found.

    ``most_gpus`` limits the GPUs in use of each pool. None proves nothing: the search is bounded.
    """
    items = sorted(_items(problem, decided))
    if most_gpus is None and (found := _emptiest(problem, items)):
        return _in_order(problem, found)
    found = _search(problem, items, most_gpus)
    return _in_order(problem, found) if found is not None else None


def _items(problem: Problem, decided: Sequence[Decided]) -> Iterator[_Item]:
    for role, choice in enumerate(decided):
        if choice is None:
            continue
        candidate = problem.roles[role].candidates[choice[0]]
        for _ in range(candidate.blocks):
            yield _Item(-candidate.width, -candidate.footprint(choice[1]), role, candidate.pool)


def _empty(problem: Problem) -> _State:
    every = list(gpus(problem))
    return _State(problem, {gpu: problem.pools[gpu[0]].capacity for gpu in every}, {gpu: [] for gpu in every})


def _emptiest(problem: Problem, items: list[_Item]) -> dict[int, list[Block]] | None:
    """Put every server on the emptiest block that takes it."""
    state = _empty(problem)
    for item in items:
        fitting = [block for block in blocks(problem, item.pool, -item.negative_width) if state.fits(item, block)]
        if not fitting:
            return None
        state.put(item, min(fitting, key=lambda block: (state.load(block), block)))
    return state.places


def _search(problem: Problem, items: list[_Item], most_gpus: Sequence[int] | None) -> dict[int, list[Block]] | None:
    """Try places depth first, the fullest that still takes a server first."""
    state = _empty(problem)

    def used(pool: int) -> int:
        return sum(1 for gpu, roles in state.on.items() if gpu[0] == pool and roles)

    def place(index: int) -> bool:
        if index == len(items):
            return True
        item, tried = items[index], set()
        width = -item.negative_width
        fitting = [block for block in blocks(problem, item.pool, width) if state.fits(item, block)]
        for block in sorted(fitting, key=lambda block: (min(state.free[gpu] for gpu in block.gpus), block)):
            likeness = state.likeness(block)
            if likeness in tried:
                continue
            tried.add(likeness)
            state.steps += 1
            if state.steps > _MOST_STEPS:
                return False
            state.put(item, block)
            if (most_gpus is None or used(item.pool) <= most_gpus[item.pool]) and place(index + 1):
                return True
            state.take(item, block)
        return False

    return state.places if place(0) else None


def _in_order(problem: Problem, places: dict[int, list[Block]]) -> list[tuple[Block, ...]]:
    return [tuple(sorted(places.get(role, []))) for role in range(len(problem.roles))]
