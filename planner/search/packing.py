"""Packing: chosen servers -> blocks of GPUs, in plain Python and always the same way.

The solver decides what is served; where it goes is decided here, so that a plan does not depend on which of many equal
placements the solver happened to find. Roles go, the widest and largest first, each to the emptiest place, because
servers that share a GPU share its speed. If that fails, they go to the fullest places that still take them, and then a
bounded search tries others.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.search.board import Board
from planner.search.problem import Block, Candidate, Decided, Problem, staying
from planner.search.watch import stopped

_MOST_LOOKS = 200_000
"""Places that are looked at before a search is given up."""
_MOST_SEARCHED = 48
"""Servers up to which places are searched for; with more, the first ones decided would never be tried elsewhere."""


class _Item(Struct, frozen=True):
    """The servers of one role."""

    role: int
    candidate: Candidate
    sequences: int

    @property
    def size(self) -> int:
        """The bytes each takes of each of its GPUs."""
        return self.candidate.footprint(self.sequences)

    @property
    def spots(self) -> int:
        """The blocks of GPUs all of them need: one for each stage of each server."""
        return self.candidate.blocks * self.candidate.stages


def pack(
    problem: Problem, decided: Sequence[Decided], most_gpus: Sequence[int] | None = None, stays: int = 0
) -> list[tuple[Block, ...]] | None:
    """Return the blocks of every role's servers, or None when no place was found.

    ``most_gpus`` limits the GPUs in use of each pool; ``stays`` of the servers must be where an earlier plan has them.
    None proves nothing: the search is bounded.
    """
    items = sorted(_items(problem, decided), key=_order)
    board = None if most_gpus else fill(problem, items, emptiest=True)
    board = board or fill(problem, items, emptiest=False)
    if board and most_gpus and any(board.paid(pool) > most for pool, most in enumerate(most_gpus)):
        board = None
    if board is None and sum(item.spots for item in items) <= _MOST_SEARCHED:
        board = _search(problem, items, most_gpus)
    if board and most_gpus and any(board.paid(pool) > most for pool, most in enumerate(most_gpus)):
        return None  # servers that stay may be on more GPUs than others would be
    if board is None or stays > stay(problem, decided, board):
        return None
    return [board.blocks(role) for role in range(len(problem.roles))]


def stay(problem: Problem, decided: Sequence[Decided], board: Board) -> int:
    """Return how many servers are where an earlier plan has them."""
    return sum(
        staying(problem.roles[role].candidates[choice[0]], board.blocks(role))
        for role, choice in enumerate(decided)
        if choice and problem.roles[role].candidates[choice[0]].stays
    )


def _order(item: _Item) -> tuple[int, ...]:
    """The widest and largest go first."""
    return -item.candidate.width, -item.size, item.role


def fill(problem: Problem, items: Sequence[_Item], *, emptiest: bool) -> Board | None:
    """Put roles on a board one after another, or return None at the first that finds no place.

    Servers that an earlier plan has go where they were before all others.
    """
    board = _kept(problem, items)
    for item in items:
        if not board.put(item.role, item.candidate, item.sequences, emptiest=emptiest):
            return None
    return board


def _kept(problem: Problem, items: Sequence[_Item]) -> Board:
    """Return a board with the servers that can stay where an earlier plan has them."""
    board = Board(problem)
    for item in items:
        if item.candidate.stays:
            board.keep(item.role, item.candidate, item.sequences, item.candidate.stays)
    return board


def fullest(problem: Problem, decided: Sequence[Decided]) -> Board | None:
    """Pack as tightly as a few orders of the roles allow, without searching."""
    items = list(_items(problem, decided))
    for order in (
        _order,
        lambda item: (-item.size, -item.candidate.width, item.role),
        lambda item: (-item.size * item.candidate.gpus, item.role),
    ):
        if board := fill(problem, sorted(items, key=order), emptiest=False):
            return board
    return None


def most_of(problem: Problem, decided: Sequence[Decided]) -> tuple[Board, list[int]]:
    """Return a board with all roles that find places, one after another, and the roles that find none."""
    board, missing = Board(problem), []
    for item in sorted(_items(problem, decided), key=_order):
        if not board.put(item.role, item.candidate, item.sequences):
            missing.append(item.role)
    return board, missing


def _items(problem: Problem, decided: Sequence[Decided]) -> Iterator[_Item]:
    for role, choice in enumerate(decided):
        if choice:
            yield _Item(role, problem.roles[role].candidates[choice[0]], choice[1])


def _search(problem: Problem, items: Sequence[_Item], most_gpus: Sequence[int] | None) -> Board | None:
    """Try places depth first, one server after another, the fullest that still takes it first."""
    board = _kept(problem, items)
    servers = [item for item in items for _ in range(item.spots - len(board.spots.get(item.role, [])))]
    looks = 0

    def place(index: int) -> bool:
        nonlocal looks
        if index == len(servers):
            return True
        item, tried = servers[index], set()
        if item.role not in board.spots:
            board.begin(item.role, item.size, item.candidate)
        spots = list(board.fitting(item.role, item.candidate, item.size))
        looks += board.count(item.candidate)
        for spot in sorted(spots, key=lambda spot: (min(board.free[spot[0] : spot[1]]), spot)):
            likeness = board.likeness(spot)
            if likeness in tried:
                continue
            tried.add(likeness)
            if looks > _MOST_LOOKS or stopped():
                return False
            board.add(item.role, spot)
            pool = item.candidate.pool
            if (most_gpus is None or board.paid(pool) <= most_gpus[pool]) and place(index + 1):
                return True
            board.take_back(item.role, spot)
        return False

    return board if place(0) else None
