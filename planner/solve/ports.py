"""Ports: where every server listens, the same as before where there was a plan before."""

from collections.abc import Iterable, Sequence
from itertools import count

from planner.fleet import ROUTER_PORT, Fleet
from planner.plan import Plan, ServerPlan

FIRST_PORT = 8001
FIRST_MASTER_PORT = 29501
"""The engine's own port for the processes of a server to find each other (vLLM's config/parallel.py)."""


def ports(fleet: Fleet, servers: Sequence[ServerPlan], previous: Plan | None) -> dict[str, int]:
    """Return the port of every server by its name; ``servers`` are those of each role in their order.

    The first server of a role has the role's own port where the fleet gives one. Others keep the port they had in the
    previous plan, or get the next free one from 8001: the first servers of all roles, in order of the roles' names,
    before the other replicas. A role that is left out keeps its place in that order.

    Clients, firewalls and dashboards know servers by their ports, so a port may change only with the server: not
    because a role before it has more replicas now (they come last), or is served again after it was left out (its port
    waited).
    """
    first: dict[str, str] = {}
    for server in servers:
        first.setdefault(server.role, server.name)
    # A role without a server is the name "": what it is given, or would get, is used up and goes to nobody.
    given = {first.get(role.name, ""): role.port for role in fleet.roles if role.port is not None}
    taken = {ROUTER_PORT, *given.values()}
    found = {name: port for name, port in given.items() if name}
    for name, port in _earlier(servers, previous):
        if name not in found and port not in taken:
            found[name] = port
            taken.add(port)
    free = (port for port in count(FIRST_PORT) if port not in taken)
    openly = [first.get(role.name, "") for role in fleet.roles if role.port is None]
    for name in (*openly, *(server.name for server in servers)):
        if name not in found:
            port = next(free)
            found |= {name: port} if name else {}
    return found


def master_ports(servers: Sequence[ServerPlan], taken: Iterable[int], previous: Plan | None) -> dict[str, int]:
    """Return the port on which the processes of each server on several nodes find each other, by the server's name.

    It is the one they had in the previous plan, or the next free one from the engine's own.
    """
    several = [server.name for server in servers if len(server.nodes) > 1]
    before = {server.name: server.master_port for server in (previous.servers if previous else ())}
    found = {name: before[name] for name in several if before.get(name, 0) not in (0, *taken)}
    free = (port for port in count(FIRST_MASTER_PORT) if port not in (*taken, *found.values()))
    return {name: found.get(name) or next(free) for name in several}


def _earlier(servers: Sequence[ServerPlan], previous: Plan | None) -> Iterable[tuple[str, int]]:
    """Return names and ports of the servers that were there before."""
    roles = {server.name: server.role for server in servers}
    before = previous.servers if previous else ()
    return [(server.name, server.port) for server in before if roles.get(server.name) == server.role]
