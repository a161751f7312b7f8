"""Pools of equal pods, among which a Gateway that knows inference chooses."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from planner.artifacts.processes import Server
from planner.artifacts.workloads import Workload


class InferencePool(Struct, frozen=True, kw_only=True):
    """Pods of one workload that answer for the same ``models`` on one ``port``; ``name`` is the workload's."""

    name: str
    port: int
    models: tuple[str, ...]


def inference_pools(workloads: Sequence[Workload], servers: Mapping[str, Server]) -> tuple[InferencePool, ...]:
    """Return a pool for each role whose servers are all in one workload, alone in their pods."""
    holders = [role for workload in workloads for role in workload.roles]
    spanning = {server.role for server in servers.values() if server.node_count > 1}
    return tuple(
        InferencePool(name=workload.name, port=slot.port, models=(*server.names, *server.adapters))
        for workload in workloads
        if len(workload.slots) == 1
        for slot in workload.slots
        for server in (servers[slot.server],)
        if holders.count(server.role) == 1 and server.role not in spanning
    )
