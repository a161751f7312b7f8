"""Lookup: the servers of a plan by their names, GPUs and nodes, found once: a large fleet has thousands of each."""

import functools
from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from planner.plan.server import ServerPlan
from planner.tensors.identity import Same

K = TypeVar("K")

GPUPlace = tuple[str, int]
"""A GPU: its node and its device number."""


class Lookup(Struct, frozen=True):
    """Servers by name, and those on every GPU and every node that has any, in their order."""

    by_name: Mapping[str, ServerPlan]
    by_gpu: Mapping[GPUPlace, tuple[ServerPlan, ...]]
    by_node: Mapping[str, tuple[ServerPlan, ...]]

    def beside(self, server: ServerPlan) -> list[ServerPlan]:
        """Return the servers on any GPU of a server, itself among them."""
        found = {other.name: other for place in server.gpus for other in self.by_gpu.get(place, ())}
        return list(found.values())


def lookup(servers: tuple[ServerPlan, ...]) -> Lookup:
    """Return what finds these servers; made once for the same tuple of them."""
    return _lookup(Same(servers))


@functools.lru_cache(maxsize=4)
def _lookup(servers: Same[tuple[ServerPlan, ...]]) -> Lookup:
    by_gpu: dict[GPUPlace, list[ServerPlan]] = {}
    by_node: dict[str, list[ServerPlan]] = {}
    for server in servers.value:
        for place in dict.fromkeys(server.gpus):
            by_gpu.setdefault(place, []).append(server)
        for node in server.nodes:
            by_node.setdefault(node, []).append(server)
    return Lookup({server.name: server for server in servers.value}, _frozen(by_gpu), _frozen(by_node))


def _frozen(groups: Mapping[K, Iterable[ServerPlan]]) -> dict[K, tuple[ServerPlan, ...]]:
    return {key: tuple(group) for key, group in groups.items()}
