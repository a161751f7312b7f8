"""A Pareto frontier in words and figures: what its axes measure, and which of its points are listed."""

from planner.explain.words import listed, plural
from planner.fleet import Fleet
from planner.options.worth import COST_PER_MTOK, THROUGHPUT, TPOT
from planner.plan import AXES, COST, GPU_HOURS, GPUS_IN_USE, LESS, Frontier, Plan, reached, undominated

_SHARES = {"accuracy": 1_000_000, "concurrency": 1_000_000, "context": 1_000}
_MILLIONTHS = 1_000_000
_SPEEDS = {THROUGHPUT: 1_000, TPOT: 1_000, COST_PER_MTOK: _MILLIONTHS}

UNITS = {
    "accuracy": "score of each role as % of its best candidate's, weighted mean",
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
    return 100 * value / _SHARES[axis] / weights


def axis_text(value: float, title: str) -> str:
    """Write a value of an axis for a table."""
    return f"{value:g}" if title == GPUS_IN_USE else f"{value:.2f}"


def scales(frontier: Frontier) -> list[str]:
    """Say on which scale each role's score is, which are never added up: only shares of the best candidate's are."""
    if "accuracy" not in (frontier.x, frontier.y):
        return []
    found: dict[str, list[str]] = {}
    for plan in frontier.plans:
        for server in plan.servers:
            scale = server.accuracy.scale if server.accuracy.score is not None else "recovery"
            found.setdefault(server.role, [])
            if scale not in found[server.role]:
                found[server.role].append(scale)
    return [f"accuracy of {role}: {listed(names)}" for role, names in sorted(found.items())]


def bases(frontier: Frontier) -> tuple[str, ...]:
    """Return whose prices an axis of money counts: the fleet file's, or instances as they were listed."""
    if {frontier.x, frontier.y}.isdisjoint((COST, COST_PER_MTOK)):
        return ()
    named = (basis for plan in frontier.plans if plan.price for basis in plan.price.basis.split("; "))
    return tuple(dict.fromkeys(named))


def direction(axis: str) -> str:
    """Say which end of an axis is better."""
    return "less is better" if axis in LESS else "more is better"


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
