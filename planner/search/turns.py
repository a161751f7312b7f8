"""Turns: roles of which only some are awake at once, so that they take the same bytes of a GPU one after another.

What a group of such roles takes of a GPU is what its largest awake set takes there, with what the others keep asleep.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

from planner.search.problem import Answer, Problem, Turn

GPU = tuple[int, int, int]
"""The position of a pool, of a node in it, and of a GPU there."""

Load = tuple[int, int]
"""The bytes that a role takes of a GPU awake, and those it keeps asleep."""


def awake_sets(turn: Turn) -> Iterator[tuple[int, ...]]:
    """Yield the largest sets of roles of a group that are awake together, by their positions in the problem."""
    return combinations(turn.roles, turn.awake)


def charge(loads: Iterable[Load], awake: int) -> int:
    """Return what a group takes of a GPU at most, with up to so many of these roles awake.

    A role that would take less of it awake than asleep is none that anybody has: it counts as asleep.
    """
    pairs = list(loads)
    grown = sorted((max(0, up - down) for up, down in pairs), reverse=True)
    return sum(down for _, down in pairs) + sum(grown[:awake])


def saved(problem: Problem, answer: Answer) -> int:
    """Return by how much more all servers would take of all GPUs if none took turns."""
    total = 0
    for turn in problem.turns:
        loads: dict[GPU, list[Load]] = {}
        for role in turn.roles:
            choice = answer.choices[role]
            if choice:
                candidate = problem.roles[role].candidates[choice.candidate]
                size = candidate.footprint(choice.sequences)
                for gpu, count in Counter(gpu for block in choice.blocks for gpu in block.gpus).items():
                    loads.setdefault(gpu, []).append((count * size, count * candidate.asleep))
        total += sum(sum(up for up, _ in pairs) - charge(pairs, turn.awake) for pairs in loads.values())
    return total
