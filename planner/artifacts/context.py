"""What templates see: plain facts about one plan, prepared so that a template only writes them down.

``docs/artifacts.md`` documents every field; a test keeps that page complete.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from planner.artifacts.metrics import Metrics, metrics
from planner.artifacts.nodes import many, node_names
from planner.artifacts.quoting import slug
from planner.errors import CheckFailed
from planner.fleet import ROUTER_PORT
from planner.plan import Plan, ServerPlan
from planner.serve_args import (
    DRAIN_SECONDS,
    Argument,
    EngineOptions,
    engine_options,
    refused_arguments,
    serve_arguments,
)
from planner.units import MIB, ceil_div

_HEADER = "Rendered by planner for fleet {fleet} on vLLM {version}; change the fleet, not this file."
# The HAProxy release that Debian 13 ships; the tests run the configuration on 2.6 too.
_HAPROXY_VERSION = "3.0.11"
# A start reads the weights once, compiles and captures graphs. 200 MB/s is a slow network disk; five minutes covers
# compilation and capture with a cold cache (minutes in vLLM's own "init engine … took" lines for 30B models).
_READ_BYTES_PER_SECOND = 200 * 10**6
_COMPILE_SECONDS = 300
# What remains of a stop after the drain, before the process is killed.
_STOP_MARGIN_SECONDS = 30
# JSON spends up to six bytes on one escaped UTF-16 unit and a token covers a few characters; sixteen bytes a token is
# beyond any text, and four MiB leaves room for an image.
_BODY_BYTES_PER_TOKEN = 16
_BODY_FLOOR_BYTES = 4 * MIB
# HAProxy's buffer holds the headers too, and keeps tune.maxrewrite (1 KiB by default) of it free.
_HEADER_BYTES = MIB // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One engine process."""

    name: str
    role: str
    model: str
    revision: str
    local: bool
    pooling: bool
    port: int
    node: str
    gpu_indices: tuple[int, ...]
    gpu_product: str
    after: tuple[str, ...]
    arguments: tuple[Argument, ...]
    container_arguments: tuple[Argument, ...]
    memory_bytes: int
    kv_cache_tokens: int
    max_model_len: int
    max_num_seqs: int
    request_tokens: int
    start_seconds: int
    queue_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU of the plan and what all its servers take of it together."""

    node: str
    index: int
    product: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Servers that share a GPU with each other, directly or through a third: one unit of start order."""

    name: str
    node: str
    servers: tuple[str, ...]
    gpu_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One model name that clients use, and the servers that answer it."""

    name: str
    slug: str
    pooling: bool
    max_model_len: int
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One set of weights to download."""

    repository: str
    revision: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """The one door for clients."""

    name: str
    port: int
    body_bytes: int
    buffer_bytes: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine: the folder with its files, the variable that may name its address, and how many servers answer."""

    name: str
    slug: str
    variable: str
    port: int
    servers: tuple[str, ...]
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything one fleet's templates may use."""

    header: str
    fleet: str
    unit_prefix: str
    install_dir: str
    engine_version: str
    haproxy_version: str
    gpus: tuple[Device, ...]
    servers: tuple[Server, ...]
    pods: tuple[Pod, ...]
    roles: tuple[Role, ...]
    checkpoints: tuple[Checkpoint, ...]
    router: Router
    nodes: tuple[Node, ...]
    metrics: Metrics
    download_name: str
    stop_seconds: int


def build_context(plan: Plan) -> Context:
    """Return what the templates of one plan see; servers in the order in which they start.

    Raises:
        CheckFailed: the plan needs an option that its engine version does not have.
    """
    options = engine_options(plan.engine_version)
    ordered = [plan.server(name) for name in plan.start_order]
    servers = _servers(plan, ordered, options)
    refused = [(one.name, text) for one in servers for text in refused_arguments(one.arguments, options)]
    if refused:
        raise CheckFailed(tuple(f"{name}: {text}" for name, text in refused))
    nodes = tuple(_node(name, servers) for name in node_names(plan))
    taken = {server.name for server in servers}
    return Context(
        header=_HEADER.format(fleet=plan.fleet, version=plan.engine_version),
        fleet=plan.fleet,
        unit_prefix=f"planner-{slug(plan.fleet)}",
        install_dir=f"/etc/planner/{slug(plan.fleet)}",
        engine_version=plan.engine_version,
        haproxy_version=_HAPROXY_VERSION,
        gpus=_devices(plan, servers),
        servers=servers,
        pods=_pods(servers),
        roles=_roles(servers),
        checkpoints=_checkpoints(ordered),
        router=_router(servers, taken, nodes if many(plan) else ()),
        nodes=nodes,
        metrics=metrics(plan.engine_version),
        download_name=_unused("download", taken),
        stop_seconds=DRAIN_SECONDS + _STOP_MARGIN_SECONDS,
    )


def _servers(plan: Plan, ordered: list[ServerPlan], options: EngineOptions) -> tuple[Server, ...]:
    devices = {(gpu.node, gpu.index): gpu for gpu in plan.gpus}
    servers: list[Server] = []
    for server in ordered:
        gpus = [devices[server.node, index] for index in server.gpu_indices]
        neighbours = {name for gpu in gpus for name in gpu.servers}
        earlier = [one for one, other in zip(servers, ordered, strict=False) if other.name in neighbours]
        start_seconds = _start_seconds(server)
        servers.append(
            Server(
                name=slug(server.name),
                role=server.role,
                model=server.repository,
                revision=server.revision,
                local=server.local,
                pooling=server.pooling,
                port=server.port,
                node=server.node,
                gpu_indices=server.gpu_indices,
                gpu_product=gpus[0].product,
                after=tuple(other.name for other in earlier),
                arguments=serve_arguments(server, options),
                container_arguments=serve_arguments(server, options, host="0.0.0.0"),
                memory_bytes=_memory_bytes(server, min(gpu.total_bytes for gpu in gpus)),
                kv_cache_tokens=server.kv_cache_tokens,
                max_model_len=server.max_model_len,
                max_num_seqs=server.max_num_seqs,
                request_tokens=server.request_tokens,
                start_seconds=start_seconds,
                queue_seconds=start_seconds + sum(other.start_seconds for other in earlier),
            )
        )
    return tuple(servers)


def _memory_bytes(server: ServerPlan, total_bytes: int) -> int:
    """What must be free on each GPU: the engine itself asks for its share of the total before it loads."""
    share = Fraction(str(server.gpu_memory_utilization)) * total_bytes
    return max(ceil_div(share.numerator, share.denominator), server.ledger.total_bytes)


def _start_seconds(server: ServerPlan) -> int:
    """How long a start may take, in whole minutes."""
    read = ceil_div(server.ledger.weights_bytes * server.tensor_parallel_size, _READ_BYTES_PER_SECOND)
    return ceil_div(_COMPILE_SECONDS + read, 60) * 60


def _devices(plan: Plan, servers: tuple[Server, ...]) -> tuple[Device, ...]:
    return tuple(
        Device(
            node=gpu.node,
            index=gpu.index,
            product=gpu.product,
            memory_bytes=sum(server.memory_bytes for server in servers if server.name in map(slug, gpu.servers)),
        )
        for gpu in plan.gpus
        if gpu.servers
    )


def _pods(servers: tuple[Server, ...]) -> tuple[Pod, ...]:
    """Group the servers that wait for one another; a pod is called as the first of its servers that starts."""
    groups: list[list[Server]] = []
    for server in servers:
        joined = [group for group in groups if any(other.name in server.after for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(other for group in joined for other in group), server])
    groups = sorted((sorted(group, key=servers.index) for group in groups), key=lambda group: servers.index(group[0]))
    return tuple(
        Pod(
            name=group[0].name,
            node=group[0].node,
            servers=tuple(server.name for server in group),
            gpu_indices=tuple(sorted({index for server in group for index in server.gpu_indices})),
        )
        for group in groups
    )


def _roles(servers: tuple[Server, ...]) -> tuple[Role, ...]:
    roles = []
    for name in dict.fromkeys(server.role for server in servers):
        replicas = [server for server in servers if server.role == name]
        roles.append(
            Role(
                name=name,
                slug=slug(name),
                pooling=replicas[0].pooling,
                max_model_len=min(server.max_model_len for server in replicas),
                servers=tuple(server.name for server in replicas),
            )
        )
    return tuple(roles)


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
    )


def _router(servers: tuple[Server, ...], taken: Collection[str], nodes: tuple[Node, ...]) -> Router:
    longest = max(server.max_model_len for server in servers)
    body_bytes = max(_BODY_FLOOR_BYTES, _BODY_BYTES_PER_TOKEN * longest)
    connections = 4 * sum(server.max_num_seqs for server in servers)
    return Router(
        name=_unused("router", taken),
        port=_router_port({server.port for server in servers} | {node.port for node in nodes}),
        body_bytes=body_bytes,
        buffer_bytes=body_bytes + _HEADER_BYTES,
        connections=min(max(connections, 256), 1024),
    )


def _node(name: str, servers: tuple[Server, ...]) -> Node:
    here = tuple(server for server in servers if server.node == name)
    return Node(
        name=name,
        slug=slug(name),
        variable="PLANNER_NODE_" + re.sub("[^A-Z0-9]", "_", slug(name).upper()),
        port=_router_port({server.port for server in here}),
        servers=tuple(server.name for server in here),
        replicas=dict(Counter(server.role for server in here)),
    )


def _router_port(taken: Collection[int]) -> int:
    return next(port for port in itertools.count(ROUTER_PORT) if port not in taken)


def _unused(name: str, taken: Collection[str]) -> str:
    """A name for what is not a server; a role may be called the same."""
    return name if name not in taken else _unused(f"{name}_", taken)
