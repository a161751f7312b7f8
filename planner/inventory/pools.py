"""GPUs of machines -> pools of equal machines, as a fleet file has them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.fleet import values
from planner.inventory.machine import Devices, LeftOut

_APART = 32
"""So many machines with GPUs of several kinds get pools of their own, which name the machine; the GPUs of more are
grouped by kind, as if each kind were on machines of its own."""


class MachinePool(Struct, frozen=True, kw_only=True):
    """Machines, in the order of their names, whose GPUs are all like ``sample``'s. ``node`` names the one machine."""

    name: str
    sample: Devices
    hosts: tuple[str, ...]
    held: tuple[str, ...]
    node: str = ""


def too_many(devices: Iterable[Devices]) -> Iterator[LeftOut]:
    """Yield the machines with more GPUs than a node of a fleet may have."""
    for one in devices:
        if one.count > values.MAX_GPUS_PER_NODE:
            reason = f"more than the {values.MAX_GPUS_PER_NODE} GPUs that a node of a fleet may have"
            yield LeftOut(host=one.host, called=one.called, count=one.count, reason=reason)


def pools(devices: Iterable[Devices]) -> tuple[MachinePool, ...]:
    """Return the pools, those with most GPUs first, with names that a fleet file may have."""
    usable = [one for one in devices if one.count <= values.MAX_GPUS_PER_NODE]
    kinds = Counter(one.host for one in usable)
    several = {host for host, count in kinds.items() if count > 1}
    apart = several if len(several) <= _APART else set()
    groups: dict[object, list[Devices]] = defaultdict(list)
    for one in _numbered(usable, apart):
        groups[_key(one), one.host if one.host in apart else ""].append(one)
    unnamed = [pool for group in groups.values() for pool in _split(group, apart)]
    unnamed.sort(key=lambda pool: (-pool.sample.count * len(pool.hosts), pool.sample.gpu.name, natural(pool.hosts[0])))
    return tuple(_named(unnamed))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts names with numbers as people count: gpu-2 before gpu-10."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((1, int(part), "") if part.isdigit() and part.isascii() else (0, 0, part) for part in parts)


def _key(one: Devices) -> object:
    return one.gpu.name, one.called, one.count, one.total, one.index, one.memory_in_use_bytes, one.zone, one.taints


def _numbered(devices: Sequence[Devices], apart: set[str]) -> Iterator[Devices]:
    """Yield the GPUs with device numbers that no two kinds of one machine share; a cluster gives out numbers itself."""
    following: Counter[str] = Counter()
    for one in sorted(devices, key=lambda one: (one.index, one.called)):
        if one.host not in apart:
            yield one
            continue
        index = max(following[one.host], one.index)
        following[one.host] = index + one.count
        yield replace(one, index=index)


def _split(group: Sequence[Devices], apart: set[str]) -> Iterator[MachinePool]:
    """Yield the machines of a group, in pools no larger than a fleet's may be."""
    ordered = sorted(group, key=lambda one: natural(one.host))
    most = min(values.MAX_NODES, values.MAX_GPUS // ordered[0].count)
    for start in range(0, len(ordered), most):
        part = ordered[start : start + most]
        hosts = tuple(one.host for one in part)
        named = len(hosts) == 1 and values.name_refusal(hosts[0]) is None
        node = hosts[0] if named else _slug(hosts[0])[:63] if hosts[0] in apart else ""
        held = tuple(line for one in part for line in one.held)
        yield MachinePool(name="", sample=part[0], hosts=hosts, held=held, node=node)


def _named(unnamed: Sequence[MachinePool]) -> Iterator[MachinePool]:
    """Yield the pools with names: the GPU, the zone where there are several, and what else tells them apart."""
    zones: dict[str, set[str]] = defaultdict(set)
    for pool in unnamed:
        zones[pool.sample.gpu.name].add(pool.sample.zone)
    used = {pool.node for pool in unnamed}
    for pool in unnamed:
        one = pool.sample
        words = [_slug(one.gpu.name)]
        if len(zones[one.gpu.name]) > 1:
            words.append(_slug(one.zone or "no-zone"))
        if one.count < one.total:
            words.append(f"{one.count}-free")
        name = next(name for name in _tries("-".join(words)) if _fits(name, pool, used))
        used.add(name)
        used.update(_node_names(name, pool))
        yield replace(pool, name=name)


def _tries(name: str) -> Iterator[str]:
    """Yield a name, then the same with letters behind it: numbers would look like those of nodes."""
    short = name[:52].rstrip("-")
    yield short
    for number in range(1, 26**3):
        letters = ""
        while number:
            number, letter = divmod(number, 26)
            letters = chr(ord("a") + letter) + letters
        yield f"{short}-{letters}"


def _fits(name: str, pool: MachinePool, used: set[str]) -> bool:
    return name not in used and not used.intersection(_node_names(name, pool))


def _node_names(name: str, pool: MachinePool) -> Iterator[str]:
    if len(pool.hosts) > 1:
        yield from (f"{name}-{number}" for number in range(1, len(pool.hosts) + 1))


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "x"
