"""A plan for several machines, seen from one of them."""

import dataclasses

from planner.plan import Plan


def node_names(plan: Plan) -> tuple[str, ...]:
    """Return the nodes that run servers, in the plan's order; one name only when the fleet is one machine."""
    used = {server.node for server in plan.servers}
    names = dict.fromkeys(gpu.node for gpu in plan.gpus)
    return tuple(name for name in names if name in used) if len(names) > 1 else tuple(names)[:1]


def many(plan: Plan) -> bool:
    """Say whether the fleet has more than one machine, so that each gets a folder of its own."""
    return len({gpu.node for gpu in plan.gpus}) > 1


def on_node(plan: Plan, node: str) -> Plan:
    """Return what one node carries out of a plan: its servers, their order, its GPUs."""
    servers = tuple(server for server in plan.servers if server.node == node)
    names = {server.name for server in servers}
    return dataclasses.replace(
        plan,
        servers=servers,
        start_order=tuple(name for name in plan.start_order if name in names),
        gpus=tuple(gpu for gpu in plan.gpus if gpu.node == node),
    )
