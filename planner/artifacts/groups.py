"""Groups of a cluster: servers on several machines, of which equal ones are one LeaderWorkerSet with replicas."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.artifacts.cluster import group_name, service_name
from planner.artifacts.processes import Server, all_processes
from planner.artifacts.quoting import slug
from planner.artifacts.replicas import alike
from planner.artifacts.serve_args import MASTER_PORT, RANKS_PORT
from planner.artifacts.workloads import Slot, workloads
from planner.engine.options import engine_options
from planner.plan import Plan


class API(Struct, frozen=True, kw_only=True):
    """Where the pods of one ``rank`` answer, one in each group: the Service through which the router reaches them."""

    rank: int
    service: str


class GroupSet(Struct, frozen=True, kw_only=True):
    """Equal groups of pods: one LeaderWorkerSet, called ``object``, with ``replicas`` groups of ``node_count`` pods.

    ``name`` is what its container and its labels are called, ``servers`` are the plan's, one for each group, of which
    ``server`` is the first. All use the first one's ports: ``port``, and ``master_port`` among themselves.
    """

    name: str
    object: str
    replicas: int
    node_count: int
    server: str
    servers: tuple[str, ...]
    port: int
    master_port: int
    apis: tuple[API, ...]


class InCluster(Struct, frozen=True, kw_only=True):
    """What has each server of a plan, by the server's name in files: on one machine a slot, on several a set."""

    slots: Mapping[str, Slot]
    sets: Mapping[str, GroupSet]


def group_sets(fleet: str, processes: Sequence[Server]) -> tuple[GroupSet, ...]:
    """Return the LeaderWorkerSets of all servers on several machines, in the order of their first ones."""
    whole: dict[str, list[Server]] = {}
    for process in processes:
        if process.node_count > 1:
            whole.setdefault(process.name, []).append(process)
    equal: dict[object, list[list[Server]]] = {}
    for parts in whole.values():
        equal.setdefault(_shape(parts), []).append(parts)
    everywhere = [role for role, _ in dict.fromkeys((process.role, process.name) for process in processes)]
    return tuple(_set(fleet, groups, everywhere) for groups in equal.values())


def in_cluster(plan: Plan) -> InCluster:
    """Return what has each server in a cluster."""
    processes = all_processes(plan, engine_options(plan.engine_version))
    slots = (slot for workload in workloads(plan.fleet, processes) for slot in workload.slots)
    return InCluster(
        slots={server: slot for slot in slots for server in slot.servers},
        sets={server: one for one in group_sets(plan.fleet, processes) for server in one.servers},
    )


def _shape(parts: Sequence[Server]) -> object:
    """Return all that the pods of a group say of their server.

    Groups that the fleet spreads equal no others: an anti-affinity keeps a pod from those of the same labels, but not
    from those of its own group, and labels that the manifest can name are the same in all groups of a set.
    """
    apart = parts[0].name if parts[0].spread == "node" else ""
    return apart, tuple((alike(_without_ports(part)), part.memory_bytes, part.start_seconds) for part in parts)


def _without_ports(part: Server) -> Server:
    """Return a process without the port on which its group meets: every pod has an address of its own."""
    arguments = tuple(one for one in part.arguments if one.flag not in (MASTER_PORT, RANKS_PORT))
    return replace(part, arguments=arguments)


def _set(fleet: str, groups: Sequence[Sequence[Server]], everywhere: Sequence[str]) -> GroupSet:
    """Return the set of equal groups, called as their role where the role has no other servers."""
    first = groups[0][0]
    name = slug(first.role) if len(groups) == everywhere.count(first.role) > 1 else first.name
    return GroupSet(
        name=name,
        object=group_name(fleet, name, replicas=len(groups)),
        replicas=len(groups),
        node_count=first.node_count,
        server=first.name,
        servers=tuple(parts[0].name for parts in groups),
        port=first.port,
        master_port=first.master_port,
        apis=tuple(
            API(rank=part.rank, service=service_name(fleet, name, node_count=first.node_count, rank=part.rank))
            for part in groups[0]
            if part.answers
        ),
    )
