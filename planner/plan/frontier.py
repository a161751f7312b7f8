"""Pareto frontier: plans of one fleet, none of which is better than another in both of two things."""

from msgspec import Struct

from planner.plan.plan import Plan

AXES = {
    "accuracy": "score", "concurrency": "concurrency", "context": "context", "cost": "cost",
    "throughput": "throughput", "tpot": "tpot", "cost_per_mtok": "cost_per_mtok",
}  # fmt: skip
"""Axis -> the stage of docs/objective.md that measures it."""

LESS = ("cost", "tpot", "cost_per_mtok")
"""Axes of which less is better; their stages are negative."""


class Frontier(Struct, frozen=True, kw_only=True):
    """The plans of a frontier, from the least of ``x`` to the most; each says in ``point`` which one it is.

    No plan has more of one axis than a plan here without having less of the other (of those in ``LESS``, less is more).
    ``complete``: all that differ in an axis are here; otherwise they are the ends and some in equal steps between.
    ``open_end``: the budget ran out before the points beyond the last could be looked for.
    """

    x: str
    y: str
    plans: tuple[Plan, ...]
    complete: bool
    open_end: bool


def reached(plan: Plan, axis: str) -> int:
    """Return what a plan has of an axis, in the unit of its stage; positive also where less is better.

    Raises:
        KeyError: the plan is of another frontier.
    """
    value = {stage.name: stage.value for stage in plan.proof.stages}[AXES[axis]]
    return -value if axis in LESS else value


def undominated(plan: Plan) -> bool:
    """Whether it is proven that no plan is better in one axis of its frontier and as good in the other."""
    return all(stage.proven for stage in plan.proof.stages if stage.name in plan.objective)
