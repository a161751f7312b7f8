"""Engines of the production stack's chart: equal servers of a role are one, with replicas and one set of weights."""

from collections.abc import Sequence

from msgspec import Struct

from planner.artifacts.processes import Server
from planner.artifacts.quoting import label, slug
from planner.artifacts.replicas import kinds, replicas
from planner.engine.versions import parse_version

# The chart names objects RELEASE-ENGINE-..., of which Services and labels are not longer than 63 characters.
# This leaves a RELEASE of 24.
_NAME_LENGTH = 20
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
    kinds_of = kinds(servers)
    return tuple(
        Engine(
            name=label(slug(group[0].role) if kinds_of[group[0].role] == 1 else group[0].name, _NAME_LENGTH),
            servers=tuple(server.name for server in group),
            machines=len({server.node for server in group}),
            prefix_caching=_prefix_caching(group[0], engine_version),
        )
        for group in replicas(servers)
    )


def _prefix_caching(server: Server, engine_version: str) -> bool:
    """Return whether the engine caches prefixes by itself.

    Generating models do; of pooling ones only some, and to ask for it is not safe with the others
    (``is_prefix_caching_supported`` in config/model.py, 0.33.0). Before 0.28 the engine does not for hybrid models, for
    which it would take states that the plan does not count; which models these are is not known here.
    """
    return not server.pooling and parse_version(engine_version) >= parse_version(_CACHED_HYBRIDS)
