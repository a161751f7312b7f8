"""What a proof does not cover: layouts that the fleet's idle GPUs would allow and that were not compared."""

from collections.abc import Iterator

from planner.fleet import OWN_TASKS, Fleet, Pool, Role, may_share
from planner.options import STAGES
from planner.plan import Plan


def untried(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each checkpoint that is loaded twice, and for each role that idle GPUs could give more stages.

    Where a role leaves their number open, no pool has more than it takes for one of its candidates to fit.
    """
    yield from _twice(fleet, plan)
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


def _twice(fleet: Fleet, plan: Plan) -> Iterator[str]:
    """Yield a line for each role whose servers load what those of another do, where one server could do both."""
    checkpoints: dict[str, Role] = {}
    for role in fleet.roles:
        server = next((server for server in plan.servers if server.role == role.name), None)
        if server is None:
            continue
        first = checkpoints.setdefault(server.repository, role)
        if first is not role and may_share(first, role):
            yield (
                f"roles.{role.name}: loads the checkpoint of {first.name} a second time; set same_server_as to "
                f"{first.name} to have one server for both"
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
