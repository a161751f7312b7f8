"""Relabel: the same placement on other GPUs that are alike, so that most servers are where they were.

The nodes of a pool are alike, and so are the GPUs of a node as long as blocks stay blocks: the two halves of an aligned
group of GPUs may change places, and the halves of each half. What fits one way fits the other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from planner.search.problem import Block, Problem

Blocks = Sequence[tuple[Block, ...]]
"""The blocks of each role."""

_Node = dict[tuple[int, int], Counter[int]]
"""On each aligned group of GPUs, by its first one and its width: how often each role has it as a block."""

_Moves = dict[int, int]
"""GPU of a node -> GPU it becomes."""


def relabelled(problem: Problem, there: Blocks, before: Blocks) -> list[tuple[Block, ...]]:
    """Return blocks on which everything fits as it does ``there``, most of them what they were ``before``."""
    moved: dict[tuple[int, int], tuple[int, _Moves]] = {}
    for pool, shape in enumerate(problem.pools):
        now, then = ([_node(where, pool, node) for node in range(len(shape.nodes))] for where in (there, before))
        moved |= {(pool, node): move for node, move in _nodes(now, then, shape.width)}
    return [tuple(_moved(block, *moved[block.pool, block.node]) for block in blocks) for blocks in there]


def _node(where: Blocks, pool: int, node: int) -> _Node:
    found: _Node = {}
    for role, blocks in enumerate(where):
        for block in blocks:
            if (block.pool, block.node) == (pool, node):
                found.setdefault((block.first, block.width), Counter())[role] += 1
    return found


def _moved(block: Block, node: int, moves: _Moves) -> Block:
    first = min(moves[index] for index in range(block.first, block.first + block.width))
    return Block(block.pool, node, first, block.width)


def _nodes(now: list[_Node], then: list[_Node], width: int) -> Iterator[tuple[int, tuple[int, _Moves]]]:
    """Yield for each node the one it becomes and the moves of its GPUs; the pairs with most in common come first."""
    pairs = [
        (*_matched(mine, other, width), one, two) for one, mine in enumerate(now) for two, other in enumerate(then)
    ]
    left, free = set(range(len(now))), set(range(len(then)))
    for _, moves, one, two in sorted(pairs, key=lambda pair: (-pair[0], pair[2] != pair[3], pair[2:])):
        if one in left and two in free:
            left.remove(one)
            free.remove(two)
            yield one, (two, moves)


def _matched(now: _Node, then: _Node, width: int) -> tuple[int, _Moves]:
    """Return how many blocks two nodes have in common after the best moves, and these moves."""

    @cache
    def best(first: int, other: int, size: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        mine, theirs = now.get((first, size)), then.get((other, size))
        here = (mine & theirs).total() if mine and theirs else 0
        if size == 1:
            return here, ((first, other),)
        half = size // 2
        ways = []
        for one, two in ((other, other + half), (other + half, other)):
            left, right = best(first, one, half), best(first + half, two, half)
            ways.append((left[0] + right[0], left[1] + right[1]))
        common, moves = max(ways, key=lambda way: way[0])
        return here + common, moves

    found = [best(first, first, size) for first, size in _groups(width)]
    return sum(common for common, _ in found), {one: two for _, moves in found for one, two in moves}


def _groups(width: int) -> Iterator[tuple[int, int]]:
    """Yield the largest aligned groups of the GPUs of a node: one of eight, or one of four and one of two."""
    first = 0
    while first < width:
        size = 1 << (width - first).bit_length() - 1
        yield first, size
        first += size
