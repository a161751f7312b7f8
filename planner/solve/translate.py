"""Prepared options and a fleet's objective -> Problem."""

from collections.abc import Callable

from planner.fleet import Fleet
from planner.options import Option, Prepared
from planner.options.worth import Worth
from planner.solve.problem import Candidate, PoolProblem, Problem, RoleProblem

ACCURACY, CONCURRENCY, BALANCED = "accuracy", "concurrency", "balanced"
CONTEXT, BATCH, ACCURACY_LEFT = "context", "batched tokens", "accuracy below a point"

Pair = tuple[int, int]

_STAGES: dict[str, Callable[[Worth], Pair]] = {
    BALANCED: lambda worth: (worth.accuracy, worth.served),
    ACCURACY: lambda worth: (worth.accuracy, 0),
    CONCURRENCY: lambda worth: (0, worth.served),
    CONTEXT: lambda worth: (worth.context, 0),
    BATCH: lambda worth: (worth.batch, 0),
    ACCURACY_LEFT: lambda worth: (worth.accuracy_left, 0),
}
"""What a stage adds up over the roles, before their weights: a constant, and something per sequence."""


def stages(objective: tuple[str, ...]) -> tuple[str, ...]:
    """Return everything that is maximised, in order: the objective, and what it leaves open."""
    asked = list(objective)
    if BALANCED not in asked:
        asked += [name for name in (ACCURACY, CONCURRENCY) if name not in asked]
    return tuple(asked + [name for name in (CONTEXT, BATCH, ACCURACY_LEFT) if name not in asked])


def problem(fleet: Fleet, prepared: Prepared) -> Problem:
    """Return the problem of a fleet whose every role has options."""
    names = stages(fleet.objective)
    return Problem(
        roles=tuple(
            RoleProblem(
                name=found.role.name,
                candidates=tuple(candidate(found.role.weight, option, names) for option in found.options),
            )
            for found in prepared.roles
        ),
        pools=(PoolProblem(capacity=prepared.capacity_bytes, width=fleet.gpu_count),),
        stages=names,
    )


def candidate(weight: int, option: Option, names: tuple[str, ...]) -> Candidate:
    """Return an option as the solver sees it, for a role of this weight and these stages."""
    demand = option.demand
    pairs = [_STAGES[name](option.worth) for name in names]
    return Candidate(
        fixed=demand.fixed_bytes,
        per_sequence=demand.state_bytes_per_sequence,
        kv_floor=demand.kv_floor_bytes,
        kv_per_sequence=demand.kv_bytes_per_sequence,
        peak_floor=demand.activation_floor_bytes,
        peak_base=demand.activation_base_bytes,
        peak_per_sequence=demand.activation_bytes_per_sequence,
        least=option.sequences_min,
        most=option.sequences_max,
        worth=tuple((weight * constant, weight * slope) for constant, slope in pairs),
    )
