"""Edits of a fleet that its machines decide: more of them, more room on them, or roles that take turns there."""

import math
from collections.abc import Iterator
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from planner.conflict.sizing import Sizing
from planner.facts.accuracy import Accuracy
from planner.fleet import Fleet, Pool, TimeShare
from planner.plan import Change
from planner.units import GIB, MIB

_MOST_PAIRED = 15
"""Pairs of roles that are tried for taking turns, before all of them together are."""


class FleetEdit(Struct, frozen=True):
    """A changed fleet, how to say the change, and the accuracy of the changed role where that is what it costs.

    ``written`` is the new value as the file has it, where that is not ``after``.
    """

    fleet: Fleet
    path: str
    before: str
    after: str
    accuracy: Accuracy | None = None
    written: str = ""

    @property
    def change(self) -> Change:
        """The change without the fleet."""
        return Change(path=self.path, before=self.before, after=self.after, accuracy=self.accuracy)


def turns(fleet: Fleet) -> Iterator[FleetEdit]:
    """Two roles that take turns, or all that may share GPUs."""
    machines = {node for pool in fleet.pools for node in pool.node_names}
    if fleet.time_share or len(machines) > 1:
        return
    pairs = [(one, other) for one, other in combinations(fleet.roles, 2) if one.shares_with(other)]
    groups: list[tuple[str, ...]] = [(one.name, other.name) for one, other in pairs[:_MOST_PAIRED]]
    everybody = tuple(role.name for role in fleet.roles)
    if len(everybody) > 2 and len(pairs) == math.comb(len(everybody), 2):
        groups.append(everybody)
    for names in groups:
        changed = replace(fleet, time_share=(TimeShare(roles=tuple(sorted(names))),))
        yield FleetEdit(changed, "time_share", "", f"[[{', '.join(names)}]]")


def memory_in_use(fleet: Fleet, pool: Pool, sizing: Sizing) -> Iterator[FleetEdit]:
    """As much less memory in use by others as is missing, to the MiB."""
    missing = sizing.deficit_bytes(fleet)
    left = (pool.memory_in_use_bytes - missing) // MIB * MIB
    if 0 < missing <= pool.memory_in_use_bytes:
        before, after = _size(pool.memory_in_use_bytes), _size(left)
        yield _pool_edit(fleet, replace(pool, memory_in_use_bytes=left), "memory_in_use", before, after)


def more_gpus(fleet: Fleet, pool: Pool, sizing: Sizing) -> Iterator[FleetEdit]:
    """The fewest more GPUs that help on a node that has a name, else nodes: more never hurt, so steps grow first."""
    lost = len(pool.without)
    named = pool.nodes == 1 and pool.node_names != (pool.name,) and not lost
    single = pool.path == "gpu" or named
    field = "gpus" if named and pool.path != "gpu" else "count"
    have = pool.gpus_per_node if single else pool.nodes

    def raised(count: int) -> FleetEdit:
        changed = replace(pool, gpus_per_node=count) if single else replace(pool, node_names=_nodes(pool, count + lost))
        return _pool_edit(fleet, changed, field, str(have + lost), str(count + lost))

    low, high, most = have, have + 1, max(4 * have, have + len(fleet.roles))
    while high <= most and not sizing.fits(raised(high).fleet):
        low, high = high, min(have + 2 * (high - have), most) if high < most else most + 1
    if high > most:
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if sizing.fits(raised(middle).fleet) else (middle, high)
    yield raised(high)


def _nodes(pool: Pool, count: int) -> tuple[str, ...]:
    """Return the names of so many nodes of a pool, less those it is not to use."""
    names = (f"{pool.name}-{number}" for number in range(1, count + 1))
    return tuple(name for name in names if name not in pool.without)


def larger_gpu(fleet: Fleet, pool: Pool, sizing: Sizing) -> Iterator[FleetEdit]:
    """Larger GPUs of the same vendor, the smallest first; those that lack most of the deficit are not tried."""
    enough = pool.gpu.memory_bytes + sizing.deficit_bytes(fleet) * 9 // 10
    larger = [
        gpu
        for gpu in sizing.catalog.gpus
        if gpu.vendor == pool.gpu.vendor
        and not (gpu.parent or gpu.refusal or gpu.integrated)
        and gpu.memory_bytes > pool.gpu.memory_bytes
        and gpu.memory_bytes >= enough
    ]
    field = "name" if pool.path == "gpu" else "gpu"
    for gpu in sorted(larger, key=lambda gpu: (gpu.memory_bytes, gpu.name)):
        yield _pool_edit(fleet, replace(pool, gpu=gpu), field, pool.gpu.name, gpu.name)


def _pool_edit(fleet: Fleet, changed: Pool, field: str, before: str, after: str) -> FleetEdit:
    return FleetEdit(fleet.with_pool(changed), f"{changed.path}.{field}", before, after)


def _size(value_bytes: int) -> str:
    return f"{value_bytes // GIB}GiB" if value_bytes % GIB == 0 else f"{value_bytes // MIB}MiB"
