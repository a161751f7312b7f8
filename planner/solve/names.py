"""Names: what the servers of a role are called, the same as before where there was a plan before."""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, count

from planner.plan import GPUGroup, Plan

Place = tuple[GPUGroup, ...]
"""The GPUs of a server, stage by stage."""


def server_names(
    role: str, placed: Sequence[Place], roles: Collection[str], previous: Plan | None
) -> Iterator[tuple[str, Place]]:
    """Yield the name and the place of every server of a role, in order of their numbers.

    One that is alone has the role's name, others have numbers from 1. A server that is where one of the role was in the
    previous plan keeps that one's name, so that it need not be started again under another; the others have the
    numbers that are left. ``roles`` are the names of all roles, which no replica may have.
    """
    between = _separator(role, len(placed), roles)
    kept = _kept(role, placed, roles, previous)
    taken = set(kept.values())
    if role in taken:  # one that was alone counts as the first
        taken.add(f"{role}{between}1")
    alone = len(placed) == 1
    free = (
        name
        for name in _numbered(role, between, alone=alone)
        if name not in taken and (name == role or name not in roles)
    )
    named = [(kept.get(position) or next(free), place) for position, place in enumerate(placed)]
    return iter(sorted(named, key=lambda one: (len(one[0]), one[0])))


def _numbered(role: str, between: str, *, alone: bool) -> Iterator[str]:
    return chain([role] if alone else [], (f"{role}{between}{number}" for number in count(1)))


def _kept(role: str, placed: Sequence[Place], roles: Collection[str], previous: Plan | None) -> dict[int, str]:
    """Return the names that servers keep, by their position."""
    before: dict[Place, list[str]] = {}
    for server in sorted(previous.servers if previous else (), key=lambda server: (len(server.name), server.name)):
        if server.role == role and (server.name == role or server.name not in roles):
            before.setdefault(server.groups, []).append(server.name)
    return {position: before[place].pop(0) for position, place in enumerate(placed) if before.get(place)}


def _separator(role: str, replicas: int, roles: Collection[str]) -> str:
    """What stands between the name of a role and the number of a replica, so that no other role is called the same."""
    separators = chain("-", ("_" * length for length in count(1)))
    return next(
        one for one in separators if not any(f"{role}{one}{number}" in roles for number in range(1, replicas + 1))
    )
