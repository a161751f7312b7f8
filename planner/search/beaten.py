"""Beaten: which runs of the sequences of a role's candidates others beat; tens of thousands of them at once.

What it is to be beaten, and why nothing is lost by it, is said in ``pieces``. Sizes and worth are linear in arrays of
numpy here; losses, which are compared one objective after another, are replaced by their rank.
"""

from collections.abc import Sequence
from operator import le
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from planner.search.problem import Candidate

Layout = tuple[int, ...]
"""Width, servers, stages inside a node, stages across nodes; of a role that takes turns also the bytes it keeps asleep,
of a GPU and of the machine's memory: what beats has no more of any."""

Run = tuple[int, int, int]
"""A candidate, the fewest and the most of its sequences; in between its footprint has no bend."""

_Ints: TypeAlias = npt.NDArray[np.int64]
_Flags: TypeAlias = npt.NDArray[np.bool_]

_NEVER = np.iinfo(np.int64).max


def unbeaten(
    candidates: Sequence[Candidate], layouts: Sequence[Layout], runs: Sequence[Run], stages: Sequence[int], whole: int
) -> list[bool]:
    """Return for each run whether it is needed: a settled one that no end of a run beats, a longer one as a whole.

    ``stages`` are those that a worth counts in; ``whole`` is what each takes of a GPU that it shares with nobody, or 0.
    """
    if not runs:
        return []
    table = np.array(runs, dtype=np.int64)
    number, first, last = table[:, 0], table[:, 1], table[:, 2]
    longer = first < last
    points = _Points(candidates, layouts, np.concatenate((number, number[longer])), stages, whole)
    points.place(np.concatenate((first, last[longer])))
    alone = points.unbeaten()
    ends = np.arange(len(runs))
    ends[longer] = len(runs) + np.arange(int(longer.sum()))  # where the last of a run is among the points
    found = alone[: len(runs)]
    found[longer] = ~points.below(alone, np.flatnonzero(longer), ends[longer])
    return [bool(kept) for kept in found]


class _Points:
    """Candidates with settled sequences: their sizes, the ranks of their losses, and the numbers of their layouts."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        layouts: Sequence[Layout],
        number: _Ints,
        stages: Sequence[int],
        whole: int,
    ) -> None:
        self._candidates, self._stages, self._whole = candidates, stages, whole
        self._names = sorted(set(layouts))
        position = {layout: place for place, layout in enumerate(self._names)}
        self.number = number
        self.layout: _Ints = np.array([position[layout] for layout in layouts], dtype=np.int64)[number]

    def place(self, sequences: _Ints) -> None:
        """Settle the sequences of all points."""
        self.size = self._sizes(sequences)
        losses = [self._loss(stage, sequences) for stage in self._stages]
        order = np.lexsort(losses[::-1]) if losses else np.arange(len(sequences))
        steps = np.zeros(len(sequences), dtype=np.int64)
        for loss in losses:
            steps[1:] |= loss[order][1:] != loss[order][:-1]
        self.rank = np.empty(len(sequences), dtype=np.int64)
        self.rank[order] = np.cumsum(steps)
        self._order = np.lexsort((-sequences, self.number, self.rank, self.layout, self.size))

    def unbeaten(self) -> _Flags:
        """Return which points none beats that comes before them."""
        found = np.zeros(len(self.number), dtype=bool)
        layout, rank = self.layout[self._order], self.rank[self._order]
        for place, name in enumerate(self._names):
            covering = [other for other, covers in enumerate(self._names) if all(map(le, covers, name))]
            some = np.flatnonzero(np.isin(layout, covering))
            before = np.concatenate(([_NEVER], np.minimum.accumulate(rank[some])[:-1]))
            own = layout[some] == place
            found[self._order[some[own & (before > rank[some])]]] = True
        return found

    def below(self, alone: _Flags, smallest: _Ints, best: _Ints) -> _Flags:
        """Return which runs are beaten whole, given the points that are smallest and those that lose least in each.

        A run is when an unbeaten point is smaller and loses no more, or is no larger and loses less. Points equal to it
        in both do not count: they may be points of the run itself.
        """
        found = np.zeros(len(smallest), dtype=bool)
        ordered = self._order[alone[self._order]]
        stairs = [ordered[self.layout[ordered] == place] for place in range(len(self._names))]
        for place, name in enumerate(self._names):
            runs = np.flatnonzero(self.layout[smallest] == place)
            size, rank = self.size[smallest[runs]], self.rank[best[runs]]
            for other, covers in enumerate(self._names):
                stair = stairs[other]
                if not len(stair) or not len(runs) or not all(map(le, covers, name)):
                    continue
                step = np.searchsorted(self.size[stair], size, side="right") - 1
                at = stair[np.maximum(step, 0)]
                less = (self.rank[at] < rank) | ((self.rank[at] == rank) & (self.size[at] < size))
                found[runs] |= (step >= 0) & less
        return found

    def _sizes(self, sequences: _Ints) -> _Ints:
        if self._whole:
            return np.full(len(sequences), self._whole, dtype=np.int64)
        fields = [
            (c.fixed, c.per_sequence, c.kv_floor, c.kv_per_sequence, c.peak_floor, c.peak_base, c.peak_per_sequence)
            for c in self._candidates
        ]
        fixed, each, kv_floor, kv, peak_floor, peak_base, peak = np.array(fields, dtype=np.int64).T[:, self.number]
        cache = np.maximum(kv_floor, kv * sequences)
        size: _Ints = fixed + each * sequences + cache + np.maximum(peak_floor, peak_base + peak * sequences)
        return size

    def _loss(self, stage: int, sequences: _Ints) -> _Ints:
        constant, slope = np.array([c.worth[stage] for c in self._candidates], dtype=np.int64).T[:, self.number]
        loss: _Ints = -constant - slope * sequences
        return loss
