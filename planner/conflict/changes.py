"""Changes: edits of the fleet file that make a plan possible, each made to the file, read and solved first.

They are listed by what they cost the user, the least first: an FP8 KV cache, a shorter context, fewer requests at once,
more time per token or to the first one, a lower rate, servers in several pools, other numbers of replicas, more
pipeline stages than the role would need alone, another quantization or a lower accuracy floor, freedom where it may be,
roles that take turns, memory that others give back, one more GPU, a larger GPU, one role less. Of each kind it is the
smallest amount that helps. Where no single change does, pairs of them are looked for.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from msgspec.structs import replace

from planner.conflict.edits import FleetEdit, larger_gpu, memory_in_use, more_gpus, turns
from planner.conflict.requirements import (
    change_role,
    drop_role,
    percent,
    requirements,
    shortest_context,
)
from planner.conflict.sizing import Sizing
from planner.engine.settings import SETTINGS
from planner.errors import InputError
from planner.facts.accuracy import Accuracy
from planner.fleet import (
    OWN_TASKS,
    SET_OPTION,
    Edit,
    Fleet,
    Role,
    Scenario,
    fleets,
    may_share,
    merged,
)
from planner.fleet.fleet import users_rate_milli
from planner.options import STAGES, Option
from planner.plan import Change
from planner.search.budget import BudgetSpent
from planner.units import ceil_div, format_rate, format_time, format_tokens

_PAIRS = 4
"""Pairs of changes that are offered at most."""

_FREEDOM = (
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "context_parallel",
    "pool",
    "share_with",
    "exclusive",
    "spread",
    "between_turns",
    "host_memory",
)
"""Keys that limit where a role may be, or what it leaves there, for each of which there is more room without it."""
_APART = "same_server_as"
"""The key of a role without a server of its own, which may fit where one server for several does not."""
PINS = tuple(setting.key for setting in SETTINGS)
"""Keys of a role that pin the engine, without each of which it may take less, or start."""


def changes(fleet: Fleet, sizing: Sizing) -> tuple[Change, ...]:
    """Return every kind of single change that helps."""
    return tuple(edit.change for edit in _helping(fleet, sizing))


def pairs(fleet: Fleet, alone: Fleet, sizing: Sizing) -> tuple[tuple[Change, Change], ...]:
    """Return some pairs of changes that help together, where the fleet is still what its file says.

    The first change of a pair helps the fleet ``alone``, which has the requirements of one conflict and no others.
    """
    found: list[tuple[Change, Change]] = []
    for first in _helping(alone, sizing) if fleet.written else ():
        changed = edited(fleet, first, sizing)
        second = next(_helping(changed, sizing), None) if changed else None
        if second and (second.change, first.change) not in found:
            found.append((first.change, second.change))
        if len(found) == _PAIRS:
            break
    return tuple(found)


def edited(fleet: Fleet, edit: FleetEdit, sizing: Sizing) -> Fleet | None:
    """Return what the file of a fleet says after an edit; None when the reader refuses that."""
    if fleet.written is None:
        return edit.fleet
    made = Edit(SET_OPTION, f"{edit.path}={edit.written or edit.after}")
    try:
        (found,) = fleets(fleet.written, [Scenario((made,))], sizing.catalog)
    except InputError:
        return None
    return found


def _helping(fleet: Fleet, sizing: Sizing) -> Iterator[FleetEdit]:
    """Yield the edits that make a fleet solvable, the first of every kind, as far as the budget goes."""
    try:
        for edits in _tried(fleet, sizing):
            for edit in edits:
                if sizing.fits(edit.fleet):
                    changed = edited(fleet, edit, sizing)
                    if changed and sizing.fits(changed) and sizing.solved(changed):
                        yield edit
                        break
    except BudgetSpent:
        sizing.cut = True


def _in_vain(fleet: Fleet, role: Role, sizing: Sizing) -> bool:
    """Whether the others cannot be served even without a role, so that no change of it helps."""
    return not all(one.optional for one in fleet.roles) and not sizing.fits(drop_role(fleet, role.name))


def _tried(fleet: Fleet, sizing: Sizing) -> Iterator[Iterable[FleetEdit]]:
    """Yield the edits of every kind, of each the least first."""
    alone = len(fleet.roles) == 1
    some = [role for role in fleet.roles if alone or not _in_vain(fleet, role, sizing)]
    for kind in _KINDS:
        for role in some:
            if not role.parts:  # the limits of one server for several are no keys of one of them
                yield kind(fleet, role, sizing)
    for item in requirements(fleet):
        path, value = item.requirement.path, item.requirement.value
        if path.rpartition(".")[2] in (*_FREEDOM, *PINS, _APART):
            yield [FleetEdit(item.without(fleet), path, value, "")]
    for role in fleet.roles:
        yield _one_server(fleet, role)
    yield turns(fleet)
    for supply in (memory_in_use, more_gpus, larger_gpu):
        for pool in fleet.pools:
            yield supply(fleet, pool, sizing)
    if len(fleet.roles) > 1:
        for role in fleet.roles:
            yield [FleetEdit(drop_role(fleet, role.name), f"roles.{role.name}", "", "")]


def _one_server(fleet: Fleet, role: Role) -> Iterator[FleetEdit]:
    """Yield the edits that let the server of another role do this one too."""
    for other in fleet.roles:
        if other.name < role.name and may_share(other, role):
            left = drop_role(fleet, role.name)
            roles = tuple(merged([one, role]) if one is other else one for one in left.roles)
            yield FleetEdit(replace(left, roles=roles), f"roles.{role.name}.{_APART}", "", other.name)


def _role_edit(
    fleet: Fleet, role: Role, changed: Role, field: str, before: str, after: str, accuracy: Accuracy | None = None
) -> FleetEdit:
    return FleetEdit(
        change_role(fleet, role.name, lambda _: changed), f"roles.{role.name}.{field}", before, after, accuracy
    )


def _cache(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    if role.kv_cache_dtype == "auto":
        changed = replace(role, kv_cache_dtype="fp8")
        option = sizing.least(change_role(fleet, role.name, lambda _: changed), changed)
        accuracy = option.accuracy if option else None
        yield _role_edit(fleet, role, changed, "kv_cache_dtype", "auto", "fp8", accuracy)


def _context(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """Powers of two below the minimum, the longest first."""
    least = shortest_context(role)
    lengths = {least, *(1 << exponent for exponent in range(role.context_min.bit_length()))}
    for length in sorted(lengths, reverse=True):
        if least <= length < role.context_min:
            changed = replace(role, context_min=length)
            before, after = format_tokens(role.context_min), format_tokens(length)
            yield _role_edit(fleet, role, changed, "context.min", before, after)


def _concurrency(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """The most requests that fit, found by halving: fewer never take more memory."""

    def lowered(count: int) -> FleetEdit:
        changed = replace(role, concurrency_min=count)
        return _role_edit(fleet, role, changed, "concurrency.min", str(role.concurrency_min), str(count))

    low, high = 0, role.concurrency_min
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sizing.fits(lowered(middle).fleet) else (low, middle)
    if low:
        yield lowered(low)


def _tpot(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """The shortest time per token that can be met, to a twentieth."""
    if role.tpot_us is not None:
        yield from _longer(fleet, role, sizing, role.tpot_us, "tpot", lambda time_us: replace(role, tpot_us=time_us))


def _ttft(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """The shortest time to the first token that can be met, to a twentieth."""
    if role.ttft_us is not None:
        yield from _longer(fleet, role, sizing, role.ttft_us, "ttft", lambda time_us: replace(role, ttft_us=time_us))


def _longer(
    fleet: Fleet, role: Role, sizing: Sizing, asked_us: int, field: str, change: Callable[[int], Role]
) -> Iterator[FleetEdit]:
    def edit(steps: int) -> FleetEdit:
        time_us = ceil_div(round(asked_us * _FACTOR**steps), _MILLISECOND) * _MILLISECOND
        before, after = format_time(asked_us), format_time(time_us)
        return _role_edit(fleet, role, change(time_us), f"speed.{field}", before, after)

    yield from _fewest(edit, sizing)


def _users(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """The most users that can be served, to a twentieth."""
    asked, think_us = role.users, role.think_us
    if asked is None or think_us is None or role.rate_milli is None:
        return

    def edit(steps: int) -> FleetEdit:
        count = max(1, int(asked / _FACTOR**steps))
        changed = replace(role, users=count, rate_milli=users_rate_milli(count, think_us))
        return _role_edit(fleet, role, changed, "users.count", str(asked), str(count))

    yield from _fewest(edit, sizing)


def _rate(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """The highest rate that can be met, to a twentieth."""
    asked = role.rate_milli
    if asked is None or role.users is not None:
        return

    def edit(steps: int) -> FleetEdit:
        rate = max(1, int(asked / _FACTOR**steps))
        changed = replace(role, rate_milli=rate)
        return _role_edit(fleet, role, changed, "rate", format_rate(asked), format_rate(rate))

    yield from _fewest(edit, sizing)


_FACTOR = 1.05
_MOST_STEPS = 256
"""A time up to 260,000 times as long is offered, or a rate down to as much less."""
_MILLISECOND = 1000


def _fewest(edit: Callable[[int], FleetEdit], sizing: Sizing) -> Iterator[FleetEdit]:
    """Yield the edit with the fewest steps that fits, if one does: more steps never fit less."""
    low, high = 0, _MOST_STEPS
    if not sizing.fits(edit(high).fleet):
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if sizing.fits(edit(middle).fleet) else (middle, high)
    yield edit(high)


def _across(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """Servers in several pools, where there are to be several."""
    if role.named and not role.across_pools and role.replicas != 1 and len(fleet.pools_of(role)) > 1:
        yield _role_edit(fleet, role, replace(role, across_pools=True), "across_pools", "false", "true")


def _replicas(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """Fewer replicas, the most first; more of them where they must keep up with a rate, the fewest first."""
    have = role.replicas or 1
    more = range(have + 1, have + fleet.gpu_count + 1) if role.rate_milli is not None and role.replicas else ()
    for count in (*more, *range(_most_replicas(fleet, role, sizing), 0, -1)):
        changed = replace(role, replicas=count)
        yield _role_edit(fleet, role, changed, "replicas", str(role.replicas), str(count))


def _most_replicas(fleet: Fleet, role: Role, sizing: Sizing) -> int:
    """Return the most replicas, fewer than the role has, that can be where each takes one request at once; or more.

    Found by halving: of servers that need take no more each, fewer always fit where more do. A rate wants more of them.
    """
    low, high = 0, role.replicas or 1
    while high - low > 1 and role.rate_milli is None:
        middle = (low + high) // 2
        changed = replace(role, replicas=middle, concurrency_min=1)
        fitting = sizing.fits(change_role(fleet, role.name, lambda _: changed))  # noqa: B023
        low, high = (middle, high) if fitting else (low, middle)
    return high - 1


def _stages(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """Pipeline stages, the fewest first."""
    for stages in STAGES if role.pipeline_parallel_sizes is None and role.task not in OWN_TASKS else ():
        if any(pool.splits(stages) for pool in fleet.pools_of(role)):
            changed = replace(role, pipeline_parallel_sizes=(stages,))
            yield _role_edit(fleet, role, changed, "pipeline_parallel", "auto", str(stages))


def _scheme(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """One more scheme, the most accurate first."""
    if role.schemes is None:
        return
    for option in _open(fleet, replace(role, schemes=None), sizing):
        scheme = option.variant.scheme
        if scheme not in role.schemes:
            changed = replace(role, schemes=(*role.schemes, scheme))
            before, after = ", ".join(role.schemes), ", ".join(changed.schemes or ())
            edit = _role_edit(fleet, role, changed, "schemes", before, after, option.accuracy)
            yield replace(edit, written=f"[{after}]")


def _variant(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """Another variant than the pinned one, the most accurate first."""
    if role.variant is None:
        return
    for option in _open(fleet, replace(role, variant=None), sizing):
        name = option.variant.repository
        if name != role.variant:
            changed = replace(role, variant=name)
            yield _role_edit(fleet, role, changed, "variant", role.variant, name, option.accuracy)


def _recovery(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """A lower floor for what quantization keeps, the highest first."""
    return _floors(fleet, role, sizing, "recovery")


def _score(fleet: Fleet, role: Role, sizing: Sizing) -> Iterator[FleetEdit]:
    """A lower floor for the score, the highest first."""
    return _floors(fleet, role, sizing, "score")


def _floors(fleet: Fleet, role: Role, sizing: Sizing, what: Literal["recovery", "score"]) -> Iterator[FleetEdit]:
    field = f"{what}_floor"  # of a role the one that is asked for, of an accuracy the one that is sure
    asked: int | None = getattr(role, field)
    if asked is None:
        return
    options = _open(fleet, replace(role, **{field: None}), sizing)
    floors: dict[int | None, Option] = {getattr(option.accuracy, field): option for option in reversed(options)}
    for floor in sorted((floor for floor in floors if floor is not None and floor < asked), reverse=True):
        changed = replace(role, **{field: floor})
        before, after = percent(asked), percent(floor)
        yield _role_edit(fleet, role, changed, f"accuracy.{what}", before, after, floors[floor].accuracy)


def _open(fleet: Fleet, role: Role, sizing: Sizing) -> list[Option]:
    """Return what a role with one pin less could use, the most accurate first."""
    found = sizing.smallest(fleet, role)
    return sorted(found, key=lambda option: (-option.worth.accuracy, -option.worth.accuracy_left, option.least_bytes))


_KINDS = (
    _cache, _context, _concurrency, _tpot, _ttft, _rate, _users, _across, _replicas, _stages, _scheme, _variant,
    _recovery, _score,
)  # fmt: skip
"""What may be changed of a role, the least costly first."""
