"""Machines: what runs on the GPUs of a fleet while one plan gives way to another, and what has room."""

import copy
from collections.abc import Iterable, Iterator

from planner.fleet import Fleet
from planner.plan import ServerPlan
from planner.search.turns import charge

GPU = tuple[str, int]
"""A node and a device number."""


class Machines:
    """Servers that run: those of the old plan that are still there, and those of the new one that have started."""

    def __init__(self, fleet: Fleet, running: Iterable[ServerPlan]) -> None:
        self._fleet = fleet
        self._spreads = {role.name: role.spread for role in fleet.roles}
        self._shares = {role.name: role.share_with for role in fleet.roles}
        self._capacity = capacities(fleet)
        self._on: dict[str, list[ServerPlan]] = {}
        for server in running:
            self.add(server)

    def add(self, server: ServerPlan) -> None:
        """Have a server run."""
        for node in server.nodes:
            self._on.setdefault(node, []).append(server)

    def remove(self, server: ServerPlan) -> None:
        """Have a server run no longer."""
        for node in server.nodes:
            self._on[node] = [one for one in self._on[node] if one is not server]

    def copy(self) -> "Machines":
        """Return the same again."""
        other = copy.copy(self)
        other._on = {node: list(servers) for node, servers in self._on.items()}
        return other

    def beside(self, server: ServerPlan) -> list[ServerPlan]:
        """Return the servers on a server's GPUs."""
        gpus = set(server.gpus)
        return [other for other in self._near(server) if not gpus.isdisjoint(other.gpus)]

    def against(self, server: ServerPlan) -> list[ServerPlan]:
        """Return the servers that cannot run at the same time whatever their memory: by the rules, or the ports."""
        return [other for other in self._near(server) if self._excludes(server, other)]

    def fits(self, server: ServerPlan, without: Iterable[ServerPlan] = ()) -> bool:
        """Whether a server has room beside those that run, but for some of them."""
        gone = [id(other) for other in without]
        left = [other for other in self._near(server) if id(other) not in gone]
        if any(self._excludes(server, other) for other in left):
            return False
        on: dict[GPU, list[ServerPlan]] = {gpu: [server] for gpu in server.gpus}
        for other in left:
            for gpu in other.gpus:
                if gpu in on:
                    on[gpu].append(other)
        return all(self._taken(there) <= self._capacity[gpu] for gpu, there in on.items())

    def _near(self, server: ServerPlan) -> list[ServerPlan]:
        """Return the servers on a server's nodes."""
        found = {id(other): other for node in server.nodes for other in self._on.get(node, ())}
        return list(found.values())

    def _excludes(self, one: ServerPlan, other: ServerPlan) -> bool:
        nodes = set(one.nodes) & set(other.nodes)
        if not nodes:
            return False
        if one.name == other.name or (one.node == other.node and _ports(one) & _ports(other)):
            return True  # a machine has one container, or unit, of a name
        if one.role == other.role and self._spreads.get(one.role) == "node":
            return True
        return not set(one.gpus).isdisjoint(other.gpus) and not self._may_share(one.role, other.role)

    def _may_share(self, one: str, other: str) -> bool:
        """Whether two roles may be on one GPU, of which one may be no role of the fleet any more."""
        if one == other:
            return self._spreads.get(one) is None
        return all(
            (share := self._shares.get(role)) is None or name in share for role, name in ((one, other), (other, one))
        )

    def _taken(self, servers: Iterable[ServerPlan]) -> int:
        """Return what servers take of a GPU at most, with those that take turns counted once."""
        there = list(servers)
        groups = [[s for s in there if s.role in group.roles and s.asleep] for group in self._fleet.time_share]
        turning = {id(server) for group in groups for server in group}
        total = sum(server.ledger.total_bytes for server in there if id(server) not in turning)
        for group, found in zip(self._fleet.time_share, groups, strict=True):
            total += charge(_loads(found), group.awake)
        return total


def capacities(fleet: Fleet) -> dict[GPU, int]:
    """Return what servers may take of each GPU."""
    return {
        (node, pool.gpu_index + index): pool.capacity_bytes
        for pool in fleet.pools
        for node in pool.node_names
        for index in range(pool.gpus_per_node)
    }


def _ports(server: ServerPlan) -> set[int]:
    return {server.port, server.master_port} - {0}


def _loads(servers: Iterable[ServerPlan]) -> Iterator[tuple[int, int]]:
    """Yield what each role takes awake and asleep."""
    loads: dict[str, tuple[int, int]] = {}
    for server in servers:
        awake, asleep = loads.get(server.role, (0, 0))
        kept = server.asleep.gpu_bytes if server.asleep else 0
        loads[server.role] = awake + server.ledger.total_bytes, asleep + kept
    yield from loads.values()
