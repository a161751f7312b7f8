"""Verify: what stands in the rendered files is the plan, and with what stands there every server still fits and starts.

Nothing is taken from the plan but what no option carries: the commands are read from the files themselves, turned back
into servers, compared, and checked again by the memory model.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from planner.artifacts.groups import InCluster, in_cluster
from planner.artifacts.kserve import KSERVE
from planner.artifacts.nodes import Part, address_variable, many, on_nodes, parts
from planner.artifacts.quoting import label, slug
from planner.artifacts.ray import RAY, as_planned
from planner.artifacts.read_back import WORKER, Command, read_back
from planner.artifacts.read_routes import wrong_routes
from planner.artifacts.serve_args import (
    ALL_ADDRESSES,
    LOOPBACK,
    Argument,
    planned_server,
    refused_arguments,
    serve_arguments,
    serve_environment,
)
from planner.artifacts.targets import CLUSTER_TARGETS, HELM, KUBERNETES
from planner.artifacts.workloads import Slot
from planner.catalog import Catalog
from planner.check import check
from planner.engine.options import EngineOptions, engine_options
from planner.fleet import Fleet
from planner.plan import GPUGroup, Plan, ServerPlan

# Set in every pod of a LeaderWorkerSet.
LEADER_ADDRESS, WORKER_INDEX, OWN_ADDRESS = "LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX", "VLLM_HOST_IP"
_NOT_PLANNED = ", which is not planned"


class Difference(Struct, frozen=True, order=True):
    """One thing in a rendered file that is not as planned, or does not hold: the target, the server, and what."""

    target: str
    server: str
    message: str

    def __str__(self) -> str:
        return f"{self.target}: {self.server}: {self.message}" if self.server else f"{self.target}: {self.message}"


def verify(plan: Plan, fleet: Fleet, catalog: Catalog, folder: Path) -> tuple[tuple[str, ...], list[Difference]]:
    """Return the targets found in a rendered folder, and every difference between their files and the plan.

    Raises:
        InputError: nothing was rendered there, or a file cannot be read back.
    """
    targets: dict[str, dict[str, Command]] = {}
    found: list[Difference] = []
    for part, place in _parts(plan, folder):
        for target, commands in _by_target(read_back(place)).items():
            found += compared(part, target, commands)
            heads = {name for name, planned in _planned(part, target).items() if planned.rank == 0}
            targets.setdefault(target, {}).update({name: commands[name] for name in heads & commands.keys()})
    for target, commands in targets.items():
        if all(_spelled(server, target) in commands for server in plan.servers):
            found += _checked(plan, fleet, catalog, target, commands)
    for part, place in _parts(plan, folder):
        for path, mistakes in wrong_routes(part, place).items():
            target, _, file = path.partition("/")
            targets.setdefault(target, {})
            found += [Difference(target, file, mistake) for mistake in mistakes]
    return tuple(targets), sorted(set(found))


def _parts(plan: Plan, folder: Path) -> Iterator[tuple[Plan, Path]]:
    """Yield what each rendered folder must hold: the plan, or one node's share of it in a folder of the node's name."""
    if not many(plan):
        yield plan, folder
        return
    for node, share in on_nodes(plan):
        yield share, folder / slug(node)
    if any((folder / name).is_dir() for name in CLUSTER_TARGETS):
        yield plan, folder


def _by_target(files: dict[str, tuple[Command, ...]]) -> dict[str, dict[str, Command]]:
    """Join the files that start the servers of one target together, such as its units, by server."""
    targets: dict[str, dict[str, Command]] = {}
    for path, commands in files.items():
        target = targets.setdefault(path.split("/")[0], {})
        target.update({command.server: command for command in commands})
    return targets


def compared(plan: Plan, target: str, read: dict[str, Command]) -> Iterator[Difference]:
    """Yield where the commands of a target, by server, are not the plan's."""
    planned, there = _planned(plan, target), _there(plan, target)
    for name in sorted(planned.keys() - read.keys()):
        yield Difference(target, name, "is not in the file")
    for name in sorted(read.keys() - planned.keys()):
        yield Difference(target, name, "is not planned")
    for name in sorted(read.keys() & planned.keys()):
        for message in _unequal(plan, target, there, planned[name], read[name]):
            yield Difference(target, name, message)


def unlike(plan: Plan, target: str, command: Command, *, more: bool = False) -> tuple[str, ...]:
    """Return how a command of a target differs from what is planned for its server; ``more`` allows further options.

    Raises:
        KeyError: no server of the plan is called so there.
    """
    messages = _unequal(plan, target, _there(plan, target), _planned(plan, target)[command.server], command)
    return tuple(message for message in messages if not (more and message.endswith(_NOT_PLANNED)))


def _planned(plan: Plan, target: str) -> dict[str, Part]:
    """Return what a target must start, by the name it has there."""
    planned: dict[str, Part] = {}
    for part in parts(plan):
        if target == RAY and part.rank:
            continue  # Ray places the workers of other machines itself
        name = _spelled(part.server, target)
        planned.setdefault(name + WORKER if target in CLUSTER_TARGETS and part.rank else name, part)
    return planned


def _unequal(plan: Plan, target: str, there: InCluster | None, part: Part, command: Command) -> Iterator[str]:
    server = part.server
    options = engine_options(plan.engine_version)
    yield from refused_arguments(command.arguments, options)
    if command.model != server.repository:
        yield f"serves {command.model}, planned {server.repository}"
    slot = _slot(there, server)
    gpu_indices = slot.gpu_indices if slot else part.gpu_indices
    if command.gpu_indices not in (None, gpu_indices):
        yield f"runs on GPU {_list(command.gpu_indices or ())}, planned {_list(gpu_indices)}"
    for variable in serve_environment(server):
        name, _, value = variable.partition("=")
        if command.environment.get(name) != value:
            yield f"has {name}={command.environment.get(name, '')} in its environment, planned {variable}"
    expected = _expected(replace(part, server=_in_its_set(there, server)), target, options)
    if slot:
        expected["--port"] = str(slot.port)
    actual = _values(command.arguments)
    if target in (HELM, KSERVE):
        actual = {"--host": LOOPBACK, "--port": expected["--port"], **actual}  # these set them
    if actual.get("--host") == ALL_ADDRESSES:
        actual["--host"] = LOOPBACK  # in a container; the file publishes it on loopback
    for flag in sorted(expected.keys() | actual.keys()):
        if flag not in actual:
            yield f"lacks {flag} {expected[flag]}".rstrip()
        elif flag not in expected:
            yield f"has {flag} {actual[flag]}{_NOT_PLANNED}".replace(" ,", ",")
        elif actual[flag] != expected[flag]:
            yield f"{flag} is {actual[flag]}, planned {expected[flag]}"


def _expected(part: Part, target: str, options: EngineOptions) -> dict[str, str]:
    """Return a process's options; addresses, and ranks in a cluster, are the names of variables."""
    cluster = target in CLUSTER_TARGETS
    leader = OWN_ADDRESS if part.apart and not part.rank else LEADER_ADDRESS  # it opens ports there
    address = leader if cluster else address_variable(part.server.node)
    arguments = serve_arguments(part.server, options, node_rank=part.rank, master_address=address)
    expected = _values(as_planned(arguments, options) if target == RAY else arguments)
    return (
        {**expected, "--node-rank": WORKER_INDEX} if "--node-rank" in expected and cluster and part.rank else expected
    )


def _checked(plan: Plan, fleet: Fleet, catalog: Catalog, target: str, read: dict[str, Command]) -> Iterator[Difference]:
    """Check the plan that the file carries out, which is the plan itself when nothing differs."""
    servers, there = [], _there(plan, target)
    for server in plan.servers:
        command = read[_spelled(server, target)]
        try:
            carried_out = planned_server(server, command.arguments)
        except ValueError as error:
            yield Difference(target, command.server, str(error))
            return
        slot = _slot(there, server)
        pod = _in_its_set(there, server)
        own = target in (HELM, RAY, KSERVE) or carried_out.port == (slot.port if slot else pod.port)
        port = server.port if own else carried_out.port
        carried_out = replace(carried_out, repository=command.model, port=port)
        if target == RAY or carried_out.master_port == pod.master_port:  # Ray's executor has a port of its own
            carried_out = replace(carried_out, master_port=server.master_port)
        servers.append(_placed(carried_out, len(server.gpu_indices), None if slot else command.gpu_indices))
    for violation in check(replace(plan, servers=tuple(servers)), fleet, catalog):
        yield Difference(target, violation.where, violation.message)


def _there(plan: Plan, target: str) -> InCluster | None:
    """Return what has the servers where equal ones are one object; None where a target has one for each."""
    return in_cluster(plan) if target == KUBERNETES else None


def _slot(there: InCluster | None, server: ServerPlan) -> Slot | None:
    """Return what a server is in a pod, where ports are those of the first replica and GPUs are counted anew."""
    return there.slots.get(slug(server.name)) if there else None


def _in_its_set(there: InCluster | None, server: ServerPlan) -> ServerPlan:
    """Return a server with the ports of its pods, which in a set of equal groups are those of the first."""
    group = there.sets.get(slug(server.name)) if there else None
    return replace(server, port=group.port, master_port=group.master_port) if group else server


def _placed(server: ServerPlan, width: int, gpu_indices: tuple[int, ...] | None) -> ServerPlan:
    """Return a server on the GPUs that the file gives it, ``width`` for each stage where all are on one node."""
    if gpu_indices is None:
        return server
    if len(server.nodes) > 1:
        return replace(server, gpu_indices=gpu_indices)
    later = tuple(
        GPUGroup(node=server.node, gpu_indices=gpu_indices[first : first + width])
        for first in range(width, len(gpu_indices), width)
    )
    return replace(server, gpu_indices=gpu_indices[:width], later_stages=later)


def _spelled(server: ServerPlan, target: str) -> str:
    """Return the server's name as the target spells it; Kubernetes admits DNS labels only."""
    name = slug(server.name)
    return label(name) if target in (KUBERNETES, HELM) else name


def _values(arguments: tuple[Argument, ...]) -> dict[str, str]:
    return {argument.flag: argument.text for argument in arguments}


def _list(indices: tuple[int, ...]) -> str:
    return ", ".join(map(str, indices)) or "none"
