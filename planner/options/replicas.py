"""Replicas: how many equal servers a role may have, and how many sequences each of them must and may serve.

A server with data-parallel ranks shares out its requests over them, so that loads are those of each rank.
"""

import functools
from collections.abc import Iterator

from msgspec import Struct

from planner.fleet import Role
from planner.options import ladders
from planner.options.layouts import Layout
from planner.options.place import Place
from planner.options.worth import SHARE
from planner.units import ceil_div


class Load(Struct, frozen=True, kw_only=True):
    """What each rank of ``replicas`` servers serves: from ``least`` to ``most`` sequences.

    All servers together add ``served_base + served × sequences`` to the share of the target that is served.
    """

    replicas: int
    least: int
    most: int
    served_base: int
    served: int


def counts(role: Role, place: Place, layout: Layout) -> tuple[int, ...]:
    """Return the numbers of replicas to try: the role's own, or those of a ladder from one to as many as are of use.

    Of a role across pools these are the numbers in one pool.

    More servers than GPUs, or than sequences wanted, are of no use where the number is open: two servers on a GPU do
    what one with as many sequences does with less.
    """
    if role.replicas is not None:
        return tuple(range(1, role.replicas + 1)) if role.across_pools else (role.replicas,)
    ranks = layout.data_parallel_size
    room = place.nodes.servers(layout.tensor_parallel_size, layout.pipeline_parallel_size, ranks)
    most = min(room, ceil_div(role.concurrency_target, ranks))
    return ladders.servers(max(most, 1))


def all_loads(role: Role, counts: tuple[int, ...], data_ranks: int = 1) -> tuple[Load, ...]:
    """Return the loads of every one of some numbers of servers."""
    return _all_loads(role.concurrency_min, role.concurrency_target, counts, data_ranks, across_pools=role.across_pools)


@functools.lru_cache(maxsize=256)
def _all_loads(
    least: int, target: int, counts: tuple[int, ...], data_ranks: int, *, across_pools: bool
) -> tuple[Load, ...]:
    return tuple(
        load for count in counts for load in _loads(least, target, count, data_ranks, across_pools=across_pools)
    )


def _loads(fewest: int, target: int, replicas: int, data_ranks: int, *, across_pools: bool) -> Iterator[Load]:
    """Yield how the requests of a role may be shared out over so many servers of so many ranks.

    Where the target cannot be shared out evenly, all together can take a few requests more than the target; these count
    for nothing, so reaching the target is a load of its own. Servers of a role across pools have others beside them:
    what all serve together, and what is beyond the target, is counted where they meet (``planner.search.teams``).
    """
    unit, ranks = SHARE // target, replicas * data_ranks
    if across_pools:
        yield Load(replicas=replicas, least=1, most=ceil_div(target, ranks), served_base=0, served=unit * ranks)
        return
    least, most = ceil_div(fewest, ranks), target // ranks
    if least <= most:
        yield Load(replicas=replicas, least=least, most=most, served_base=0, served=unit * ranks)
    if target % ranks:
        full = ceil_div(target, ranks)
        yield Load(replicas=replicas, least=full, most=full, served_base=unit * target, served=0)


def standing_load(role: Role, replicas: int, sequences: int, data_ranks: int = 1) -> Load:
    """Return the load of ranks that have so many sequences each already; what is beyond the target counts nothing.

    ``most`` is what a new plan would ask of each at most, from which the engine's default batch follows.
    """
    unit, target = SHARE // role.concurrency_target, role.concurrency_target
    ranks = replicas * data_ranks
    if role.across_pools:
        return Load(
            replicas=replicas, least=sequences, most=ceil_div(target, ranks), served_base=0, served=unit * ranks
        )
    most = target // ranks if sequences <= target // ranks else ceil_div(target, ranks)
    served = unit * min(target, ranks * sequences)
    return Load(replicas=replicas, least=sequences, most=most, served_base=served, served=0)
