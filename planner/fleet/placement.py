"""Where the roles of a fleet may be: pins, parallel sizes, replicas, and who shares GPUs with whom."""

from planner.fleet import values
from planner.fleet.facts import Pool
from planner.fleet.findings import Findings
from planner.fleet.schema import FleetMap, RoleMap
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
    stages = min(role.pipeline_parallel or (1,))
    if max(_places(pool, min(wanted)) for pool in pools) < stages:
        message = f"{stages} stages of {_gpus(min(wanted))} are more than {names} has"
        findings.refuse((*path, "pipeline_parallel"), message)
        return
    if stages > 1:
        hint = "split the layers with tensor_parallel, or allow 1 stage too"
        findings.refuse((*path, "pipeline_parallel"), "servers of several stages are not planned yet", hint)
    _check_replicas(findings, path, role, pools, (min(wanted), stages), names)


def _check_replicas(
    findings: Findings, path: FieldPath, role: RoleMap, pools: tuple[Pool, ...], least: tuple[int, int], names: str
) -> None:
    if role.spread is None or role.replicas is None:
        return
    size, stages = least
    if role.spread == "node":
        what, rooms = "node", [pool.nodes if _places(pool, size) >= stages else 0 for pool in pools]
    else:
        what, rooms = "GPU", [_places(pool, size) // stages for pool in pools]
    most = max(rooms)
    if role.replicas > most:
        largest = pools[rooms.index(most)]
        there = _gpus(largest.gpu_count) if what == "GPU" else f"{most} node{'s' * (most > 1)}"
        whose = f"{largest.name}, which has the most" if len(pools) > 1 else names
        message = f"{role.replicas} replicas, each on its own {what}, do not fit the {there} of {whose}"
        findings.refuse((*path, "replicas"), message, f"at most {most} fit; the replicas of a role are in one pool")


def _places(pool: Pool, size: int) -> int:
    """How many groups of ``size`` GPUs the nodes of a pool have."""
    return pool.nodes * (pool.gpus_per_node // size) if size in pool.tensor_parallel_sizes else 0


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"
