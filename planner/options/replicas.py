"""Replicas: how many equal servers a role may have, and how many sequences each of them must and may serve."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.fleet import Role
from planner.options.place import Place
from planner.options.worth import SHARE
from planner.units import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What each of ``replicas`` servers serves: from ``least`` to ``most`` sequences.

    All servers together add ``served_base + served × sequences`` to the share of the target that is served.
    """

    replicas: int
    least: int
    most: int
    served_base: int
    served: int


def counts(role: Role, place: Place, tensor_parallel_size: int, stages: int) -> tuple[int, ...]:
    """Return the numbers of replicas to try: the role's own, or every number from one to as many as are of use.

    More servers than GPUs, or than sequences wanted, are of no use where the number is open: two servers on a GPU do
    what one with as many sequences does with less.
    """
    if role.replicas is not None:
        return (role.replicas,)
    most = min(place.nodes.servers(tensor_parallel_size, stages), role.concurrency_target)
    return tuple(range(1, max(most, 1) + 1))


def loads(role: Role, replicas: int) -> Iterator[Load]:
    """Yield how the requests of a role may be shared out over so many servers.

    Where the target cannot be shared out evenly, the servers together can take a few requests more than the target;
    these count for nothing, so reaching the target is a load of its own.
    """
    unit, target = SHARE // role.concurrency_target, role.concurrency_target
    least, most = ceil_div(role.concurrency_min, replicas), target // replicas
    if least <= most:
        yield Load(replicas=replicas, least=least, most=most, served_base=0, served=unit * replicas)
    if target % replicas:
        full = ceil_div(target, replicas)
        yield Load(replicas=replicas, least=full, most=full, served_base=unit * target, served=0)


def standing_load(role: Role, replicas: int, sequences: int) -> Load:
    """Return the load of servers that have so many sequences each already; what is beyond the target counts nothing.

    ``most`` is what a new plan would ask of each at most, from which the engine's default batch follows.
    """
    unit, target = SHARE // role.concurrency_target, role.concurrency_target
    most = target // replicas if sequences <= target // replicas else ceil_div(target, replicas)
    served = unit * min(target, replicas * sequences)
    return Load(replicas=replicas, least=sequences, most=most, served_base=served, served=0)
