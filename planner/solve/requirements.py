"""Requirements: the lines of a fleet file that constrain, each with the fleet as it would be without it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from planner.fleet import Fleet, Role
from planner.plan import Requirement
from planner.units import format_gib, format_tokens

SHORTEST_CONTEXT = 1024
"""The context asked for when none is required: less is of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Relaxable:
    """A requirement and the way to drop it from a fleet; ``role`` is empty for those of the fleet as a whole."""

    requirement: Requirement
    role: str
    without: Callable[[Fleet], Fleet]


def requirements(fleet: Fleet) -> tuple[Relaxable, ...]:
    """Return what a fleet requires, in the order of its roles; that a role is served is a requirement too."""
    found = [item for role in fleet.roles for item in _of_role(role)]
    if fleet.memory_in_use_bytes:
        value = format_gib(fleet.memory_in_use_bytes)
        drop: Callable[[Fleet], Fleet] = lambda whole: change_gpus(whole, memory_in_use_bytes=0)  # noqa: E731
        found.append(Relaxable(Requirement(path="gpu.memory_in_use", value=value), "", drop))
    return tuple(found)


def without(fleet: Fleet, dropped: list[Relaxable]) -> Fleet:
    """Return the fleet with these requirements dropped."""
    for item in dropped:
        fleet = item.without(fleet)
    return fleet


def change_role(fleet: Fleet, name: str, change: Callable[[Role], Role]) -> Fleet:
    """Return the fleet with one role changed; a fleet that no longer has the role stays as it is."""
    return replace(fleet, roles=tuple(change(role) if role.name == name else role for role in fleet.roles))


def change_gpus(fleet: Fleet, **changes: Any) -> Fleet:  # noqa: ANN401 - any field of Pool
    """Return a fleet with one pool, changed."""
    (pool,) = fleet.pools
    return fleet.with_pool(replace(pool, **changes))


def drop_role(fleet: Fleet, name: str) -> Fleet:
    """Return the fleet without a role."""
    return replace(fleet, roles=tuple(role for role in fleet.roles if role.name != name))


def shortest_context(role: Role) -> int:
    """Return the least context that still holds the role's own request."""
    return min(role.context_min, role.request_tokens or SHORTEST_CONTEXT)


def percent(hundredths: int) -> str:
    """Write hundredths of a percent as the fleet file does."""
    return f"{hundredths / 100:g}"


def _of_role(role: Role) -> Iterator[Relaxable]:
    name = role.name

    def relaxable(field: str, value: str, change: Callable[[Role], Role]) -> Relaxable:
        requirement = Requirement(path=f"roles.{name}.{field}", value=value)
        return Relaxable(requirement, name, lambda fleet: change_role(fleet, name, change))

    yield Relaxable(Requirement(path=f"roles.{name}", value=""), name, lambda fleet: drop_role(fleet, name))
    if role.context_min > shortest_context(role):
        value = format_tokens(role.context_min)
        yield relaxable("context.min", value, lambda r: replace(r, context_min=shortest_context(r)))
    if role.concurrency_min > 1:
        yield relaxable("concurrency.min", str(role.concurrency_min), lambda r: replace(r, concurrency_min=1))
    if role.recovery_floor is not None:
        yield relaxable("accuracy.recovery", percent(role.recovery_floor), lambda r: replace(r, recovery_floor=None))
    if role.score_floor is not None:
        yield relaxable("accuracy.score", percent(role.score_floor), lambda r: replace(r, score_floor=None))
    if role.schemes is not None:
        yield relaxable("schemes", ", ".join(role.schemes), lambda r: replace(r, schemes=None))
    if role.variant is not None:
        yield relaxable("variant", role.variant, lambda r: replace(r, variant=None))
    if role.kv_cache_dtype is not None:
        yield relaxable("kv_cache_dtype", role.kv_cache_dtype, lambda r: replace(r, kv_cache_dtype=None))
