"""The last stage of the objective: what the servers of a plan leave free, in the memory that the solver counts."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from planner.check.servers import Recomputed
from planner.check.violation import Violation
from planner.engine.flags import default_flags
from planner.fleet import Role
from planner.memory.asleep import residue
from planner.memory.demand import demand
from planner.options.ladders import sequence_limits
from planner.options.place import places
from planner.options.replicas import all_loads
from planner.options.speed import fast_enough
from planner.options.worth import counts_speed
from planner.plan import GPULedger, Plan, ServerPlan, Stage
from planner.plan.lookup import lookup
from planner.units import ceil_div

HEADROOM = "headroom"

Load = tuple[int, int]
"""The bytes that a server takes of each of its GPUs awake, and those it keeps asleep."""


def check_headroom(facts: Recomputed, stage: Stage) -> Iterator[Violation]:
    """Check that the servers leave as much free as the stage says."""
    least, most = _headroom(facts, proven=stage.proven)
    if not least <= stage.value <= most:
        yield Violation(f"stage {HEADROOM}", f"has the value {stage.value}, recomputed {most}")


def _headroom(facts: Recomputed, *, proven: bool) -> tuple[int, int]:
    """Return the least and the most bytes that the servers may count to leave free on all GPUs.

    A server counts with the memory of one that may take up to some limit of sequences, of which there are a few. Where
    the most left free is ``proven`` it is the lowest limit that its sequences fit, unless the server stands as an
    earlier plan had it. Servers of a role that nothing may be beside count all of their GPUs.
    """
    total = sum(pool.capacity_bytes * pool.gpu_count for pool in facts.fleet.pools)
    largest: dict[str, Load] = {}
    smallest: dict[str, Load] = {}
    for role in facts.fleet.roles:
        every = [server for server in facts.plan.servers if server.role == role.name]
        for servers in facts.plan.by_pool(role.name).values() if role.across_pools else [every] if every else ():
            sizes = _counted(facts, role, servers, every, proven=proven)
            largest |= {server.name: max(sizes) for server in servers}
            smallest |= {server.name: min(sizes) for server in servers}
    taken = [sum(_taken(facts.plan, gpu, loads) for gpu in facts.plan.gpus) for loads in (largest, smallest)]
    return total - taken[0], total - taken[1]


def _counted(
    facts: Recomputed, role: Role, servers: list[ServerPlan], every: list[ServerPlan], *, proven: bool
) -> list[Load]:
    """Return what a server of those in one pool, of ``every`` one of the role, may count."""
    first, held = servers[0], facts.plan.lock.held
    sizes = [_load(facts, role, first, limit) for limit in _limits(facts, role, first, len(servers))]
    if proven and not held:
        sizes = [min(sizes)]
    if held:
        sizes.append(_load(facts, role, first, first.max_num_seqs))
    pool = facts.pool(first)
    assert pool is not None
    whole = _alone(facts, role, every)
    full = pool.capacity_bytes, pool.capacity_bytes
    return [full] if whole else sizes if whole is False else [*sizes, full]


def _taken(plan: Plan, gpu: GPULedger, loads: Mapping[str, Load]) -> int:
    """Return what the servers of a GPU count at most, whichever set of roles is awake."""
    here = lookup(plan.servers).by_gpu.get((gpu.node, gpu.index), ())
    sets = plan.awake_sets or (tuple(server.role for server in here),)
    return max(sum(loads[server.name][server.role not in awake] for server in here) for awake in sets)


def _alone(facts: Recomputed, role: Role, servers: list[ServerPlan]) -> bool | None:
    """Whether nothing may be beside a server of a role; None where that hangs on what the plan does not say.

    An optional role that was left out counts if it could have been served, and more servers of a role may be on one
    GPU if they fit.
    """
    served = {server.role for server in facts.plan.servers}
    others = [other for other in facts.fleet.roles if other.name != role.name]
    if any(role.shares_with(other) for other in others if other.name in served) or _together(servers):
        return False
    sure = len(served) > 1 and not any(role.shares_with(other) for other in others)
    return True if sure and (role.replicas in (None, 1) or role.spread) else None if others else False


def _together(servers: list[ServerPlan]) -> bool:
    places = [place for server in servers for place in server.gpus]
    return len(set(places)) < len(places)


def _limits(facts: Recomputed, role: Role, server: ServerPlan, replicas: int) -> set[int]:
    """Return the limits of sequences that a server may have been counted with: its own where speed counts."""
    if counts_speed(facts.plan.objective):
        return {server.max_num_seqs}
    found = list(all_loads(role, (replicas,), server.data_parallel_size))
    if role.wants_speed:
        place = next(one for one in places(facts.fleet, facts.profile) if one.nodes == facts.pool(server))
        batch = default_batch(facts, server, role, replicas * server.data_parallel_size)
        found, _ = fast_enough(role, facts.server(server), place, facts.catalog.speed, found, batch, len(server.nodes))
    return {
        limit
        for load in found
        if load.least <= server.max_num_seqs <= load.most
        for limit in sequence_limits(load.least, min(load.most, server.max_num_batched_tokens))
        if limit >= server.max_num_seqs
    } or {server.max_num_seqs}


def _load(facts: Recomputed, role: Role, server: ServerPlan, limit: int) -> Load:
    made = facts.server(server)
    flags = replace(made.flags, max_num_seqs=limit, kv_cache_memory_bytes=None)
    made = replace(made, flags=flags)
    gpu = facts.gpu(server)
    awake = demand(made, gpu, facts.profile, server.request_tokens).footprint(server.max_num_seqs)
    return awake, residue(made, gpu, facts.profile, role.sleeps).gpu_bytes


def default_batch(facts: Recomputed, server: ServerPlan, role: Role, ranks: int) -> int:
    """Return the batch the engine would choose itself, for the most requests a rank of the role is asked to take."""
    target, most = role.concurrency_target, role.concurrency_target // ranks
    full = server.max_num_seqs > most or role.across_pools
    asked = server.max_num_seqs if counts_speed(facts.plan.objective) else ceil_div(target, ranks) if full else most
    flags = default_flags(
        facts.profile,
        facts.gpu(server),
        facts.server(server).architecture,
        max_model_len=server.max_model_len,
        max_num_seqs=asked,
    )
    return flags.max_num_batched_tokens
