"""The pools of a fleet: the GPUs its file names, looked up in the catalog, and on which nodes they are."""

from collections.abc import Sequence
from typing import Any

from planner.errors import UnknownName
from planner.facts.gpu import GPU, CloudPrice
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.fleet import Pool
from planner.fleet.price import owned_per_hour, priced, rented
from planner.fleet.schema import FleetMap, GPUMap, PoolMap
from planner.units import format_gib
from planner.yaml_source import FieldPath, dotted

SHORT_FORM = "gpu"
"""Name and path of the one pool of a file that has ``gpu`` instead of ``nodes``."""

_NEAR = 3
"""Names that are offered in place of one that nothing has."""


def pools(findings: Findings, read: FleetMap) -> tuple[Pool, ...]:
    """Return the pools in order of their names; those that cannot be read are noted in ``findings`` and left out."""
    written = findings.source.data
    if "gpu" in written and "nodes" in written:
        findings.refuse(("nodes",), "a fleet has either gpu or nodes", "move the GPU into nodes", at_key=True)
    if "gpu" not in written and "nodes" not in written:
        findings.refuse(
            ("gpu",), "required key is missing", "the GPU that carries the fleet, or nodes for several kinds"
        )
    if written.get("nodes") == {}:
        findings.refuse(("nodes",), "a fleet needs at least one node", "write one, such as box: {gpu: L40S, gpus: 2}")
    found = [_short_form(findings, read)] if read.gpu else []
    found += [_pool(findings, name, (read.nodes or {})[name]) for name in sorted(read.nodes or {})]
    known = tuple(priced(pool, findings.catalog) for pool in found if pool)
    if _check_nodes(findings, known):
        _check_devices(findings, known)
    return known


def _short_form(findings: Findings, read: FleetMap) -> Pool | None:
    if read.gpu is None:
        return None
    path: FieldPath = ("gpu",)
    gpu = _gpu(findings, path, "name", read.gpu.name, read.gpu.memory_in_use)
    if gpu is None:
        return None
    offer = findings.catalog.instance(read.gpu.name or "")
    return Pool(
        name=SHORT_FORM,
        path=SHORT_FORM,
        gpu=gpu,
        node_names=(read.name or SHORT_FORM,),
        gpus_per_node=_gpus(findings, (*path, "count"), read.gpu.count, offer),
        gpu_index=read.gpu.index,
        memory_in_use_bytes=read.gpu.memory_in_use,
        **_cost(findings, path, gpu, read.gpu, offer),
        host_memory_bytes=read.gpu.host_memory,
    )


def _pool(findings: Findings, name: str, read: PoolMap) -> Pool | None:
    path: FieldPath = ("nodes", name)
    if refusal := values.name_refusal(name):
        findings.refuse(path, *refusal, at_key=True)
    if read.node and read.count > 1:
        message = f"{read.count} nodes cannot all be {read.node}"
        findings.refuse((*path, "node"), message, "a pool that names its node has one node")
    if read.gpus * read.count > values.MAX_GPUS:
        message = f"{read.count} nodes of {read.gpus} GPUs are more than the {values.MAX_GPUS} GPUs a fleet may have"
        findings.refuse((*path, "count"), message)
    gpu = _gpu(findings, path, "gpu", read.gpu, read.memory_in_use)
    many = tuple(f"{name}-{number}" for number in range(1, read.count + 1))
    nodes = many if read.count > 1 else (read.node or name,)
    if _refused_without(findings, (*path, "without"), read.without or (), nodes) or gpu is None:
        return None
    offer = findings.catalog.instance(read.gpu or "")
    return Pool(
        name=name,
        path=f"nodes.{name}",
        gpu=gpu,
        node_names=tuple(node for node in nodes if node not in (read.without or ())),
        without=tuple(node for node in nodes if node in (read.without or ())),
        gpus_per_node=_gpus(findings, (*path, "gpus"), read.gpus, offer),
        gpu_index=read.index,
        memory_in_use_bytes=read.memory_in_use,
        **_cost(findings, path, gpu, read, offer),
        host_memory_bytes=read.host_memory,
    )


def _refused_without(findings: Findings, path: FieldPath, named: Sequence[str | None], nodes: Sequence[str]) -> bool:
    """Refuse nodes that the pool does not have, and a pool of which none is left; return whether that was so."""
    unknown = [(index, name) for index, name in enumerate(named) if name and name not in nodes]
    for index, name in unknown:
        shown = nodes[0] if len(nodes) == 1 else f"{nodes[0]} to {nodes[-1]}"
        hint = values.suggestion(name, nodes, f"the pool has {shown}")
        findings.refuse(findings.item(path, index), f"unknown node {values.found(name)}", hint)
    if nodes and set(nodes) <= set(named):
        findings.refuse(path, "no node of the pool is left", "take the whole pool out of nodes")
        return True
    return bool(unknown)


def _gpus(findings: Findings, path: FieldPath, stated: int, offer: CloudPrice | None) -> int:
    """Return the GPUs of a node: those of the instance that the file names, or what it states."""
    if offer is None:
        return stated
    if stated not in (1, offer.gpu_count):
        hint = "leave it out; several instances are a pool: nodes: {cloud: {gpu: NAME, count: 2}}"
        findings.refuse(path, f"{offer.instance} has {offer.gpu_count} GPUs, not {stated}", hint)
    return offer.gpu_count


def _cost(
    findings: Findings, path: FieldPath, gpu: GPU, read: GPUMap | PoolMap, offer: CloudPrice | None
) -> dict[str, Any]:
    """Return what the file says a GPU costs for an hour, or the instance that it names, and where."""
    owned = read.owned
    if owned is None and read.price_per_hour is None and offer:
        return rented(offer, findings.catalog, offer.gpu_count)
    if owned is None:
        return {"microdollars_per_gpu_hour": read.price_per_hour}
    if read.price_per_hour is not None:
        findings.refuse(
            (*path, "owned"), "price_per_hour and owned say the same thing", "give one of them", at_key=True
        )
    watts = owned.watts or gpu.board_watts
    if owned.electricity_per_kwh and watts is None:
        hint = "say what one draws: watts: 300"
        findings.refuse((*path, "owned"), f"the board power of {gpu.name} is not known", hint, at_key=True)
    if owned.price is None or owned.years is None:
        return {}
    hourly = owned_per_hour(owned.price, owned.years, owned.electricity_per_kwh or 0, watts or 0)
    return {"microdollars_per_gpu_hour": hourly, "price_source": f"{dotted(path)}.owned"}


def _gpu(findings: Findings, path: FieldPath, key: str, name: str | None, memory_in_use: int) -> GPU | None:
    """Look up a GPU; its name stands at ``key``, or alone in place of the map."""
    if name is None:
        return None
    here = (*path, key) if (*path, key) in findings.source.values else path
    offer = findings.catalog.instance(name)
    try:
        gpu = findings.catalog.gpu(offer.gpu if offer else name)
    except UnknownName as error:
        near = (*findings.catalog.near_instances(name), *error.nearest)
        findings.refuse_name(here, UnknownName(error.kind, name, near[:_NEAR]))
        return None
    if gpu.refusal:
        findings.refuse(here, f"no plan can be made for {gpu.name}", gpu.refusal)
    usable_bytes = gpu.memory_bytes - gpu.system_memory_bytes
    if memory_in_use >= usable_bytes:
        beside = " beside the operating system's part" if gpu.system_memory_bytes else ""
        message = f"{format_gib(memory_in_use)} is all of the {format_gib(usable_bytes)} that {gpu.name} has{beside}"
        findings.refuse((*path, "memory_in_use"), message)
    return gpu


def _check_nodes(findings: Findings, found: tuple[Pool, ...]) -> bool:
    """Refuse, at both places, a node of a pool of several that another pool names too; return whether there is none.

    Only pools of one node each may say that they are GPUs of one machine.
    """
    owners: dict[str, Pool] = {}
    for pool in found:
        shared = next((node for node in pool.node_names if node in owners), None)
        if shared and max(pool.nodes, owners[shared].nodes) > 1:
            for one, other in ((owners[shared], pool), (pool, owners[shared])):
                message = f"node {shared} is one of pool {one.name} and one of pool {other.name}"
                findings.refuse(("nodes", one.name), message, "give one of the pools another name", at_key=True)
            return False
        owners |= dict.fromkeys(pool.node_names, pool)
    return True


def _check_devices(findings: Findings, found: tuple[Pool, ...]) -> None:
    """Refuse nodes that two pools give the same device numbers."""
    owners: dict[tuple[str, int], Pool] = {}
    for pool in found:
        devices = range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node)
        taken = [(node, device) for node in pool.node_names for device in devices if (node, device) in owners]
        if taken:
            node, device = taken[0]
            other = owners[node, device]
            hint = f"index: {other.gpu_index + other.gpus_per_node}"
            path: FieldPath = ("nodes", pool.name, "index")
            findings.refuse(path, f"GPU {device} of node {node} is already that of pool {other.name}", hint)
        owners |= {(node, device): pool for node in pool.node_names for device in devices}
