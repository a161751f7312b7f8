"""A Pareto frontier in words and figures: what its axes measure, and which of its points are listed."""

from planner.explain.words import listed, plural
from planner.fleet import Fleet
from planner.options.worth import COST_PER_MTOK, THROUGHPUT, TPOT
from planner.plan import AXES, COST, GPU_HOURS, GPUS_IN_USE, Frontier, Plan, reached, undominated

_SHARES = {"concurrency": 1_000_000, "context": 1_000}
_HUNDREDTHS = 100
_MILLIONTHS = 1_000_000
_SPEEDS = {THROUGHPUT: 1_000, TPOT: 1_000, COST_PER_MTOK: _MILLIONTHS}

UNITS = {
    "accuracy": "weighted mean of the scores, points",
    "concurrency": "requests at once, weighted % of the targets",
    "context": "context, weighted % of the wishes",
    COST: "$ per hour of the GPUs in use",
    GPUS_IN_USE: "number of GPUs in use",
    THROUGHPUT: "output tokens/s of all servers, weighted sum, at the slow end",
    TPOT: "ms per output token, weighted mean, at the slow end",
    COST_PER_MTOK: "$ per million output tokens, weighted mean, at the slow end",
    GPU_HOURS: "hours of a GPU per million output tokens, weighted mean, at the slow end",
}
"""What an axis measures, by its title."""


def axis_title(frontier: Frontier, axis: str) -> str:
    """Return the name of an axis, which tells its unit: without prices, cost is ``GPUs in use``."""
    return frontier.plans[0].title(axis) if axis in (COST, COST_PER_MTOK) else axis


def axis_value(plan: Plan, axis: str, fleet: Fleet) -> float:
    """Return what a plan has of an axis in the unit of ``UNITS``."""
    value = reached(plan, axis)
    weights = sum(role.weight for role in fleet.roles)
    if axis == COST:
        return value / _MILLIONTHS if plan.prices else value
    if axis in _SPEEDS:
        means = sum(role.weight for role in fleet.roles if role.output_tokens) or 1
        return value / _SPEEDS[axis] / (1 if axis == THROUGHPUT else means)
    if axis == "accuracy":
        return value / _HUNDREDTHS / weights
    return 100 * value / _SHARES[axis] / weights


def axis_text(value: float, title: str) -> str:
    """Write a value of an axis for a table."""
    return f"{value:g}" if title == GPUS_IN_USE else f"{value:.2f}"


def listed_points(frontier: Frontier) -> str:
    """Say whether the points listed are all there are, and which of them are not proven."""
    count = len(frontier.plans)
    if frontier.complete and count == 1:
        lines = ["One plan has the most of both, so it is the whole frontier."]
    elif frontier.complete:
        lines = ["This is the whole frontier: no plan is better in one of the two without being worse in the other."]
    elif frontier.open_end:
        lines = [f"The search ended after {plural(count, 'point')}; there may be more beyond the last."]
    else:
        lines = [
            f"There are more points than these {count}: listed are both ends and, from each of equal steps of "
            f"{_stepped(frontier)} between them, the point that comes next."
        ]
    unproven = [str(plan.point.number) for plan in frontier.plans if plan.point and not undominated(plan)]
    if unproven:
        them = f"points {listed(unproven)} are" if len(unproven) > 1 else f"point {unproven[0]} is"
        lines.append(f"It is not proven that {them} on the frontier: a better plan may exist.")
    return "\n".join(lines)


def _stepped(frontier: Frontier) -> str:
    """Return the axis whose floor rises from point to point."""
    return next(axis for axis in (frontier.x, frontier.y) if AXES[axis] == frontier.plans[0].objective[1])
