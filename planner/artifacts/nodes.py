"""A plan for several machines, seen from one of them."""

import hashlib
import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner.artifacts.quoting import slug
from planner.plan import GPULedger, Plan, ServerPlan
from planner.plan.lookup import lookup


class Part(Struct, frozen=True):
    """What one node runs of a server: the whole of it, or some of its stages or ranks as process ``rank`` of several.

    Process 0 answers requests for all stages; the others have no API. Data-parallel ranks are answered for on every
    node.
    """

    server: ServerPlan
    rank: int
    node: str
    gpu_indices: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether the server has data-parallel ranks on several nodes, each of which answers for its own."""
        return self.server.data_parallel_size > 1 and len(self.server.nodes) > 1

    @property
    def answers(self) -> bool:
        """Whether the process answers requests."""
        return self.rank == 0 or self.apart


def parts(plan: Plan) -> tuple[Part, ...]:
    """Return every process on the plan's nodes, in the order in which they start."""
    here = {gpu.node for gpu in plan.gpus}
    return tuple(
        Part(server, rank, node, tuple(index for place, index in server.gpus if place == node))
        for server in map(plan.server, plan.start_order)
        for rank, node in enumerate(server.nodes)
        if node in here
    )


def address_variable(node: str) -> str:
    """Return the environment variable that may hold a node's address; ``a-b``, ``a.b`` and ``a_b`` each have one."""
    name = slug(node)
    unlike = f"_{hashlib.sha256(name.encode()).hexdigest()[:6].upper()}" if re.search("[._]", name) else ""
    return "PLANNER_NODE_" + re.sub("[^A-Z0-9]", "_", name.upper()) + unlike


def node_names(plan: Plan) -> tuple[str, ...]:
    """Return the nodes that run servers, in the plan's order; one name only when the fleet is one machine."""
    used = {node for server in plan.servers for node in server.nodes}
    names = dict.fromkeys(gpu.node for gpu in plan.gpus)
    return tuple(name for name in names if name in used) if len(names) > 1 else tuple(names)[:1]


def many(plan: Plan) -> bool:
    """Say whether the fleet has more than one machine, so that each gets a folder of its own."""
    return len({gpu.node for gpu in plan.gpus}) > 1


def on_nodes(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Yield every node that runs servers with what it carries out of a plan.

    That are the servers it runs or has a part of, their order, and its GPUs.
    """
    gpus: dict[str, list[GPULedger]] = {}
    order: dict[str, list[str]] = {}
    for gpu in plan.gpus:
        gpus.setdefault(gpu.node, []).append(gpu)
    for name in plan.start_order:
        for node in plan.server(name).nodes:
            order.setdefault(node, []).append(name)
    for node in node_names(plan):
        servers = lookup(plan.servers).by_node.get(node, ())
        yield node, replace(plan, servers=servers, start_order=tuple(order.get(node, ())), gpus=tuple(gpus[node]))
