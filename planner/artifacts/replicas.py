"""Replicas: servers of which a cluster is told the same, so that one object stands for all of them."""

from collections import Counter
from collections.abc import Sequence

from planner.artifacts.processes import Server

OWN_OPTIONS = ("--host", "--port")
"""What an object says of each replica by itself, so that replicas may differ in it."""


def alike(server: Server) -> object:
    """Return all that a cluster is told of a server, whose equals are replicas of one object."""
    arguments = tuple(argument for argument in server.arguments if argument.flag not in OWN_OPTIONS)
    place = (server.gpu_product, len(server.gpu_indices), server.host_memory_bytes)
    return server.role, server.model, arguments, server.environment, place


def replicas(servers: Sequence[Server]) -> list[list[Server]]:
    """Return servers in groups of equal ones, in the order of their first."""
    groups: dict[object, list[Server]] = {}
    for server in servers:
        groups.setdefault(alike(server), []).append(server)
    return list(groups.values())


def kinds(servers: Sequence[Server]) -> Counter[str]:
    """Return how many kinds of servers each role has, in the order of their first."""
    return Counter(group[0].role for group in replicas(servers))
