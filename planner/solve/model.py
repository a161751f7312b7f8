"""Problem -> CP-SAT model: one decision per role over its candidates, with the sequences exact to one.

``chosen[role, candidate, gpu]`` is a boolean, exactly one per role. The sequences of a candidate are an integer of its
own, between its limits when chosen and 0 otherwise, so that memory stays linear without a product of variables. The two
floors of a footprint are integers held above both of their lines; a tight capacity or the headroom stage pushes them
down onto the larger one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from planner.solve.problem import Candidate, Problem

Row = tuple[int, int, int]
"""Positions of a role, one of its candidates, and a GPU."""


@dataclass(slots=True)
class Model:
    """A CP-SAT model and its variables by what they mean."""

    problem: Problem
    cp: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    chosen: dict[Row, cp_model.IntVar] = field(default_factory=dict)
    sequences: dict[Row, cp_model.IntVar] = field(default_factory=dict)
    used: list[cp_model.LinearExpr] = field(default_factory=list)

    def rows(self, role: int | None = None, gpu: int | None = None) -> Iterator[tuple[Row, Candidate]]:
        """Yield what may be decided, for one role or GPU, or for all."""
        for row in self.chosen:
            if role in (None, row[0]) and gpu in (None, row[2]):
                yield row, self.problem.roles[row[0]][1][row[1]]

    def worth(self, stage: int) -> cp_model.LinearExpr:
        """Return the value of a stage of the problem."""
        terms, factors = [], []
        for row, candidate in self.rows():
            constant, per_sequence = candidate.worth[stage]
            terms += [self.chosen[row], self.sequences[row]]
            factors += [constant, per_sequence]
        return cp_model.LinearExpr.weighted_sum(terms, factors)

    def headroom(self) -> cp_model.LinearExpr:
        """Return the bytes left free on all GPUs together."""
        return sum(self.problem.capacities) - cp_model.LinearExpr.sum(self.used)


def build(problem: Problem) -> Model:
    """Return the model of a problem, without an objective."""
    model = Model(problem)
    _add_choices(model)
    _add_memory(model)
    return model


def _add_choices(model: Model) -> None:
    """Exactly one candidate and GPU per role; sequences within the limits of the one chosen.

    All GPUs are alike, so the first role may as well be on the first GPU, the second on one of the first two, and so
    on: any other placement is one of these under other names of the GPUs.
    """
    problem, cp = model.problem, model.cp
    for role, (name, candidates) in enumerate(problem.roles):
        for index, candidate in enumerate(candidates):
            for gpu in range(min(role + 1, len(problem.capacities))):
                row = role, index, gpu
                label = f"{name}.option[{index}]@{gpu}"
                chosen = cp.new_bool_var(label)
                count = cp.new_int_var(0, candidate.most, f"{label}.sequences")
                cp.add(count <= candidate.most * chosen)
                cp.add(count >= candidate.least * chosen)
                model.chosen[row], model.sequences[row] = chosen, count
        cp.add_exactly_one(model.chosen[row] for row, _ in model.rows(role))


def _add_memory(model: Model) -> None:
    """Keep each GPU within its capacity, and say so for all together: that row bounds the search."""
    capacities = model.problem.capacities
    for gpu, capacity in enumerate(capacities):
        parts: list[cp_model.LinearExpr] = []
        for role, (name, _) in enumerate(model.problem.roles):
            parts += _footprint(model, role, gpu, f"{name}@{gpu}", capacity)
        model.used.append(cp_model.LinearExpr.sum(parts))
        model.cp.add(model.used[gpu] <= capacity)
    if len(capacities) > 1:
        model.cp.add(cp_model.LinearExpr.sum(model.used) <= sum(capacities))


def _footprint(model: Model, role: int, gpu: int, label: str, capacity: int) -> list[cp_model.LinearExpr]:
    """Return the parts of what a role takes on a GPU, 0 when it is elsewhere."""
    rows = list(model.rows(role, gpu))
    if not rows:
        return []
    chosen = [model.chosen[row] for row, _ in rows]
    counts = [model.sequences[row] for row, _ in rows]
    cache = model.cp.new_int_var(0, capacity, f"{label}.kv")
    peak = model.cp.new_int_var(0, capacity, f"{label}.peak")
    both = chosen + counts

    def line(constants: list[int], slopes: list[int]) -> cp_model.LinearExpr:
        return cp_model.LinearExpr.weighted_sum(both, constants + slopes)

    none = [0] * len(rows)
    model.cp.add(cache >= line([c.kv_floor for _, c in rows], none))
    model.cp.add(cache >= line(none, [c.kv_per_sequence for _, c in rows]))
    model.cp.add(peak >= line([c.peak_floor for _, c in rows], none))
    model.cp.add(peak >= line([c.peak_base for _, c in rows], [c.peak_per_sequence for _, c in rows]))
    return [line([c.fixed for _, c in rows], [c.per_sequence for _, c in rows]), cache, peak]
