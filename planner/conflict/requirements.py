"""Requirements: the lines of a fleet file that constrain, each with the fleet as it would be without it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.settings import Setting, pinned, without_pin
from planner.fleet import DEEP_SLEEP, SLEEP, STOP, Fleet, Pool, Role, merged
from planner.plan import Requirement
from planner.units import format_gib, format_rate, format_time, format_tokens

SHORTEST_CONTEXT = 1024
"""The context asked for when none is required: less is of no use to anybody."""


class Relaxable(Struct, frozen=True):
    """A requirement and the way to drop it from a fleet; ``role`` is empty for those of the fleet as a whole."""

    requirement: Requirement
    role: str
    without: Callable[[Fleet], Fleet]


def requirements(fleet: Fleet) -> tuple[Relaxable, ...]:
    """Return what a fleet requires, in the order of its roles; that a role is served is a requirement too."""
    every = (part for role in fleet.roles for part in role.parts or (role,))
    found = [item for role in every if not role.optional for item in _of_role(role)]
    for role in fleet.roles:
        found += [_apart(role, part) for part in role.parts[1:]]
    found += [_in_use(pool) for pool in fleet.pools if pool.memory_in_use_bytes]
    return tuple(found + list(_of_sleep(fleet)))


def _of_sleep(fleet: Fleet) -> Iterator[Relaxable]:
    """Yield what sleeping roles are asked for: that they sleep at all, and within the memory of the machine."""
    if fleet.between_turns not in (SLEEP, DEEP_SLEEP):
        return
    yield Relaxable(Requirement(path="between_turns", value=fleet.between_turns), "", lambda one: one.settled(STOP))
    for pool in fleet.pools if fleet.between_turns == SLEEP else ():
        if pool.host_memory_bytes is not None:
            requirement = Requirement(path=f"{pool.path}.host_memory", value=format_gib(pool.host_memory_bytes))
            yield Relaxable(requirement, "", partial(_without_host_memory, name=pool.name))


def _without_host_memory(fleet: Fleet, name: str) -> Fleet:
    return fleet.with_pool(replace(fleet.pool(name), host_memory_bytes=None))


def _apart(role: Role, part: Role) -> Relaxable:
    """Return the requirement that a role has no server of its own."""

    def split(fleet: Fleet) -> Fleet:
        left = drop_role(fleet, part.name)
        return replace(left, roles=tuple(sorted((*left.roles, part), key=lambda one: one.name)))

    requirement = Requirement(path=f"roles.{part.name}.same_server_as", value=role.name)
    return Relaxable(requirement, part.name, split)


def _in_use(pool: Pool) -> Relaxable:
    requirement = Requirement(path=f"{pool.path}.memory_in_use", value=format_gib(pool.memory_in_use_bytes))
    return Relaxable(
        requirement, "", lambda fleet: fleet.with_pool(replace(fleet.pool(pool.name), memory_in_use_bytes=0))
    )


def without(fleet: Fleet, dropped: list[Relaxable]) -> Fleet:
    """Return the fleet with these requirements dropped."""
    for item in dropped:
        fleet = item.without(fleet)
    return replace(fleet, written=None) if dropped else fleet


def as_required(fleet: Fleet) -> Fleet:
    """Return the fleet with none of its roles optional."""
    return replace(fleet, roles=tuple(replace(role, optional=False) for role in fleet.roles))


def change_role(fleet: Fleet, name: str, change: Callable[[Role], Role]) -> Fleet:
    """Return the fleet with one role changed; a fleet that no longer has the role stays as it is."""
    return replace(fleet, roles=tuple(_changed(role, name, change) for role in fleet.roles))


def drop_role(fleet: Fleet, name: str) -> Fleet:
    """Return the fleet without a role; of those that took turns with it, what may be awake together takes none."""
    left = tuple(role for role in (_without(role, name) for role in fleet.roles) if role)
    if not fleet.time_share:
        return replace(fleet, roles=left)
    names = {role.name for role in left}
    groups = [replace(group, roles=tuple(one for one in group.roles if one in names)) for group in fleet.time_share]
    groups = [group for group in groups if len(group.roles) > group.awake]
    found = replace(fleet, roles=left, time_share=tuple(groups))
    return found.settled(fleet.between_turns) if fleet.between_turns else found


def _changed(role: Role, name: str, change: Callable[[Role], Role]) -> Role:
    """Return a role changed where it is meant, or put together anew where a part of it is."""
    if not role.parts:
        return change(role) if role.name == name else role
    return merged([change(part) if part.name == name else part for part in role.parts])


def _without(role: Role, name: str) -> Role | None:
    """Return what is left of a role without the one of this name."""
    if not role.parts:
        return None if role.name == name else role
    left = [part for part in role.parts if part.name != name]
    return left[0] if len(left) == 1 else merged(left)


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
    yield from _of_speed(role, relaxable)
    for field, key, say in _CHECKPOINT:
        if (asked := getattr(role, field)) is not None:
            yield relaxable(key, say(asked), _left_open(field))
    for setting, value in pinned(role.settings):
        yield relaxable(setting.key, setting.say(value), _unpinned(setting))
    if role.replicas is not None and role.replicas > 1:
        yield relaxable("replicas", str(role.replicas), lambda r: replace(r, replicas=1))
    for field, key, say in _PLACE:
        if (asked := getattr(role, field)) not in _NOTHING_ASKED.get(field, (None,)):
            yield relaxable(key, say(asked), _left_open(field))
    if role.share_with is not None:
        path, value = ("share_with", ", ".join(role.share_with)) if role.share_with else ("exclusive", "true")
        yield relaxable(path, value, lambda r: replace(r, share_with=None))
    if role.spread is not None:
        yield relaxable("spread", role.spread, lambda r: replace(r, spread=None))


def _joined(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


_CHECKPOINT: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("recovery_floor", "accuracy.recovery", percent),
    ("score_floor", "accuracy.score", percent),
    ("schemes", "schemes", _joined),
    ("variant", "variant", str),
    ("kv_cache_dtype", "kv_cache_dtype", str),
)
"""What is asked of the checkpoint and its cache: field of ``Role``, key of the file, and how its value is written."""
_PLACE: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("tensor_parallel_sizes", "tensor_parallel", _joined),
    ("pipeline_parallel_sizes", "pipeline_parallel", _joined),
    ("data_parallel_sizes", "data_parallel", _joined),
    ("expert_parallel", "expert_parallel", lambda _: "true"),
    ("context_parallel_sizes", "context_parallel", _joined),
    ("pools", "pool", _joined),
)
"""The same of the GPUs of a server."""
_NOTHING_ASKED = {
    "data_parallel_sizes": (None, (1,)),
    "context_parallel_sizes": (None, (1,)),
    "expert_parallel": (None, False),
}
"""Values of a field, beside None, with which a role asks for nothing that could be dropped."""


def _left_open(field: str) -> Callable[[Role], Role]:
    """Return what asks for nothing in a field of a role."""
    return lambda role: replace(role, **{field: None})


def _unpinned(setting: Setting) -> Callable[[Role], Role]:
    """Return what leaves out one pin of the engine."""
    return lambda role: replace(role, settings=without_pin(role.settings, setting))


def _of_speed(role: Role, relaxable: Callable[[str, str, Callable[[Role], Role]], Relaxable]) -> Iterator[Relaxable]:
    if role.tpot_us is not None:
        yield relaxable("speed.tpot", format_time(role.tpot_us), lambda r: replace(r, tpot_us=None))
    if role.ttft_us is not None:
        yield relaxable("speed.ttft", format_time(role.ttft_us), lambda r: replace(r, ttft_us=None))
    if role.rate_milli is not None:
        field, value = ("users.count", str(role.users)) if role.users else ("rate", format_rate(role.rate_milli))
        yield relaxable(field, value, lambda r: replace(r, rate_milli=None))
