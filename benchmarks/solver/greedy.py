"""Greedy: what a planner without a solver does, done well.

Every role begins with its smallest option; the largest roles are placed first, each on the fullest GPUs that take it
(best fit, decreasing). What finds no place is dropped. Then the upgrade that gains most is made, again and again, as
long as any finds a place.
"""

from planner.search.board import Board
from planner.search.problem import Candidate, Problem


def greedy(problem: Problem) -> tuple[int, int]:
    """Return the value of the first stage and the number of roles dropped."""
    chosen = choices(problem)
    value = sum(candidate.value(0, candidate.most) for candidate in chosen.values())
    return value, len(problem.roles) - len(chosen)


def choices(problem: Problem) -> dict[int, Candidate]:
    """Return the candidate of every role that has found a place, by the position of the role."""
    board = Board(problem)
    chosen: dict[int, Candidate] = {}
    smallest = {index: min(role.candidates, key=_size) for index, role in enumerate(problem.roles)}
    for role in sorted(smallest, key=lambda index: (-_size(smallest[index])[0], index)):
        if board.put(role, smallest[role], smallest[role].least):
            chosen[role] = smallest[role]
    while _upgrade(problem, board, chosen):
        pass
    return chosen


def _upgrade(problem: Problem, board: Board, chosen: dict[int, Candidate]) -> bool:
    """Make the upgrade that gains most and finds a place; return whether there was one."""
    ways = [
        (candidate.value(0, candidate.most) - now.value(0, now.most), role, index)
        for role, now in chosen.items()
        for index, candidate in enumerate(problem.roles[role].candidates)
    ]
    for gain, role, index in sorted(ways, key=lambda way: (-way[0], way[1:])):
        if gain <= 0:
            return False
        candidate = problem.roles[role].candidates[index]
        before = board.remove(role)
        if board.put(role, candidate, candidate.most):
            chosen[role] = candidate
            return True
        board.restore(role, before)
    return False


def _size(candidate: Candidate) -> tuple[int, int]:
    return candidate.footprint(candidate.least) * candidate.gpus, -candidate.value(0, candidate.least)
