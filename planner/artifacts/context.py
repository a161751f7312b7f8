"""What templates see: plain facts about one plan, prepared so that a template only writes them down.

``docs/artifacts.md`` documents every field; a test keeps that page complete.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from planner.artifacts.cluster import device_class, device_expression
from planner.artifacts.engines import Engine, engines
from planner.artifacts.groups import GroupSet, group_sets
from planner.artifacts.guarded import guarded_prefixes
from planner.artifacts.metrics import Metrics, metrics
from planner.artifacts.nodes import address_variable, many, node_names
from planner.artifacts.pools import InferencePool, inference_pools
from planner.artifacts.processes import Server, all_processes, unified
from planner.artifacts.quoting import slug, unit_prefix
from planner.artifacts.ray import RAY, RAY_ENGINE, RAY_VERSION, RayModel, RayNode, ray_models, ray_nodes
from planner.artifacts.router import LiteLLM, Role, Router, litellm, roles, router, router_port, unused
from planner.artifacts.serve_args import refused_arguments
from planner.artifacts.turning import LlamaSwap, Turns, llama_swap, turns
from planner.artifacts.workloads import Workload, in_pods, workloads
from planner.engine.options import EngineOptions, engine_options
from planner.engine.switching import DRAIN_SECONDS, STOP_MARGIN_SECONDS
from planner.errors import CheckFailed
from planner.fleet import Cluster
from planner.plan import Plan, ServerPlan

_HEADER = "Rendered by planner for fleet {fleet} on vLLM {version}; change the fleet, not this file."
# The HAProxy release that Debian 13 ships; the tests run the configuration on 2.6 too.
_HAPROXY_VERSION = "3.0.11"


class Device(Struct, frozen=True, kw_only=True):
    """One GPU of the plan and what all its servers take of it together."""

    node: str
    index: int
    product: str
    device_class: str
    device_expression: str
    unified: str
    memory_bytes: int


class Pod(Struct, frozen=True, kw_only=True):
    """Servers that share a GPU with each other, directly or through a third: one unit of start order.

    ``roles`` are those of its servers, ``spread`` those of them of which no node may have two servers.
    """

    name: str
    node: str
    servers: tuple[str, ...]
    roles: tuple[str, ...]
    spread: tuple[str, ...]
    gpu_indices: tuple[int, ...]


class Checkpoint(Struct, frozen=True, kw_only=True):
    """One set of weights to download; of adapters and of models that draft the size is not known (0)."""

    repository: str
    revision: str
    size_bytes: int


class Node(Struct, frozen=True, kw_only=True):
    """One machine: the folder with its files, the variable that may name its address, and how many servers answer."""

    name: str
    slug: str
    variable: str
    port: int
    servers: tuple[str, ...]
    replicas: Mapping[str, int]


class Context(Struct, frozen=True, kw_only=True):
    """Everything one fleet's templates may use."""

    header: str
    fleet: str
    unit_prefix: str
    install_dir: str
    engine_version: str
    haproxy_version: str
    gpus: tuple[Device, ...]
    servers: tuple[Server, ...]
    processes: tuple[Server, ...]
    pods: tuple[Pod, ...]
    several_pods: tuple[str, ...]
    workloads: tuple[Workload, ...]
    groups: tuple[GroupSet, ...]
    scaled: tuple[Workload, ...]
    inference_pools: tuple[InferencePool, ...]
    cluster: Cluster
    engines: tuple[Engine, ...]
    roles: tuple[Role, ...]
    checkpoints: tuple[Checkpoint, ...]
    router: Router
    litellm: LiteLLM
    nodes: tuple[Node, ...]
    metrics: Metrics
    guarded: tuple[str, ...]
    download_name: str
    stop_seconds: int
    drain_seconds: int
    turns: tuple[Turns, ...]
    swap: LlamaSwap | None
    ray_version: str
    ray_engine: str
    ray_models: tuple[RayModel, ...]
    ray_nodes: tuple[RayNode, ...]
    targets: tuple[str, ...]


def build_context(plan: Plan, targets: Collection[str] = (), processes: tuple[Server, ...] | None = None) -> Context:
    """Return what the templates of one plan see; servers in the order in which they start, targets as they are given.

    ``processes`` are those of the plan, where they are known from the context of a plan that this one is a share of.

    Raises:
        CheckFailed: the plan needs an option that its engine version does not have.
    """
    options = engine_options(plan.engine_version)
    ordered = [plan.server(name) for name in plan.start_order]
    if processes is None:
        processes = _checked(all_processes(plan, options), options)
    servers = tuple({process.name: process for process in reversed(processes) if process.answers}.values())[::-1]
    on: dict[str, list[Server]] = {name: [] for name in node_names(plan)}
    for process in processes:
        on.setdefault(process.node, []).append(process)
    nodes = tuple(_node(name, on[name]) for name in node_names(plan))
    taken = {process.name for process in processes}
    pods = _pods(processes)
    found = workloads(plan.fleet, processes)
    door = router(processes, taken, [node.port for node in nodes] if many(plan) else ())
    return Context(
        header=_HEADER.format(fleet=plan.fleet, version=plan.engine_version),
        fleet=plan.fleet,
        unit_prefix=unit_prefix(plan.fleet),
        install_dir=f"/etc/planner/{slug(plan.fleet)}",
        engine_version=plan.engine_version,
        haproxy_version=_HAPROXY_VERSION,
        gpus=_devices(plan, processes),
        servers=servers,
        processes=processes,
        several_pods=_several_pods(pods, [server for server in servers if server.node_count > 1]),
        workloads=found,
        groups=group_sets(plan.fleet, processes),
        scaled=tuple(one for one in found if one.replicas > 1 and len(one.slots) == 1),
        inference_pools=inference_pools(found, {server.name: server for server in servers}),
        cluster=plan.cluster,
        engines=engines(servers, plan.engine_version),
        pods=pods,
        roles=roles(servers),
        checkpoints=_checkpoints(ordered),
        router=door,
        litellm=litellm(processes, taken, door),
        nodes=nodes,
        metrics=metrics(plan.engine_version),
        guarded=guarded_prefixes(plan.engine_version),
        download_name=unused("download", taken),
        stop_seconds=DRAIN_SECONDS + STOP_MARGIN_SECONDS,
        drain_seconds=DRAIN_SECONDS,
        turns=turns(plan),
        swap=llama_swap(plan),
        ray_version=RAY_VERSION,
        ray_engine=RAY_ENGINE,
        ray_models=ray_models(servers, options) if RAY in targets else (),
        ray_nodes=ray_nodes(processes) if RAY in targets else (),
        targets=tuple(targets),
    )


def _checked(processes: tuple[Server, ...], options: EngineOptions) -> tuple[Server, ...]:
    """Return processes whose options the engine version has."""
    refused = [(one.name, text) for one in processes for text in refused_arguments(one.arguments, options)]
    if refused:
        raise CheckFailed(tuple(f"{name}: {text}" for name, text in refused))
    return processes


def _devices(plan: Plan, processes: tuple[Server, ...]) -> tuple[Device, ...]:
    taken: Counter[tuple[str, int]] = Counter()
    for process in processes:
        taken.update({(process.node, index): process.memory_bytes for index in process.gpu_indices})
    return tuple(
        Device(
            node=gpu.node,
            index=gpu.index,
            product=gpu.product,
            device_class=device_class(gpu.product),
            device_expression=device_expression(gpu.product),
            unified=unified(gpu, plan.engine_version),
            memory_bytes=taken[gpu.node, gpu.index],
        )
        for gpu in plan.gpus
        if gpu.servers
    )


def _pods(processes: Sequence[Server]) -> tuple[Pod, ...]:
    """Return the pods, each called as the first of its servers that starts."""
    return tuple(
        Pod(
            name=group[0].name,
            node=group[0].node,
            servers=tuple(server.name for server in group),
            roles=tuple(dict.fromkeys(server.role for server in group)),
            spread=tuple(dict.fromkeys(server.role for server in group if server.spread == "node")),
            gpu_indices=tuple(sorted({index for server in group for index in server.gpu_indices})),
        )
        for group in in_pods(processes)
    )


def _several_pods(pods: Sequence[Pod], groups: Sequence[Server]) -> tuple[str, ...]:
    """Return the roles of which another pod, or group of pods, answers while one is away."""
    found = Counter([*(role for pod in pods for role in pod.roles), *(group.role for group in groups)])
    return tuple(role for role, count in found.items() if count > 1)


def _checkpoints(ordered: list[ServerPlan]) -> tuple[Checkpoint, ...]:
    return tuple(
        dict.fromkeys(
            Checkpoint(
                repository=server.repository,
                revision=server.revision,
                size_bytes=server.download_bytes,
            )
            for server in ordered
            if not server.local
        )
        | dict.fromkeys(
            Checkpoint(repository=repository, revision="", size_bytes=0)
            for server in ordered
            for repository in server.settings.repositories
        )
    )


def _node(name: str, here: Sequence[Server]) -> Node:
    return Node(
        name=name,
        slug=slug(name),
        variable=address_variable(name),
        port=router_port({process.port for process in here}),
        servers=tuple(process.name for process in here),
        replicas=dict(Counter(name for process in here if process.answers for name in process.names)),
    )
