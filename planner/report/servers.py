"""Servers of a plan as the page tells of them: each by itself, or in a large plan those that are equal together."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.explain.alike import gpus_in_short, servers_in_short
from planner.explain.named import numbered
from planner.explain.words import places
from planner.plan import Plan, ServerPlan

_MOST = 32
"""Servers, or GPUs, of which each is told of by itself."""


class ServerRow(Struct, frozen=True, kw_only=True):
    """Equal servers, of which ``server`` is the first: how they are called, their ports, and the GPUs they are on."""

    name: str
    ports: str
    where: str
    server: ServerPlan


def together(plan: Plan) -> bool:
    """Whether a plan is so large that what is equal is told of together, as ``planner solve`` tells of it."""
    return max(len(plan.servers), len(plan.gpus)) > _MOST


def server_rows(plan: Plan) -> Iterator[ServerRow]:
    """Yield the servers of a plan in its order, in a large plan those that do the same on equal GPUs together."""
    several = len({gpu.node for gpu in plan.gpus}) > 1
    devices = {(gpu.node, gpu.index): gpu for gpu in plan.gpus}
    for servers in _equal(plan) if together(plan) else [(server,) for server in plan.servers]:
        first, *others = servers
        own = dict.fromkeys(gpu for server in servers for gpu in server.gpus)
        groups = first.groups if several else [replace(group, node="") for group in first.groups]
        yield ServerRow(
            name=servers_in_short([server.name for server in servers], first.role),
            ports=numbered(server.port for server in servers),
            where=gpus_in_short(plan, [devices[gpu] for gpu in own]) if others else places(groups),
            server=first,
        )


def _equal(plan: Plan) -> Iterator[Sequence[ServerPlan]]:
    """Yield servers that differ in nothing but their names, ports and places."""
    found: dict[ServerPlan, list[ServerPlan]] = {}
    for server in plan.servers:
        alike = replace(
            server, name="", port=0, master_port=0, node="", gpu_indices=(), later_stages=(), gpu_memory_utilization=0
        )
        found.setdefault(alike, []).append(server)
    yield from found.values()
