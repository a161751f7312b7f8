"""Engines of the production stack's chart: equal servers of a role are one, with replicas and one set of weights."""

from collections.abc import Sequence

from msgspec import Struct

from planner.artifacts.processes import Server
from planner.artifacts.quoting import label, slug
from planner.engine.versions import parse_version

# What the chart itself says of an engine, so that replicas may differ in it.
_OWN = ("--host", "--port")
# The chart names objects RELEASE-ENGINE-..., of which Services and labels are not longer than 63 characters.
NAME_LENGTH = 20
RELEASE_LENGTH = 24
_CACHED_HYBRIDS = "0.28.0"


class Engine(Struct, frozen=True, kw_only=True):
    """One entry of ``modelSpec``: its name there, its servers, how many machines these are on.

    ``prefix_caching`` is what the engine does when nothing is said; the chart always says something.
    """

    name: str
    servers: tuple[str, ...]
    machines: int
    prefix_caching: bool


def engines(servers: Sequence[Server], engine_version: str) -> tuple[Engine, ...]:
    """Return the engines that start these servers, in their order."""
    groups: dict[object, list[Server]] = {}
    for server in servers:
        groups.setdefault(alike(server), []).append(server)
    roles = [group[0].role for group in groups.values()]
    return tuple(
        Engine(
            name=label(slug(group[0].role) if roles.count(group[0].role) == 1 else group[0].name, NAME_LENGTH),
            servers=tuple(server.name for server in group),
            machines=len({server.node for server in group}),
            prefix_caching=_prefix_caching(group[0], engine_version),
        )
        for group in groups.values()
    )


def alike(server: Server) -> object:
    """Return all that a cluster is told of a server, whose equals are replicas of one object."""
    arguments = tuple(argument for argument in server.arguments if argument.flag not in _OWN)
    place = (server.gpu_product, len(server.gpu_indices), server.host_memory_bytes)
    return server.role, server.model, arguments, server.environment, place


def _prefix_caching(server: Server, engine_version: str) -> bool:
    """Return whether the engine caches prefixes by itself.

    Generating models do; of pooling ones only some, and to ask for it is not safe with the others
    (``is_prefix_caching_supported`` in config/model.py, 0.33.0). Before 0.28 the engine does not for hybrid models, for
    which it would take states that the plan does not count; which models these are is not known here.
    """
    return not server.pooling and parse_version(engine_version) >= parse_version(_CACHED_HYBRIDS)
