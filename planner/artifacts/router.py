"""The one door for clients: what the router, and a proxy that may stand behind it, are told of the servers."""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from planner.artifacts.processes import Server
from planner.artifacts.quoting import slug
from planner.fleet import ROUTER_PORT
from planner.units import GIB, MIB, ceil_div

# The release that the proof run puts between the router and the real engine.
_LITELLM_VERSION = "1.108.5"
_LITELLM_PORT = 4000
# JSON spends up to six bytes on one escaped UTF-16 unit and a token covers a few characters; sixteen bytes a token is
# beyond any text, and four MiB leaves room for an image.
_BODY_BYTES_PER_TOKEN = 16
_BODY_FLOOR_BYTES = 4 * MIB
# The engine takes recordings of at most 25 MiB (VLLM_MAX_AUDIO_CLIP_FILESIZE_MB, envs.py 0.10.2 to 0.33.0); the other
# fields of the form come on top.
_SOUND_BYTES = 26 * MIB
# Where Prometheus finds the router: HAProxy's customary port for statistics.
_METRICS_PORT = 8404
# How many requests a role may have at once for each that runs: more would wait longer than three others take. A client
# that sends a batch at once is let in with few places too.
_REQUESTS_FOR_A_PLACE = 4
_REQUESTS_FLOOR = 64
# HAProxy's buffer holds the headers too, and keeps tune.maxrewrite (1 KiB by default) of it free.
_HEADER_BYTES = MIB // 4
# HAProxy itself, and the bodies that its script reads, beside two buffers for each connection: more than it can take.
_ROUTER_BYTES = 2 * GIB
_HEAVIEST = 256
"""The most that a server may weigh (``weight`` in HAProxy's configuration manual, section 5.2, 3.2)."""


class Role(Struct, frozen=True, kw_only=True):
    """One model name that clients use, the servers that answer it, and the names of adapters that they answer to.

    ``requests_limit`` is how many requests the router lets in at once, those that wait for a place included.
    ``weights`` say by the names of servers, and of nodes, how many of its requests they get, for a router that counts
    to 256; there are none where all servers take as many at once.
    """

    name: str
    slug: str
    task: str
    pooling: bool
    max_model_len: int
    requests_limit: int
    servers: tuple[str, ...]
    adapters: tuple[str, ...]
    weights: Mapping[str, int]


class Router(Struct, frozen=True, kw_only=True):
    """The one door for clients."""

    name: str
    port: int
    metrics_port: int
    body_bytes: int
    sound_bytes: int
    buffer_bytes: int
    connections: int
    memory_limit_gib: int


class LiteLLM(Struct, frozen=True, kw_only=True):
    """The proxy that may stand between the router and the servers."""

    name: str
    port: int
    version: str


def roles(servers: Sequence[Server]) -> tuple[Role, ...]:
    """Return what the router knows of each model name, in the order of the servers."""
    names = dict.fromkeys(name for server in servers for name in server.names)
    return tuple(_role(name, [server for server in servers if name in server.names]) for name in names)


def _role(name: str, replicas: Sequence[Server]) -> Role:
    first = replicas[0]
    return Role(
        name=name,
        slug=slug(name),
        task=first.task,
        pooling=first.pooling,
        max_model_len=min(server.max_model_len for server in replicas),
        requests_limit=max(_REQUESTS_FLOOR, _REQUESTS_FOR_A_PLACE * sum(server.requests for server in replicas)),
        servers=tuple(server.name for server in replicas),
        adapters=first.adapters if name == first.role else (),
        weights=_weights(replicas),
    )


def _weights(replicas: Sequence[Server]) -> Mapping[str, int]:
    """Return what servers that take unlike numbers of requests, and their nodes, weigh in the router."""
    if len({server.requests for server in replicas}) == 1:
        return {}
    servers = {server.name: server.requests for server in replicas}
    nodes: Counter[str] = Counter()
    for server in replicas:
        nodes[f"node {server.node}"] += server.requests
    return {
        name: max(1, round(_HEAVIEST * count / max(found.values())))
        for found in (servers, nodes)
        for name, count in found.items()
    }


def router(processes: Sequence[Server], taken: Collection[str], node_ports: Collection[int]) -> Router:
    """Return the router, with a name and ports that nothing else has; sizes are bytes.

    ``taken`` are the names of servers; ``node_ports`` those of the routers on the nodes that it stands before.
    """
    longest = max(one.max_model_len for one in processes)
    body_bytes = max(_BODY_FLOOR_BYTES, _BODY_BYTES_PER_TOKEN * longest)
    planned = sum(one.requests for one in processes if one.answers)
    ports = {one.port for one in processes} | set(node_ports)
    port = router_port(ports)
    # Never fewer than run and as many that wait; buffers of the largest body bound what can be had beyond that.
    connections = max(256, 2 * planned, min(_REQUESTS_FOR_A_PLACE * planned, 1024))
    return Router(
        name=unused("router", taken),
        port=port,
        metrics_port=_free_port(ports | {port}, _METRICS_PORT),
        body_bytes=body_bytes,
        sound_bytes=_SOUND_BYTES,
        buffer_bytes=body_bytes + _HEADER_BYTES,
        connections=connections,
        memory_limit_gib=ceil_div(_ROUTER_BYTES + 2 * connections * (body_bytes + _HEADER_BYTES), GIB),
    )


def litellm(processes: Sequence[Server], taken: Collection[str], door: Router) -> LiteLLM:
    """Return the proxy behind a router, with a name and a port that nothing else has."""
    ports = {one.port for one in processes} | {door.port, door.metrics_port}
    return LiteLLM(name=unused("litellm", taken), port=_free_port(ports, _LITELLM_PORT), version=_LITELLM_VERSION)


def router_port(taken: Collection[int]) -> int:
    """Return the port of a router beside servers that have these."""
    return _free_port(taken, ROUTER_PORT)


def _free_port(taken: Collection[int], first: int) -> int:
    """Return the first port from ``first`` on that is not taken."""
    return next(port for port in itertools.count(first) if port not in taken)


def unused(name: str, taken: Collection[str]) -> str:
    """Return a name for what is not a server; a role may be called the same."""
    return name if name not in taken else unused(f"{name}_", taken)
