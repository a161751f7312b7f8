"""Who is where: the servers of every role, the GPUs they share, and the order in which they start."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from planner.check.servers import Recomputed
from planner.check.turns import largest_awake
from planner.check.violation import Violation
from planner.facts.gpu import GPU
from planner.fleet import ROUTER_PORT, Fleet, Pool, Role
from planner.fleet.values import FIRST_PORT, LAST_PORT
from planner.memory.estimate import Estimate, estimate
from planner.memory.terms import Server
from planner.plan import Plan, ServerPlan
from planner.plan.lookup import lookup
from planner.tensors.identity import Same

# The speed is a matter of place too: it depends on the neighbours.
_OWN_FIELDS = ("name", "port", "master_port", "node", "gpu_indices", "later_stages", "speed")

# What follows from the GPU, or costs no client anything it sees.
_OF_A_POOL = (
    "kv_cache_dtype",
    "attention_backend",
    "dtype",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "expert_parallel",
    "context_parallel_size",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "kv_cache_tokens",
    "concurrency_request",
    "concurrency_full_context",
    "accuracy",
    "download_bytes",
    "known_faults",
    "ledger",
)


def check_same_fleet(plan: Plan, fleet: Fleet) -> Iterator[Violation]:
    """Check that a plan is one for this fleet at all."""
    if plan.fleet != fleet.name:
        yield Violation("plan", f"made for the fleet {plan.fleet}, not for {fleet.name}")
    if plan.engine != fleet.engine or fleet.engine_version not in (None, plan.engine_version):
        yield Violation("plan", f"made for {plan.engine} {plan.engine_version}, not for the fleet's engine")
    if plan.cluster != fleet.cluster:
        yield Violation("plan", "made for another kind of cluster than the fleet's")
    roles = {role.name: role for role in fleet.roles}
    served = {server.role for server in plan.servers}
    for name in sorted(served - roles.keys()):
        yield Violation(name, "is not a role of the fleet")
    for name in sorted(roles.keys() - served):
        if not roles[name].optional or name not in plan.left_out:
            yield Violation(name, "has no server")
    for name in sorted(set(plan.left_out) & served):
        yield Violation(name, "is left out and has a server")
    names = Counter(server.name for server in plan.servers)
    for name in sorted(name for name, count in names.items() if count > 1):
        yield Violation(name, "is the name of two servers")
    if Counter(plan.start_order) != names:
        yield Violation("start order", "does not name every server once")


def check_gpus(plan: Plan, fleet: Fleet) -> Iterator[Violation]:
    """Check that every ledger adds up to the byte and nothing is promised twice."""
    expected = [
        (pool.name, node, index, pool.gpu.name, pool.gpu.memory_bytes, *_held(pool))
        for pool in fleet.pools
        for node in pool.node_names
        for index in range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node)
    ]
    found = [(g.pool, g.node, g.index, g.gpu, g.total_bytes, g.system_bytes, g.memory_in_use_bytes) for g in plan.gpus]
    if found != expected:
        yield Violation("GPUs", "are not those of the fleet, with its memory in use")
    there = lookup(plan.servers).by_gpu
    for gpu in plan.gpus:
        where = f"GPU {gpu.index} of {gpu.node}"
        names = [server.name for server in there.get((gpu.node, gpu.index), ())]
        if names != list(gpu.servers):
            yield Violation(where, f"lists {', '.join(gpu.servers) or 'nothing'}, carries {', '.join(names)}")
        taken = sum(plan.server(name).ledger.total_bytes for name in names)
        if taken - gpu.shared_bytes != largest_awake(plan, gpu):
            yield Violation(where, f"takes {taken - gpu.shared_bytes} bytes, recomputed {largest_awake(plan, gpu)}")
        taken -= gpu.shared_bytes
        if gpu.system_bytes + gpu.memory_in_use_bytes + taken + gpu.free_bytes != gpu.total_bytes:
            yield Violation(where, "the ledger does not add up")
        if gpu.free_bytes < 0:
            yield Violation(where, f"is {-gpu.free_bytes} bytes too small")
    ports = Counter((server.node, port) for server in plan.servers for port in {server.port, server.master_port} - {0})
    for node, port in sorted(key for key, count in ports.items() if count > 1):
        yield Violation("ports", f"two servers on {node} listen on {port}")
    for server in plan.servers:
        if server.port == ROUTER_PORT or not FIRST_PORT <= server.port <= LAST_PORT:
            yield Violation(server.name, f"listens on port {server.port}, which is the router's or no port for servers")
    for server in plan.servers:
        if server.port == server.master_port:
            yield Violation("ports", f"{server.name} listens on {server.port} twice")


def _held(pool: Pool) -> tuple[int, int]:
    """Return what the operating system and others hold of each GPU."""
    return pool.gpu.system_memory_bytes, pool.memory_in_use_bytes


def check_roles(plan: Plan, fleet: Fleet) -> Iterator[Violation]:
    """Check the servers of every role together, and who may share a GPU with whom."""
    for role in fleet.roles:
        servers = [server for server in plan.servers if server.role == role.name]
        if servers:
            yield from _check_replicas(role, servers)
        if servers and role.across_pools:
            yield from _check_pools(list(plan.by_pool(role.name).values()))
        elif servers:
            yield from _check_alike(servers, _OWN_FIELDS)
    roles = {role.name: role for role in fleet.roles}
    for here in lookup(plan.servers).by_gpu.values():
        for one, other in combinations(here, 2):
            if not roles[one.role].shares_with(roles[other.role]):
                yield Violation(one.name, f"shares a GPU with {other.name}, which the fleet forbids")


def _check_replicas(role: Role, servers: list[ServerPlan]) -> Iterator[Violation]:
    if role.replicas is not None and len(servers) != role.replicas:
        yield Violation(role.name, f"has {len(servers)} servers instead of {role.replicas}")
    requests = sum(server.requests for server in servers)
    if requests < role.concurrency_min:
        yield Violation(role.name, f"serves {requests} requests of the {role.concurrency_min} required")
    ports = [server.port for server in servers]
    if role.port is not None and role.port not in ports:
        yield Violation(role.name, f"no server listens on port {role.port}")
    # Not on one node: fleet/placement.py refuses it, search/placing.py and search/board.py place by it.
    nodes = [node for server in servers for node in server.nodes]
    if role.spread == "node" and len(set(nodes)) < len(nodes):
        yield Violation(role.name, "has two servers on one node")


def _check_pools(pools: list[list[ServerPlan]]) -> Iterator[Violation]:
    """The servers of one pool are alike; those of several have what clients see in common."""
    for servers in pools:
        yield from _check_alike(servers, _OWN_FIELDS)
    yield from _check_alike([servers[0] for servers in pools], (*_OWN_FIELDS, *_OF_A_POOL))


def _check_alike(servers: list[ServerPlan], but: tuple[str, ...]) -> Iterator[Violation]:
    what = "name, port and place" if but == _OWN_FIELDS else "what servers in different pools may"
    first = _common(servers[0], but)
    for server in servers[1:]:
        if _common(server, but) != first:
            yield Violation(server.name, f"differs from {servers[0].name} in more than {what}")


def _common(server: ServerPlan, but: tuple[str, ...]) -> dict[str, object]:
    names = [name for name in server.__struct_fields__ if name not in but]
    return {name: getattr(server, name) for name in names}


def check_start(facts: Recomputed) -> Iterator[Violation]:
    """Start the servers one after another in the plan's order: each must find the memory it asks for.

    Servers that take turns may start at any time, so in such a plan each must find it with most of the others awake.
    """
    plan = facts.plan
    used = {(gpu.node, gpu.index): gpu.system_bytes + gpu.memory_in_use_bytes for gpu in plan.gpus}
    known: dict[tuple[Same[Server], Same[GPU], int], Estimate] = {}
    for name in plan.start_order:
        server = plan.server(name)
        gpu = facts.gpu(server)
        in_use = max(used[place] for place in server.gpus)
        if plan.time_share:
            here = [g for g in plan.gpus if (g.node, g.index) in server.gpus]
            in_use = max(g.system_bytes + g.memory_in_use_bytes + largest_awake(plan, g, without=name) for g in here)
        share = math.ceil(gpu.memory_bytes * server.gpu_memory_utilization)
        if share + server.ledger.baseline_bytes > gpu.memory_bytes - in_use:
            yield Violation(name, f"its utilization asks for {share} bytes, more than is free when it starts")
        made = facts.server(server)
        key = Same(made), Same(gpu), in_use
        expected = known[key] = known.get(key) or estimate(made, gpu, facts.profile, in_use)
        if not expected.starts:
            yield Violation(name, f"does not start: {expected.reason}")
        for place in server.gpus:
            used[place] += server.ledger.total_bytes
