"""Freeing: the fewest servers that move so that some places have none, with everything else as it is.

Choices stay what they are; only where servers are is decided, all GPUs together. A unit is a set of GPUs that is to be
empty, such as those of a node. A server either stays on its blocks or is moved, so that the optimum is the fewest
moves, and what the solver proves is that fewer do not do.
"""

from collections.abc import Sequence

from msgspec import Struct

from planner.search.budget import BUDGET, spending
from planner.search.chain import choices, maximise_first, run
from planner.search.cp_sat import cp_model
from planner.search.model import Model, build
from planner.search.placing import Placing, deal
from planner.search.problem import Block, Problem, staying
from planner.search.turns import GPU

Unit = frozenset[GPU]
"""GPUs that are empty together."""


class Freed(Struct, frozen=True, kw_only=True):
    """The blocks of each role, the positions of the units that are empty, and how many servers moved.

    No fewer than ``bound`` can move; it equals ``moved`` where that is proven.
    """

    blocks: tuple[tuple[Block, ...], ...]
    units: tuple[int, ...]
    moved: int
    bound: int


def freed(problem: Problem, units: Sequence[Unit], count: int, budget: int = BUDGET) -> Freed | None:
    """Return how the fewest servers move so that ``count`` units have none; None when it is proven that none can.

    The one candidate of each role has settled sequences and says where its servers are: those are its ``stays``, and to
    stay is the only stage.

    Raises:
        BudgetSpent: neither was shown within the budget.
    """
    with spending(budget):
        model, placing, empty = _model(problem, units, count)
        _hint(model, placing)
        solver = maximise_first(model, budget)
        if solver is None:
            return None
        taken: list[list[Block]] = [[] for _ in problem.roles]
        for (role, block), number in placing.servers.items():
            taken[role] += [block] * solver.value(number)
        assert all(choices(model, solver))
        found = tuple(deal(role.candidates[0], blocks) for role, blocks in zip(problem.roles, taken, strict=True))
        servers = sum(role.candidates[0].blocks for role in problem.roles)
        stay = sum(staying(role.candidates[0], there) for role, there in zip(problem.roles, found, strict=True))
        most = round(solver.best_objective_bound)
    chosen = tuple(unit for unit, flag in enumerate(empty) if solver.boolean_value(flag))
    return Freed(blocks=found, units=chosen, moved=servers - stay, bound=max(0, servers - max(most, stay)))


def possible(problem: Problem, units: Sequence[Unit], count: int, budget: int = BUDGET) -> bool:
    """Whether so many units can be empty at all, however many servers move.

    Raises:
        BudgetSpent: the solver could not tell.
    """
    with spending(budget):
        return run(_model(problem, units, count)[0], budget) is not None


def _model(problem: Problem, units: Sequence[Unit], count: int) -> tuple[Model, Placing, list[cp_model.IntVar]]:
    """Return the model with its GPUs, and for each unit whether it is empty."""
    model = build(problem)
    placing = Placing(model, by_size=True)
    empty = [model.cp.new_bool_var(f"unit[{number}].empty") for number in range(len(units))]
    at: dict[GPU, list[int]] = {}
    for number, unit in enumerate(units):
        for gpu in unit:
            at.setdefault(gpu, []).append(number)
    for (role, block), servers in placing.servers.items():
        most = problem.roles[role].stacked
        for number in sorted({number for gpu in block.gpus for number in at.get(gpu, ())}):
            model.cp.add(servers + most * empty[number] <= most)
    model.cp.add(cp_model.LinearExpr.sum(empty) >= count)
    return model, placing, empty


def _hint(model: Model, placing: Placing) -> None:
    """Begin where the servers are."""
    before = [list(role.candidates[0].stays) for role in model.problem.roles]
    for (role, block), servers in placing.servers.items():
        model.cp.add_hint(servers, before[role].count(block))
