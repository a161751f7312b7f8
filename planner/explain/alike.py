"""GPUs and servers that are alike, of which a reader is told together, and how they are called."""

from collections.abc import Iterator, Sequence

from planner.explain.named import gpus_named, named
from planner.explain.words import plural
from planner.plan import GPULedger, Plan

_WIDEST = 40
"""Characters of names beside their figures; more of them are counted instead."""


def alike(plan: Plan) -> Iterator[tuple[GPULedger, ...]]:
    """Yield the GPUs that carry the same: as many servers of each role, and as much of others."""
    servers = {server.name: server for server in plan.servers}
    found: dict[tuple[object, ...], list[GPULedger]] = {}
    for gpu in plan.gpus:
        held = gpu.system_bytes, gpu.memory_in_use_bytes, gpu.shared_bytes, gpu.free_bytes
        carried = tuple((servers[name].role, servers[name].ledger) for name in gpu.servers)
        found.setdefault((gpu.product, gpu.total_bytes, carried, held), []).append(gpu)
    yield from map(tuple, found.values())


def gpus_in_short(plan: Plan, gpus: Sequence[GPULedger]) -> str:
    """Name GPUs, with their nodes where the plan has several, or say how many there are: ``desk GPU 0``."""
    where = gpus_named(gpus, nodes=len({gpu.node for gpu in plan.gpus}) > 1)
    if len(gpus) == 1 or len(where) <= _WIDEST:
        return where
    return f"{len(gpus)} GPUs of {plural(len({gpu.node for gpu in gpus}), 'node')}"


def servers_in_short(names: Sequence[str], role: str) -> str:
    """Name servers of a role, or say how many there are where their numbers are scattered."""
    text, count = named(names), len(set(names))
    return text if count == 1 or len(text) <= _WIDEST else f"{role}, {count} servers"
