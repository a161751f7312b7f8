"""Choose, then pack: plans for fleets whose GPUs are too many to decide about together.

The choice alone has a bound on every plan. Its servers rarely find places while they fill all GPUs to the brim, so the
choice is made again with less memory, a tenth less at first and then as much as the packing needs, found by halving.
What that leaves over is then used: role by role, a better option is taken where it finds a place. Where the cost of the
GPUs in use is a stage, servers go to as few GPUs as they fit, and an option that needs one more is taken only when what
it is worth comes before cost. Measured in benchmarks/solver.
"""

import contextlib
import operator
from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.search.board import Board
from planner.search.bounds import Bounds
from planner.search.budget import BudgetSpent, purse
from planner.search.chain import Weighing, choices, maximise_first, reached
from planner.search.model import build
from planner.search.narrow import narrowed
from planner.search.packing import fullest, most_of, stay
from planner.search.pieces import Pieces
from planner.search.problem import COST, MINIMAL_CHANGE, Candidate, Decided, Problem
from planner.search.teams import sound, wasted
from planner.search.watch import late, step, stopped
from planner.units import ceil_div

_PER_MILLE = 1000
_STEP = 100
_ATTEMPTS = 6
_IN_VAIN = 2
"""Attempts without a choice, after which there are no more: with less memory a choice is no easier to find."""
_SHARE = 1 / 3
"""How much of what is left of the budget a solve may take, so that there is something for all attempts."""
_GOOD_ENOUGH = 2000
_ROUNDS = 5

Value = tuple[int, ...]


class Packed(Struct, frozen=True):
    """A choice for every role that has places, and its value in every stage.

    It is ``mended`` when some roles have other options than were chosen, because those found no place.
    """

    decided: tuple[Decided, ...]
    board: Board
    value: Value
    mended: bool = False


def decompose(problem: Problem, weighing: Weighing, budget: int, bound: int) -> Packed | None:
    """Return a good plan, or None when none was found, which proves nothing.

    ``weighing`` is that of the first stages; ``bound`` is what the first of them cannot exceed: a plan within half a
    thousandth of it is good enough.
    """
    fits, fails = 0, _PER_MILLE
    best: Packed | None = None
    in_vain = 0
    for _ in range(_ATTEMPTS):
        share = (fits + fails) // 2 if fits else fails - _STEP
        step(f"choosing for {share / 10:g} % of the memory")
        decided = _chosen(problem, weighing, share, budget)
        in_vain += not decided
        if in_vain == _IN_VAIN:
            break
        found = _packed(problem, decided) if decided else None
        fits, fails = (share, fails) if found and not found.mended else (fits, share)
        best = max(filter(None, (best, found)), key=lambda packed: packed.value, default=None)
        if stopped() or (best and (bound - best.value[0]) * _GOOD_ENOUGH <= abs(bound)):
            return best
    return best


def packed_as(problem: Problem, decided: Sequence[Decided]) -> Packed | None:
    """Return a choice as it is, with its places; None when it finds none."""
    board = fullest(problem, decided)
    return Packed(tuple(decided), board, value(problem, decided, board)) if board else None


def filled(problem: Problem) -> Packed | None:
    """Return a plan that takes no solver: the smallest candidates, packed, and what is left over used; None if none is.

    It is what there is when the solver was ended before it had found any plan.
    """
    decided: list[Decided] = [smallest(problem, position) for position in range(len(problem.roles))]
    board = fullest(problem, decided) or _mended(problem, decided)
    if board is None or not any(decided) or not sound(problem, decided):
        return None
    _improve(problem, board, decided)
    found = Packed(tuple(decided), board, value(problem, decided, board))
    barred = [[c.barred for c in role.candidates] for role in problem.roles]
    chosen = [choice is not None and flags[choice[0]] for choice, flags in zip(decided, barred, strict=True)]
    all_barred = any(chosen) and all(own or not any(flags) for own, flags in zip(chosen, barred, strict=True))
    low = any(found.value[stage] < least for stage, least in problem.floors)
    return None if all_barred or low else found


def smallest(problem: Problem, position: int) -> Decided:
    """Return the candidate that takes least in all, not a barred one where others are; None of a role without any.

    Of a team the first role does the whole job.
    """
    role, team = problem.roles[position], next((team for team in problem.teams if position in team.roles), None)
    if team and team.roles[0] != position:
        return None
    sizes = []
    for index, found in enumerate(role.candidates):
        count = max(found.least, ceil_div(team.least, found.ranks)) if team else found.least
        if count <= found.most and (not team or team.servers in (None, found.blocks)):
            sizes.append((found.barred, found.footprint(count) * found.gpus, index, count))
    *_, index, count = min(sizes, default=(False, 0, -1, 0))
    return (index, count) if index >= 0 else None


def value(problem: Problem, decided: Sequence[Decided], board: Board) -> Value:
    """Return the value of every stage."""
    per_role = (_worth(problem, role, choice) for role, choice in enumerate(decided))
    totals = map(sum, zip(*per_role, strict=True))
    sums = _with_cost(problem, tuple(map(operator.sub, totals, wasted(problem, decided))), board)
    if MINIMAL_CHANGE not in problem.stages:
        return sums
    stays = stay(problem, decided, board)
    return tuple(stays if name == MINIMAL_CHANGE else one for name, one in zip(problem.stages, sums, strict=True))


def _packed(problem: Problem, decided: list[Decided]) -> Packed | None:
    """Pack a choice with only a share of all memory, and use what is left over."""
    board = fullest(problem, decided)
    mended = board is None
    board = board or _mended(problem, decided)
    if board is None:
        return None
    _improve(problem, board, decided)
    return Packed(tuple(decided), board, value(problem, decided, board), mended)


def _mended(problem: Problem, decided: list[Decided]) -> Board | None:
    """Pack a choice, and give roles that find no place the best of their options that does; None where one has none.

    Where other rules say what goes together nothing is mended.
    """
    barred = any(found.barred for role in problem.roles for found in role.candidates)
    if problem.teams or problem.floors or barred:
        return None
    board, missing = most_of(problem, decided)
    upgrades = _Upgrades(problem, board, decided)
    return board if all(upgrades.settle(role) for role in missing) else None


def _chosen(problem: Problem, weighing: Weighing, share: int, budget: int) -> list[Decided]:
    """Return the best choice with only a share of all memory; nothing when there is none, or not in time."""
    found: list[Decided] = []

    def reach(part: Pieces) -> list[int] | None:
        model = build(part.problem)
        for taken, used, pool in zip(model.taken, model.used, problem.pools, strict=True):
            model.cp.add(taken <= pool.capacity * share // _PER_MILLE * used)
        solver = maximise_first(model, min(budget, purse().left * _SHARE))
        if solver is None:
            return None
        found[:] = part.decided(choices(model, solver))
        return reached(model, solver, len(weighing.weights))

    with contextlib.suppress(BudgetSpent):
        limits = Bounds(problem, weighing, share)
        if part := narrowed(limits, reach):
            reach(part)
    return found


def _improve(problem: Problem, board: Board, decided: list[Decided]) -> None:
    """Take better options, role by role, as long as any finds a place."""
    upgrades = _Upgrades(problem, board, decided)
    for _ in range(_ROUNDS):
        changed = [role for role in upgrades.by_loss() if not late() and upgrades.take(role)]
        if not changed:
            return


class _Upgrades:
    """Better options for roles that have places on a board; ``decided`` is what they have, and is kept up to date."""

    def __init__(self, problem: Problem, board: Board, decided: list[Decided]) -> None:
        self.problem, self.board, self.decided = problem, board, decided
        self._ranked = [
            sorted(
                (tuple(-part for part in _most(found, problem)), index) for index, found in enumerate(role.candidates)
            )
            for role in problem.roles
        ]
        self._barrable = {
            number for number, role in enumerate(problem.roles) if any(found.barred for found in role.candidates)
        }

    def by_loss(self) -> list[int]:
        """Return the roles in order of what they lack most of their best option; those of teams stay as they are."""

        def loss(role: int) -> Value:
            worth = _worth(self.problem, role, self.decided[role])
            best = self._ranked[role][0][0] if self._ranked[role] else (0,) * len(worth)
            return tuple(one + other for one, other in zip(best, worth, strict=True))

        alone = (role for role in range(len(self.problem.roles)) if not self.problem.mates(role))
        return sorted(alone, key=lambda role: (loss(role), role))

    def settle(self, role: int) -> bool:
        """Give a role that is nowhere the best of its options that finds a place, if any does."""
        for _, index in self._ranked[role]:
            candidate = self.problem.roles[role].candidates[index]
            for sequences in dict.fromkeys((candidate.most, candidate.least)):
                if late():
                    return False
                if self.board.put(role, candidate, sequences, wanted=candidate.stays):
                    self.decided[role] = index, sequences
                    return True
        return False

    def take(self, role: int) -> bool:
        """Give a role the best of the options that are worth more, if any finds a place."""
        problem, board = self.problem, self.board
        now = _with_cost(problem, _worth(problem, role, self.decided[role]), board)
        before = board.remove(role)
        for option in self._better(role):
            if _with_cost(problem, _worth(problem, role, option), board) > now:
                self.decided[role] = option
                return True
            board.remove(role)
        board.restore(role, before)
        return False

    def _better(self, role: int) -> Iterator[tuple[int, int]]:
        """Yield options of a role that are worth more than it has now and have found a place, the best first.

        Whoever asks for the next one must have taken the role off the board again.
        """
        worth = _worth(self.problem, role, self.decided[role])
        bar = self._bars(role)
        for negative, index in self._ranked[role]:
            if late():
                return
            most = tuple(-part for part in negative)
            if most <= worth:
                return
            if any(most[stage] < worth[stage] for stage, _ in self.problem.floors):
                continue
            candidate = self.problem.roles[role].candidates[index]
            stays = candidate.stays
            if not (bar and candidate.barred) and self.board.put(role, candidate, candidate.most, wanted=stays):
                yield index, candidate.most

    def _bars(self, role: int) -> bool:
        """Whether a role must not choose a barred candidate, because all others that have some have chosen one."""
        return role in self._barrable and all(
            (choice := self.decided[other]) and self.problem.roles[other].candidates[choice[0]].barred
            for other in self._barrable - {role}
        )


def _with_cost(problem: Problem, worth: Value, board: Board) -> Value:
    """Return values with the cost of the GPUs in use in its place."""
    if COST not in problem.stages:
        return worth
    cost = sum(pool.price * board.paid(index) for index, pool in enumerate(problem.pools))
    return tuple(-cost if name == COST else value for name, value in zip(problem.stages, worth, strict=True))


def _worth(problem: Problem, role: int, choice: Decided) -> Value:
    if choice is None:
        return (0,) * len(problem.stages)
    return _at(problem.roles[role].candidates[choice[0]], problem, choice[1])


def _most(candidate: Candidate, problem: Problem) -> Value:
    return _at(candidate, problem, candidate.most)


def _at(candidate: Candidate, problem: Problem, sequences: int) -> Value:
    return tuple(0 if name == COST else candidate.value(stage, sequences) for stage, name in enumerate(problem.stages))
