"""Problem: the fleet as integers only; the solver iterates over it and computes nothing.

A candidate is one option of one role. Its memory is ``Demand``'s: linear in the sequences but for two floors. Each
stage of the objective is a sum over the roles of ``constant + per_sequence × sequences`` of the chosen candidate.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One option of a role: sizes in bytes, ``worth`` has one pair per stage."""

    fixed: int
    per_sequence: int
    kv_floor: int
    kv_per_sequence: int
    peak_floor: int
    peak_base: int
    peak_per_sequence: int
    least: int
    most: int
    worth: tuple[tuple[int, int], ...]

    def footprint(self, sequences: int) -> int:
        """Return the bytes taken with so many sequences."""
        return (
            self.fixed
            + self.per_sequence * sequences
            + max(self.kv_floor, self.kv_per_sequence * sequences)
            + max(self.peak_floor, self.peak_base + self.peak_per_sequence * sequences)
        )

    def value(self, stage: int, sequences: int) -> int:
        """Return what the candidate adds to a stage with so many sequences."""
        constant, per_sequence = self.worth[stage]
        return constant + per_sequence * sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Choose one candidate and its sequences for every role and a GPU to put it on.

    ``roles`` pairs names with candidates, in order of the names. ``capacities`` are the bytes of each GPU; all GPUs are
    of one kind. ``stages`` names what is maximised, each before the next.
    """

    roles: tuple[tuple[str, tuple[Candidate, ...]], ...]
    capacities: tuple[int, ...]
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one role gets: the index of its candidate, the sequences, the index of its GPU."""

    candidate: int
    sequences: int
    gpu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageValue:
    """The value of a stage in the answer, the bound no answer can exceed, and whether that was proven.

    A stage is proven when value and bound are equal and the stages before it are proven.
    """

    name: str
    value: int
    bound: int
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One choice per role, in the problem's order, and what was proven about it."""

    choices: tuple[Choice, ...]
    stages: tuple[StageValue, ...]
    model_sha256: str
