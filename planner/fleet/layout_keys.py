"""Keys of a role that say how its servers share out a model, and its requests over pools: their shape in fleet.yaml."""

from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.fleet import values
from planner.fleet.shapes import Map, sizes

_SWITCH = {"anyOf": [{"const": values.AUTO}, {"type": "boolean"}]}


class LayoutKeys(Map):
    """Whether every token of a server is everywhere, or its ranks have requests of their own; where servers may be."""

    later: ClassVar[tuple[str, ...]] = ("data_parallel", "expert_parallel", "context_parallel", "across_pools")

    data_parallel: Annotated[
        tuple[int, ...] | None,
        *sizes(
            values.whole(1, values.MAX_DATA_RANKS, "auto or whole numbers of ranks"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_DATA_RANKS},
        ),
    ] = Field(default=(1,), description="ranks with requests and a KV cache of their own that share experts: auto, 8")
    expert_parallel: Annotated[bool | str, PlainValidator(values.auto_or_boolean), WithJsonSchema(_SWITCH)] = Field(
        default="", description="share out whole experts over all ranks: true, false, auto; absent: as data_parallel"
    )
    context_parallel: Annotated[
        tuple[int, ...] | None,
        *sizes(
            values.whole(1, values.MAX_CONTEXT_RANKS, "auto or whole numbers of ranks"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_CONTEXT_RANKS},
        ),
    ] = Field(default=(1,), description="tensor-parallel ranks that hold a part of the cached tokens each: auto, 8")
    across_pools: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="its replicas may be in several pools, each pool with settings of its own"
    )


def expert_parallel(read: LayoutKeys) -> bool | None:
    """Return whether a role's servers share out whole experts; None leaves it to the planner.

    It is left to the planner too where the role says something of its data-parallel ranks alone.
    """
    if isinstance(read.expert_parallel, bool):
        return read.expert_parallel
    return None if read.expert_parallel == values.AUTO or read.data_parallel != (1,) else False
