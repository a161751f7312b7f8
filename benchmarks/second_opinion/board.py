"""Board: the GPUs of a fleet by number, and where the servers of a role may be."""

import itertools
from collections.abc import Iterator

from msgspec import Struct

from planner.fleet import Fleet, Role
from planner.plan import ServerPlan

Place = tuple[int, ...]
"""The GPUs of one server, by number."""
Shape = tuple[int, int, int, int]
"""A pool, the GPUs of a stage, the stages of a server, and how many servers there are."""


class Device(Struct, frozen=True):
    """One GPU: its pool and node, and what servers may take of it.

    ``price`` is paid once for all devices in use with the same ``bill``: a GPU, or a node that is rented whole.
    """

    pool: int
    node: str
    group: int
    capacity: int
    price: int
    bill: tuple[int, str, int]


class Board:
    """The GPUs of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        """Number the GPUs."""
        self.fleet = fleet
        prices = [(pool.microdollars_per_node_hour, pool.microdollars_per_gpu_hour) for pool in fleet.pools]
        whole = [node is not None for node, _ in prices]
        self.priced = all(price != (None, None) for price in prices)
        self.devices = [
            Device(
                number,
                node,
                index // max(1, pool.gpus_per_node),
                pool.capacity_bytes,
                (prices[number][0] or prices[number][1] or 0) if self.priced else 1,
                (number, node, -1 if self.priced and whole[number] else index),
            )
            for number, pool in enumerate(fleet.pools)
            for node in pool.node_names
            for index in range(pool.gpus_per_node)
        ]
        self._known: dict[tuple[str, Shape], list[tuple[Place, ...]]] = {}

    def placements(self, role: Role, shape: Shape) -> list[tuple[Place, ...]]:
        """Return every way to put the servers of a role on GPUs."""
        if (role.name, shape) not in self._known:
            self._known[role.name, shape] = list(self._placements(role, shape))
        return self._known[role.name, shape]

    def servers(self, pool: int, width: int, parts: int) -> Iterator[Place]:
        """Yield every place for one server: aligned GPUs of a node for each stage, of one node or of as many nodes."""
        shape = self.fleet.pools[pool]
        blocks: list[tuple[str, Place]] = []
        for node in shape.node_names:
            own = [n for n, device in enumerate(self.devices) if device.pool == pool and device.node == node]
            blocks += [(node, tuple(own[at : at + width])) for at in range(0, len(own) - width + 1, width)]
        inside = width * parts <= shape.gpus_per_node
        for chosen in itertools.combinations(blocks, parts):
            nodes = {node for node, _ in chosen}
            if len(nodes) == (1 if inside else parts):
                yield tuple(gpu for _, block in chosen for gpu in block)

    def place_of(self, server: ServerPlan) -> Place | None:
        """Return the numbers of a server's GPUs; None when the fleet has no longer all of them."""
        numbers = {}
        number = 0
        for pool in self.fleet.pools:
            for node in pool.node_names:
                for index in range(pool.gpus_per_node):
                    numbers[node, pool.gpu_index + index] = number
                    number += 1
        found = [numbers.get(gpu) for gpu in server.gpus]
        return None if None in found else tuple(gpu for gpu in found if gpu is not None)

    def _placements(self, role: Role, shape: Shape) -> Iterator[tuple[Place, ...]]:
        pool, width, parts, replicas = shape
        servers = list(self.servers(pool, width, parts))
        for places in itertools.combinations_with_replacement(servers, replicas):
            gpus = [gpu for place in places for gpu in place]
            nodes = [node for place in places for node in {self.devices[gpu].node for gpu in place}]
            apart = len(set(gpus)) == len(gpus)
            if apart_only(role) and not apart:
                continue
            if role.spread == "node" and len(set(nodes)) < len(nodes):
                continue
            yield places


def apart_only(role: Role) -> bool:
    """Whether no two servers of a role are on one GPU: an open number of them, spread ones, those that want speed."""
    return role.replicas is None or role.spread is not None or role.wants_speed
