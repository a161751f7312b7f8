"""Keys of a role that say how its servers share out a model, and its requests over pools: their shape in fleet.yaml."""

from typing import ClassVar

from planner.fleet import values
from planner.fleet.shapes import BOOLEAN, Map, Value, key, sizes

_SWITCH = {"anyOf": [{"const": values.AUTO}, {"type": "boolean"}]}


class LayoutKeys(Map):
    """Whether every token of a server is everywhere, or its ranks have requests of their own; where servers may be."""

    later: ClassVar[tuple[str, ...]] = ("data_parallel", "expert_parallel", "context_parallel", "across_pools")

    data_parallel: tuple[int, ...] | None = key(
        sizes(
            values.whole(1, values.MAX_DATA_RANKS, "auto or whole numbers of ranks"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_DATA_RANKS},
        ),
        "ranks with requests and a KV cache of their own that share experts: auto, 8",
        default=(1,),
    )
    expert_parallel: bool | str = key(
        Value(values.auto_or_boolean, _SWITCH),
        "share out whole experts over all ranks: true, false, auto; absent: as data_parallel",
        default="",
    )
    context_parallel: tuple[int, ...] | None = key(
        sizes(
            values.whole(1, values.MAX_CONTEXT_RANKS, "auto or whole numbers of ranks"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_CONTEXT_RANKS},
        ),
        "tensor-parallel ranks that hold a part of the cached tokens each: auto, 8",
        default=(1,),
    )
    across_pools: bool = key(
        BOOLEAN, "its replicas may be in several pools, each pool with settings of its own", default=False
    )


def expert_parallel(read: LayoutKeys) -> bool | None:
    """Return whether a role's servers share out whole experts; None leaves it to the planner.

    It is left to the planner too where the role says something of its data-parallel ranks alone.
    """
    if isinstance(read.expert_parallel, bool):
        return read.expert_parallel
    return None if read.expert_parallel == values.AUTO or read.data_parallel != (1,) else False
