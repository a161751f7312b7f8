"""Small random problems for the solver, and brute force over them.

A planted problem is built round a plan: every role's candidate and sequences are drawn first and the GPUs are made just
large enough for them, so that a solver which calls it infeasible, or finds less, is wrong.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import strategies as st

from planner.solve.problem import Candidate, Choice, Problem


class Planted(NamedTuple):
    problem: Problem
    choices: tuple[Choice, ...]


@st.composite
def candidates(draw: st.DrawFn, stages: int = 2) -> Candidate:
    least = draw(st.integers(1, 2))
    small = st.integers(0, 6)
    return Candidate(
        fixed=draw(st.integers(1, 30)),
        per_sequence=draw(st.integers(0, 2)),
        kv_floor=draw(st.integers(0, 12)),
        kv_per_sequence=draw(small),
        peak_floor=draw(st.integers(0, 12)),
        peak_base=draw(small),
        peak_per_sequence=draw(small),
        least=least,
        most=draw(st.integers(least, 4)),
        worth=tuple((draw(st.integers(0, 4)), draw(st.integers(0, 2))) for _ in range(stages)),
    )


@st.composite
def planted(draw: st.DrawFn, roles: int = 3, gpus: int = 2) -> Planted:
    count = draw(st.integers(1, gpus))
    members = [
        (f"r{i}", tuple(draw(st.lists(candidates(), min_size=1, max_size=4))))
        for i in range(draw(st.integers(1, roles)))
    ]
    choices, taken = [], [0] * count
    for _, options in members:
        index = draw(st.integers(0, len(options) - 1))
        sequences = draw(st.integers(options[index].least, options[index].most))
        gpu = draw(st.integers(0, count - 1))
        taken[gpu] += options[index].footprint(sequences)
        choices.append(Choice(candidate=index, sequences=sequences, gpu=gpu))
    capacity = max(taken) + draw(st.integers(0, 20))
    problem = Problem(roles=tuple(members), capacities=(capacity,) * count, stages=("first", "second"))
    return Planted(problem, tuple(choices))


def plans(problem: Problem) -> Iterator[tuple[Choice, ...]]:
    """Yield every plan that fits."""
    per_role = [
        [
            Choice(candidate=index, sequences=sequences, gpu=gpu)
            for index, candidate in enumerate(options)
            for sequences in range(candidate.least, candidate.most + 1)
            for gpu in range(len(problem.capacities))
        ]
        for _, options in problem.roles
    ]
    for choices in itertools.product(*per_role):
        if fits(problem, choices):
            yield choices


def fits(problem: Problem, choices: tuple[Choice, ...]) -> bool:
    taken = [0] * len(problem.capacities)
    for (_, options), choice in zip(problem.roles, choices, strict=True):
        taken[choice.gpu] += options[choice.candidate].footprint(choice.sequences)
    return all(have >= want for have, want in zip(problem.capacities, taken, strict=True))


def values(problem: Problem, choices: tuple[Choice, ...]) -> tuple[int, ...]:
    """Return the value of every stage, headroom last."""
    chosen = [(options[c.candidate], c.sequences) for (_, options), c in zip(problem.roles, choices, strict=True)]
    stages = [sum(candidate.value(stage, count) for candidate, count in chosen) for stage in range(len(problem.stages))]
    return (*stages, sum(problem.capacities) - sum(candidate.footprint(count) for candidate, count in chosen))


def rank(problem: Problem, choices: tuple[Choice, ...]) -> tuple[object, ...]:
    """Return the order of plans, best first: stages, headroom, then first candidates and most sequences by role."""
    return (
        tuple(-value for value in values(problem, choices)),
        tuple((choice.candidate, -choice.sequences) for choice in choices),
    )
