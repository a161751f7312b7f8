"""Who takes turns with whom, what each keeps in between, and what a change costs."""

from collections.abc import Iterator

from planner.engine.switching import Span
from planner.explain.words import listed, plural
from planner.plan import Asleep, Plan, ServerPlan
from planner.plan.turns import Switch, switches_of
from planner.units import ceil_div, format_gib

_HOW = {
    "sleep": "sleeps with its weights in the machine's memory",
    "sleep-2": "sleeps without its weights and reads them again when it wakes",
    "stop": "is stopped",
}
_LISTED = 6
"""Changes, or sets of roles, that are written out one by one."""


def turns(plan: Plan) -> str:
    """Return lines about the roles of a plan that take turns; nothing when there are none, or none is served."""
    if not any(server.asleep for server in plan.servers):
        return ""
    lines = ["Taking turns:"]
    for group in plan.time_share:
        awake = "one is" if group.awake == 1 else f"{group.awake} are"
        lines.append(f"  of {listed(group.roles)} {awake} awake at a time")
    lines += [f"  {line}" for line in (*_keeping(plan), *_sets(plan), *_changes(plan), *_host(plan))]
    return "\n".join(lines)


def _keeping(plan: Plan) -> Iterator[str]:
    for server in plan.servers:
        if server.asleep:
            yield f"in between {server.name} {_HOW[server.asleep.how]}{_kept(server, server.asleep)}"


def _kept(server: ServerPlan, asleep: Asleep) -> str:
    if not asleep.gpu_bytes:
        return ""
    gpus = "its GPU" if len(server.gpus) == 1 else "each of its GPUs"
    host = f" and {format_gib(asleep.host_bytes)} of the machine's memory" if asleep.host_bytes else ""
    return f": {format_gib(asleep.gpu_bytes)} of {gpus}{host}"


def _sets(plan: Plan) -> Iterator[str]:
    sets = [listed(roles) for roles in plan.awake_sets]
    if len(sets) <= _LISTED:
        yield f"awake together: {'; or '.join(sets)}"
    else:
        yield f"awake together: one of {len(sets)} sets, the first {sets[0]}"


def _changes(plan: Plan) -> Iterator[str]:
    found = _switches(plan)
    if len(found) <= _LISTED:
        for change in found:
            yield f"a change from {change.leaving} to {change.entering} takes {seconds(change.time)}"
    elif found:
        quick = min(found, key=lambda change: change.time.low_ms)
        slow = max(found, key=lambda change: change.time.high_ms)
        between = Span(low_ms=quick.time.low_ms, high_ms=slow.time.high_ms)
        yield f"a change takes {seconds(between)}, longest from {slow.leaving} to {slow.entering}"


def _switches(plan: Plan) -> tuple[Switch, ...]:
    """Return every change of turns that a plan knows, with how long it takes."""
    passing: dict[str, list[Asleep]] = {}
    for server in plan.servers:
        if server.asleep:
            passing.setdefault(server.role, []).append(server.asleep)
    return switches_of(plan.time_share, passing)


def _host(plan: Plan) -> Iterator[str]:
    longest = max(server.asleep.first_ms for server in plan.servers if server.asleep)
    if longest:
        yield f"the first time a server sleeps takes up to {ceil_div(longest, 1000)} s more: it pins that memory"
    if plan.host_bytes:
        sleeping = sum(1 for server in plan.servers if server.asleep)
        yield f"{plural(sleeping, 'sleeping server')} keep {format_gib(plan.host_bytes)} of the machine's memory in all"


def seconds(time: Span) -> str:
    """Write a span of time in seconds, its ends rounded outwards: ``1.2 to 14 s``."""
    low, high = time.low_ms // 100 / 10, ceil_div(time.high_ms, 100) / 10
    return f"{low:g} to {high:g} s"
