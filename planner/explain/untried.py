"""What a proof does not cover: layouts that the fleet's idle GPUs would allow and that were not compared."""

from collections.abc import Iterator

from planner.engine.versions import parse_version
from planner.explain.words import listed
from planner.fleet import OWN_TASKS, Fleet, Pool, Role, may_share
from planner.fleet.experts import has_experts
from planner.options import STAGES
from planner.options.candidates import allowed
from planner.options.ladders import EVERY_SERVER
from planner.options.limits import DATA_RANKS
from planner.options.needed import FEW
from planner.plan import Plan


def untried(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each checkpoint that is loaded twice, and for each role that other layouts could do more for.

    A mixture short of memory for requests could have data-parallel ranks, a role beside idle GPUs more stages.
    Where a role leaves their number open, no pool has more than it takes for one of its candidates to fit.
    """
    yield from _twice(fleet, plan)
    yield from _without_ranks(fleet, plan)
    yield from _in_one_pool(fleet, plan)
    yield from _between_steps(fleet)
    short = {binding.role for binding in plan.bindings if binding.limit in ("memory", "objective")}
    idle = {gpu.pool for gpu in plan.gpus if not gpu.servers}
    for role in fleet.roles:
        stages = {server.pipeline_parallel_size for server in plan.servers if server.role == role.name}
        if role.name in short and role.pipeline_parallel_sizes is None and role.task not in OWN_TASKS and stages:
            pools = [pool for pool in fleet.pools_of(role) if pool.name in idle]
            more = _more(role, pools, max(stages))
            if more:
                compared = ", ".join(map(str, (*sorted(stages), more)))
                yield (
                    f"roles.{role.name}: GPUs are idle, and no more pipeline stages were compared than it takes; "
                    f"set pipeline_parallel to [{compared}] to compare them"
                )


def _between_steps(fleet: Fleet) -> Iterator[str]:
    """Yield a line for each role that may have so many servers that not every number of them was compared."""
    for role in fleet.roles:
        most = max((pool.gpu_count for pool in fleet.pools_of(role)), default=0)
        if role.replicas is None and min(most, role.concurrency_target) > EVERY_SERVER:
            yield (
                f"roles.{role.name}: beyond {EVERY_SERVER} servers not every number of them was compared; set replicas "
                "to a number to have just that one"
            )


def _twice(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each role whose servers load what those of another do, where one server could do both.

    Roles that take turns are not among them: they are seldom loaded together, and share no server with others.
    """
    checkpoints: dict[str, Role] = {}
    turning = {name for group in fleet.time_share for name in group.roles}
    for role in fleet.roles:
        if role.name in turning:
            continue
        server = next((server for server in plan.servers if server.role == role.name), None)
        if server is None:
            continue
        first = checkpoints.setdefault(server.repository, role)
        if first is not role and may_share(first, role):
            yield (
                f"roles.{role.name}: loads the checkpoint of {first.name} a second time; set same_server_as to "
                f"{first.name} to have one server for both"
            )


def _without_ranks(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each mixture of experts that memory keeps from more requests, where ranks were not compared."""
    if parse_version(plan.engine_version) < parse_version(DATA_RANKS):
        return
    short = {binding.role for binding in plan.bindings if (binding.what, binding.limit) == ("concurrency", "memory")}
    idle = {gpu.pool for gpu in plan.gpus if not gpu.servers}
    for role in fleet.roles:
        if role.name not in short or role.data_parallel_sizes != (1,) or role.task in OWN_TASKS:
            continue
        server = next(server for server in plan.servers if server.role == role.name)
        mixture = any(model.name == server.model and has_experts(model) for model in role.models)
        pools = [pool for pool in fleet.pools_of(role) if pool.server_nodes(1, 1, 2)]
        if mixture and (server.ranks > 1 or any(pool.name in idle for pool in pools)) and pools:
            yield (
                f"roles.{role.name}: memory keeps {server.model} from more requests, and ranks that share out its "
                "experts were not compared; set data_parallel to auto to compare them"
            )


def _in_one_pool(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each role that idle GPUs of another pool might do more for, and where not all was compared."""
    short = {binding.role for binding in plan.bindings if (binding.what, binding.limit) == ("concurrency", "memory")}
    idle = {gpu.pool for gpu in plan.gpus if not gpu.servers}
    for role in fleet.roles:
        pools = [pool.name for pool in fleet.pools_of(role) if pool.name in idle - plan.by_pool(role.name).keys()]
        count = len(allowed(role))
        if role.across_pools and count > FEW:
            yield (
                f"roles.{role.name}: of its {count} checkpoints only some were compared, those that are most accurate "
                "for their size; name models to compare others with across_pools"
            )
        elif pools and role.name in short and role.replicas != 1 and not role.across_pools:
            yield (
                f"roles.{role.name}: GPUs of {listed(pools)} are idle, and servers in several pools were not compared; "
                "set across_pools to true to compare them"
            )


def _more(role: Role, pools: list[Pool], stages: int) -> int:
    """Return the next number of stages that a pool allows on more GPUs than one node of it has; 0 for none."""
    found = [
        count
        for count in STAGES
        for pool in pools
        for size in role.tensor_parallel_sizes or pool.tensor_parallel_sizes
        if count > stages and pool.server_nodes(size, count) > 1
    ]
    return min(found, default=0)
