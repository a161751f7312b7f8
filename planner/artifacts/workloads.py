"""Workloads of a cluster: equal pods are one object with replicas, and the router finds their servers by one name."""

from collections.abc import Sequence

from msgspec import Struct

from planner.artifacts.cluster import service_name
from planner.artifacts.processes import Server
from planner.artifacts.quoting import slug
from planner.artifacts.replicas import alike


class Slot(Struct, frozen=True, kw_only=True):
    """One server of each pod of a workload.

    ``name`` is what it is called there, ``servers`` are the plan's, one for each pod, of which ``server`` is the first.
    All listen on ``port``, the first one's, and are reached through ``service``. ``gpu_indices`` count from the pod's
    first GPU.
    """

    name: str
    server: str
    servers: tuple[str, ...]
    service: str
    port: int
    gpu_indices: tuple[int, ...]


class Claim(Struct, frozen=True, kw_only=True):
    """How NVIDIA's DRA driver finds one GPU of a pod."""

    device_class: str
    device_expression: str


class Workload(Struct, frozen=True, kw_only=True):
    """Equal pods: ``replicas`` of them on ``machines`` machines, each with ``slots`` that share its GPUs.

    ``roles`` are those of its servers, ``spread`` those of which no node may have two servers, ``crowded`` those with
    more than one server in a pod, which go when its node goes. ``claims`` are the GPUs of a pod.
    """

    name: str
    replicas: int
    machines: int
    slots: tuple[Slot, ...]
    roles: tuple[str, ...]
    spread: tuple[str, ...]
    crowded: tuple[str, ...]
    claims: tuple[Claim, ...]


def in_pods(processes: Sequence[Server]) -> list[list[Server]]:
    """Return the servers on one machine in groups that wait for one another, in the order in which they start."""
    servers = [process for process in processes if process.node_count == 1]
    place = {server.name: number for number, server in enumerate(servers)}
    groups: dict[int, list[int]] = {}
    group_of: dict[int, int] = {}
    for number, server in enumerate(servers):
        joined = sorted({group_of[place[name]] for name in server.after if name in place})
        groups[number] = sorted([number, *(other for group in joined for other in groups.pop(group))])
        group_of |= dict.fromkeys(groups[number], number)
    return [[servers[number] for number in group] for group in sorted(groups.values())]


def workloads(fleet: str, processes: Sequence[Server]) -> tuple[Workload, ...]:
    """Return the workloads of all servers on one machine, in the order of their first pods."""
    equal: dict[object, list[list[Server]]] = {}
    for pod in in_pods(processes):
        equal.setdefault(_shape(pod), []).append(pod)
    everywhere = [process.role for process in processes if process.rank == 0]
    return tuple(_workload(fleet, group, everywhere) for group in equal.values())


def _shape(pod: Sequence[Server]) -> object:
    """Return all that a pod says of its servers."""
    return tuple((alike(server), server.spread, _own(server, pod)) for server in pod)


def _indices(pod: Sequence[Server]) -> list[int]:
    return sorted({index for server in pod for index in server.gpu_indices})


def _own(server: Server, pod: Sequence[Server]) -> tuple[int, ...]:
    """Return the GPUs of a server as numbers within its pod, where a cluster counts anew."""
    indices = _indices(pod)
    return tuple(indices.index(index) for index in server.gpu_indices)


def _workload(fleet: str, pods: Sequence[Sequence[Server]], everywhere: Sequence[str]) -> Workload:
    first = pods[0]
    roles = [server.role for server in first]
    slots = tuple(_slot(fleet, [pod[place] for pod in pods], first, everywhere) for place in range(len(first)))
    claimed = [next(server for server in first if index in server.gpu_indices) for index in _indices(first)]
    return Workload(
        name=slots[0].name,
        replicas=len(pods),
        machines=len({pod[0].node for pod in pods}),
        slots=slots,
        roles=tuple(dict.fromkeys(roles)),
        spread=tuple(dict.fromkeys(server.role for server in first if server.spread == "node")),
        crowded=tuple(role for role in dict.fromkeys(roles) if roles.count(role) > 1),
        claims=tuple(Claim(device_class=one.device_class, device_expression=one.device_expression) for one in claimed),
    )


def _slot(fleet: str, replicas: Sequence[Server], pod: Sequence[Server], everywhere: Sequence[str]) -> Slot:
    """Return the slot of equal servers, called as their role where the role has no others."""
    server = replicas[0]
    whole = len(replicas) == everywhere.count(server.role) > 1
    return Slot(
        name=slug(server.role) if whole else server.name,
        server=server.name,
        servers=tuple(one.name for one in replicas),
        service=service_name(fleet, server.role) if whole else server.service,
        port=server.port,
        gpu_indices=_own(server, pod),
    )
