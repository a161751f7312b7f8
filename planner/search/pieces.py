"""Pieces: candidates with a run of sequences each, and of these only what an optimum can need.

A piece is a candidate whose sequences lie in a run in which its footprint is a straight line: the two floors of a
footprint bend it, and a piece ends where one does. So the solver has no bends to decide about, and a role has as many
pieces for a target of a thousand as for one of ten. Runs are cut further, so that a part that cannot be needed is
left out though others can; short ones down to pieces with settled sequences.

A piece is beaten by another of the same role in the same pool that is split over no more GPUs, in no more pipeline
stages and for no more servers, takes no more of each GPU, and is worth as much in every objective, or more in the first
in which they differ. Of a run the least footprint and the most worth count against the footprint and the worth of
settled sequences. Where an objective has a floor, it must be worth as much in it, and both must be barred or both not.
In a team no candidate beats another: which is better hangs on those that go with it.

No optimum is lost: put the beating ``k`` in the place of the beaten ``o``, on a part of the same GPUs. Memory
does not rise on any GPU, so the plan still fits, and no GPU more is in use. Every objective is a sum over the roles, so
the plan's values change by what ``k`` and ``o`` differ in: the first that changes rises. Headroom does not fall. Of
settled pieces equal in everything the first in canonical order is kept. So the optimum that comes first in canonical
order has no beaten piece.

When the models of a whole catalog may serve a role, that leaves tens of its thousands of candidates.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import le
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from planner.search.beaten import Layout, unbeaten
from planner.search.problem import COST, Answer, Candidate, Choice, Decided, Problem, still_barred
from planner.search.watch import go_on
from planner.units import ceil_div

_CUTS = 64
"""Pieces that a run of sequences is cut into at most, beside the bends: one for each number up to that."""


class Pieces(Struct, frozen=True):
    """A problem whose candidates are pieces, and for every role the candidate that each piece is of."""

    problem: Problem
    origins: tuple[tuple[int, ...], ...]

    @property
    def served(self) -> bool:
        """Whether every required role has a piece, that is, whether it fits empty GPUs."""
        return all(role.candidates or role.optional for role in self.problem.roles)

    def original(self, answer: Answer) -> Answer:
        """Return an answer to this problem as one to the problem that the pieces were made from."""
        choices = zip(self.origins, answer.choices, strict=True)
        return replace(answer, choices=tuple(choice and _original(origins, choice) for origins, choice in choices))

    def decided(self, choices: Sequence[Decided]) -> list[Decided]:
        """Return what was decided for this problem in the candidates that the pieces were made from."""
        pairs = zip(self.origins, choices, strict=True)
        return [choice and (origins[choice[0]], choice[1]) for origins, choice in pairs]


class _Point(NamedTuple):
    """A candidate with settled sequences; in the order of these fields it comes after all that beat it.

    ``loss`` is the worth, negated, and ``fewer`` the sequences, negated.
    """

    size: int
    layout: Layout
    loss: tuple[int, ...]
    candidate: int
    fewer: int


class _Run(NamedTuple):
    """Sequences of a candidate from ``first`` to ``last`` in which its footprint has no bend."""

    candidate: int
    first: int
    last: int


def pieces(problem: Problem) -> Pieces:
    """Return a problem with the same best plan in which every candidate is a piece that no other one beats.

    Raises:
        BudgetSpent: whoever watches wants no more.
    """
    roles, origins = [], []
    held = tuple(stage for stage, _ in problem.floors)
    for position, role in enumerate(problem.roles):
        go_on()
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, candidate in enumerate(role.candidates):
            groups.setdefault((candidate.pool, candidate.stays, candidate.barred), []).append(index)
        sizes = _Sizes(problem, position)
        needed = (run for group in groups.values() for run in _needed(sizes, group, held))
        kept = sorted(needed, key=lambda run: (run.candidate, -run.first))  # canonical: the most sequences come first
        roles.append(replace(role, candidates=tuple(_piece(role.candidates[run.candidate], run) for run in kept)))
        origins.append(tuple(run.candidate for run in kept))
    return Pieces(replace(problem, roles=still_barred(problem.roles, roles)), tuple(origins))


class _Sizes:
    """What the candidates of one role take and are worth with so many sequences; alone it takes its GPUs whole."""

    def __init__(self, problem: Problem, role: int) -> None:
        self.candidates = problem.roles[role].candidates
        self._problem = problem
        self._alone = problem.alone(role)
        self._spread = problem.roles[role].spread
        self._turning = role in problem.turning
        self.mates = bool(problem.mates(role))

    def runs(self, index: int) -> Iterator[_Run]:
        """Yield the runs of a candidate, as far as it fits empty GPUs, cut into pieces."""
        candidate = self.candidates[index]
        if not self._has_nodes(candidate):
            return
        capacity = self._problem.pools[candidate.pool].capacity
        counts = range(candidate.least, candidate.most + 1)
        beyond = candidate.least + bisect_right(counts, capacity, key=candidate.footprint)
        step = max(1, beyond - candidate.least if self.mates else ceil_div(beyond - candidate.least, _CUTS))
        cuts = {beyond, *range(candidate.least, beyond, step), *(b for b in _bends(candidate) if b < beyond)}
        for first, after in pairwise(sorted(cuts)):
            yield _Run(index, first, after - 1)

    def _has_nodes(self, candidate: Candidate) -> bool:
        """Whether a pool has all the nodes that a candidate's servers, or their stages, are spread over."""
        apart = (candidate.blocks if self._spread else 1) * (candidate.stages if candidate.across else 1)
        return apart <= len(self._problem.pools[candidate.pool].nodes)

    def point(self, index: int, sequences: int) -> _Point:
        """Return a candidate with settled sequences."""
        candidate = self.candidates[index]
        size = candidate.footprint(sequences)
        if self._alone:
            size = self._problem.pools[candidate.pool].capacity
        return _Point(size, self._layout(candidate), self._loss(index, sequences), index, -sequences)

    def unbeaten(self, runs: Sequence[_Run]) -> list[bool]:
        """Return which runs of candidates in one pool no others beat."""
        stages = [stage for stage, name in enumerate(self._problem.stages) if name != COST]
        layouts = [self._layout(candidate) for candidate in self.candidates]
        pool = self.candidates[runs[0].candidate].pool if runs else 0
        whole = self._problem.pools[pool].capacity if self._alone else 0
        return unbeaten(self.candidates, layouts, runs, stages, whole)

    def held(self, runs: Sequence[_Run], stages: Sequence[int]) -> list[bool]:
        """Return the same where some stages have floors: only settled runs can be beaten."""
        ends = {(run.candidate, count) for run in runs for count in (run.first, run.last)}
        left = {(point.candidate, -point.fewer) for point in _unbeaten((self.point(*end) for end in ends), stages)}
        return [run.first < run.last or run[:2] in left for run in runs]

    def _layout(self, candidate: Candidate) -> Layout:
        inside = 0 if candidate.across else candidate.stages - 1
        layout: Layout = candidate.width, candidate.blocks, inside, candidate.stages - 1 - inside
        return (*layout, candidate.asleep, candidate.host) if self._turning else layout

    def _loss(self, index: int, sequences: int) -> tuple[int, ...]:
        """Return the worth of a candidate in every objective, negated, the cost left out."""
        pairs = zip(self._problem.stages, self.candidates[index].worth, strict=True)
        return tuple([0 if name == COST else -constant - slope * sequences for name, (constant, slope) in pairs])


def _bends(candidate: Candidate) -> Iterator[int]:
    """Yield the numbers of sequences from which on the footprint is above one of its floors."""
    lines = (
        (candidate.kv_floor, candidate.kv_per_sequence),
        (candidate.peak_floor - candidate.peak_base, candidate.peak_per_sequence),
    )
    for above, per_sequence in lines:
        bend = ceil_div(max(0, above), per_sequence) if per_sequence else 0
        if candidate.least < bend <= candidate.most:
            yield bend


def _needed(sizes: _Sizes, group: Sequence[int], held: Sequence[int]) -> Iterator[_Run]:
    """Yield the runs of a group that are not beaten, neighbours that are too long to be settled joined again.

    Beaten they are by the ends of all runs: these are few, and what lies between two ends of a candidate is nearly
    always beaten by one of another when it is beaten at all. So a run may stay that is not needed, never the
    other way round.
    """
    runs = [run for index in group for run in sizes.runs(index)]
    if sizes.mates:
        yield from runs
        return
    joined: _Run | None = None
    for run, needed in zip(runs, sizes.held(runs, held) if held else sizes.unbeaten(runs), strict=True):
        if not needed:
            continue
        if run.first == run.last:
            yield run
        elif (
            joined
            and joined.candidate == run.candidate
            and joined.last + 1 == run.first not in _bends(sizes.candidates[run.candidate])
        ):
            joined = joined._replace(last=run.last)
        else:
            if joined:
                yield joined
            joined = run
    if joined:
        yield joined


def _unbeaten(group: Iterable[_Point], held: Sequence[int]) -> Iterator[_Point]:
    """Yield the points that none of the same group beats; ``held`` are the objectives with floors."""
    least: dict[tuple[int, ...], tuple[int, ...]] = {}
    for point in sorted(group):
        own = *point.layout, *(point.loss[stage] for stage in held)
        if not any(loss <= point.loss and all(map(le, other, own)) for other, loss in least.items()):
            least[own] = point.loss
            yield point


def _piece(candidate: Candidate, run: _Run) -> Candidate:
    """Return a candidate with the sequences of a run alone, its footprint a straight line."""
    first = candidate.footprint(run.first)
    slope = candidate.footprint(run.last) - first
    per_sequence = slope // (run.last - run.first) if slope else 0
    if run.first == run.last:
        worth = tuple((candidate.value(stage, run.first), 0) for stage in range(len(candidate.worth)))
    else:
        worth = candidate.worth
    return replace(
        candidate,
        fixed=first - per_sequence * run.first,
        per_sequence=per_sequence,
        kv_floor=0,
        kv_per_sequence=0,
        peak_floor=0,
        peak_base=0,
        peak_per_sequence=0,
        least=run.first,
        most=run.last,
        worth=worth,
    )


def _original(origins: tuple[int, ...], choice: Choice) -> Choice:
    return replace(choice, candidate=origins[choice.candidate])
