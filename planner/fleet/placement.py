"""Where the roles of a fleet may be: pins, parallel sizes, replicas, and who shares GPUs with whom."""

from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.fleet import Pool
from planner.fleet.schema import OWN_TASKS, FleetMap, RoleMap
from planner.yaml_source import FieldPath


def check_placement(findings: Findings, read: FleetMap, pools: tuple[Pool, ...]) -> None:
    """Refuse placements that name what is not there, contradict each other, or need more than the fleet has."""
    for name in sorted(read.roles):
        role, path = read.roles[name], ("roles", name)
        _check_sharing(findings, path, read, role)
        if _check_pins(findings, path, read, role):
            allowed = tuple(pool for pool in pools if role.pool is None or pool.name in role.pool)
            _check_room(findings, path, role, allowed)


def _check_sharing(findings: Findings, path: FieldPath, read: FleetMap, role: RoleMap) -> None:
    if role.share_with is None:
        return
    here = (*path, "share_with")
    own = path[-1]
    if role.exclusive:
        findings.refuse(
            here, "an exclusive role shares with nobody", "keep one of exclusive and share_with", at_key=True
        )
    for index, other in enumerate(filter(None, role.share_with)):
        place = findings.item(here, index)
        if other not in read.roles:
            hint = values.suggestion(other, read.roles, f"the roles are {', '.join(sorted(read.roles))}")
            findings.refuse(place, f"unknown role {values.found(other)}", hint)
        elif other == own and role.spread:
            findings.refuse(place, f"replicas spread over {role.spread}s do not share", "keep one of the two")
        elif other != own and (refusal := _not_mutual(str(own), other, read.roles[other])):
            findings.refuse(place, *refusal)


def _not_mutual(own: str, other: str, role: RoleMap) -> tuple[str, str] | None:
    """Return why a role that is named under ``share_with`` does not share with the one that names it."""
    if role.exclusive:
        return f"{other} is exclusive", "drop exclusive there, or the name here"
    if role.share_with is not None and own not in role.share_with:
        return f"{other} does not share with {own}", f"add {own} to share_with of {other}, or drop the name here"
    return None


def _check_pins(findings: Findings, path: FieldPath, read: FleetMap, role: RoleMap) -> bool:
    """Refuse pools that the file does not have; return whether all are there."""
    known = findings.source.data.get("nodes")
    known = known if isinstance(known, dict) else {}
    unknown = [(index, name) for index, name in enumerate(role.pool or ()) if name and name not in known]
    for index, name in unknown:
        otherwise = f"the pools are {', '.join(sorted(known))}" if known else "only a fleet with nodes has pools"
        hint = values.suggestion(name, known, otherwise)
        findings.refuse(findings.item((*path, "pool"), index), f"unknown pool {values.found(name)}", hint)
    return not unknown


def _check_room(findings: Findings, path: FieldPath, role: RoleMap, pools: tuple[Pool, ...]) -> None:
    """Refuse sizes that no pool of the role has, and more replicas than the GPUs or nodes they spread over."""
    if not pools:
        return
    sizes = [size for pool in pools for size in pool.tensor_parallel_sizes]
    wanted = [size for size in role.tensor_parallel or sizes if size in sizes]
    names = " or ".join(pool.name for pool in pools) if role.pool else "the fleet"
    if role.tensor_parallel and not wanted:
        hint = f"a node of {names} allows at most {max(sizes)}"
        hint += "; MIG slices cannot be combined" if any(pool.gpu.parent for pool in pools) else ""
        findings.refuse((*path, "tensor_parallel"), f"no node can split a server {role.tensor_parallel[0]} ways", hint)
        return
    stages = role.pipeline_parallel or (1,)
    if role.task in OWN_TASKS and min(stages) > 1:
        hint = "split its layers with tensor_parallel, or allow 1 stage too"
        findings.refuse((*path, "pipeline_parallel"), f"a role for {role.task} has no pipeline stages", hint)
        return
    if _refused_ranks(findings, path, role):
        return
    shapes = [(pool, size, count, 1) for pool in pools for size in wanted for count in stages]
    shapes = [shape for shape in shapes if shape[0].server_nodes(*shape[1:])]
    if not shapes:
        message = f"{min(stages)} stages of {_gpus(min(wanted))} fit neither one node of {names} nor a node each"
        hint = "MIG slices cannot be combined" if any(pool.gpu.parent for pool in pools) else ""
        findings.refuse((*path, "pipeline_parallel"), message, hint)
        return
    ranks = role.data_parallel or (1,)
    if 1 not in ranks:
        shapes = [(pool, size, count, data) for pool, size, count, _ in shapes for data in ranks]
        shapes = [shape for shape in shapes if shape[0].server_nodes(*shape[1:])]
    if not shapes:
        message = f"{min(ranks)} data-parallel ranks of {_gpus(min(wanted) * min(stages))} do not fit {names}"
        hint = "ranks fit one node, or fill nodes with a power of two of them on each"
        findings.refuse((*path, "data_parallel"), message, hint)
        return
    _check_replicas(findings, path, role, shapes, names if len(pools) == 1 else "")


def _refused_ranks(findings: Findings, path: FieldPath, role: RoleMap) -> bool:
    """Refuse data, context and expert parallelism of a role with a task of its own; return whether that was so."""
    if role.task not in OWN_TASKS:
        return False
    asked = {
        "data_parallel": min(role.data_parallel or (1,)) > 1 and "data-parallel ranks",
        "context_parallel": min(role.context_parallel or (1,)) > 1 and "tokens to deal out over ranks",
        "expert_parallel": role.expert_parallel is True and "experts that ranks share out whole",
    }
    for key, what in asked.items():
        if what:
            hint = "have more replicas instead, or leave the key out"
            findings.refuse((*path, key), f"a role for {role.task} has no {what}", hint)
    return any(asked.values())


def _check_replicas(
    findings: Findings, path: FieldPath, role: RoleMap, shapes: list[tuple[Pool, int, int, int]], names: str
) -> None:
    """Refuse more replicas than fit apart from each other in any pool; ``names`` is that of the only one."""
    if role.spread is None or role.replicas is None:
        return
    rooms: dict[str, int] = {}
    for shape in shapes:
        rooms[shape[0].name] = max(rooms.get(shape[0].name, 0), _room(*shape, role.spread))
    most = sum(rooms.values()) if role.across_pools else max(rooms.values())
    if role.replicas > most:
        largest = max((shape[0] for shape in shapes), key=lambda pool: rooms[pool.name])
        pools = {pool.name: pool for pool, *_ in shapes} if role.across_pools else {largest.name: largest}
        gpus = sum(pool.gpu_count for pool in pools.values())
        there = _gpus(gpus) if role.spread == "gpu" else f"{most} node{'s' * (most > 1)}"
        whose = names or ("all its pools" if role.across_pools else f"{largest.name}, which has the most")
        what = "GPU" if role.spread == "gpu" else "node"
        message = f"{role.replicas} replicas, each on its own {what}, do not fit the {there} of {whose}"
        hint = "" if role.across_pools else "; the replicas of a role are in one pool"
        hint += "" if role.across_pools or names else " unless it says across_pools: true"
        findings.refuse((*path, "replicas"), message, f"at most {most} fit{hint}")


def _room(pool: Pool, size: int, stages: int, data_ranks: int, spread: str) -> int:
    """Return how many servers of so many stages and ranks a pool has GPUs, or nodes, of their own for."""
    # Not on one node: search/placing.py and search/board.py place by this rule, check/placement.py checks it.
    if spread == "gpu":
        return pool.servers(size, stages, data_ranks)
    return pool.nodes // pool.server_nodes(size, stages, data_ranks)


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"
