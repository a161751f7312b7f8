"""Layouts: over how many ranks, and in which ways, a server of a role may be shared out on the GPUs of a place.

Ranks of tensor parallelism have a part of every layer. Data-parallel ranks have all of a model but its experts, with
requests and a KV cache of their own, and share out the experts with all other ranks of the server. That is why ``auto``
tries them for mixtures of experts alone: of any other model replicas do the same without waiting for each other. With
context parallelism tensor-parallel ranks that would cache the same tokens deal them out.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.settings import EngineSettings, serve_flags
from planner.facts.quantization import Quantization
from planner.fleet import OWN_TASKS, Pool, Role
from planner.memory.context_parallel import shape_refusal
from planner.memory.validity import fewest_experts, invalid
from planner.options.ladders import NODES
from planner.tensors.identity import Same

_SMALLEST = ServeFlags(max_model_len=1, max_num_seqs=1, max_num_batched_tokens=1, gpu_memory_utilization=1.0)


class Layout(Struct, frozen=True):
    """How the ranks of one server share out its model."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    context_parallel_size: int = 1

    @property
    def ranks(self) -> int:
        """The GPUs of the server."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


def layout_of(flags: ServeFlags) -> Layout:
    """Return how flags share out a model."""
    return Layout(
        flags.tensor_parallel_size,
        flags.pipeline_parallel_size,
        flags.data_parallel_size,
        flags.expert_parallel,
        flags.context_parallel_size,
    )


def narrowed(role: Role, layout: Layout) -> Role:
    """Return a role that allows one layout alone."""
    return replace(
        role,
        tensor_parallel_sizes=(layout.tensor_parallel_size,),
        pipeline_parallel_sizes=(layout.pipeline_parallel_size,),
        data_parallel_sizes=(layout.data_parallel_size,),
        expert_parallel=layout.expert_parallel,
        context_parallel_sizes=(layout.context_parallel_size,),
    )


def allows(role: Role, layout: Layout) -> bool:
    """Whether a role says nothing against a layout."""
    return (
        layout.tensor_parallel_size in (role.tensor_parallel_sizes or (layout.tensor_parallel_size,))
        and layout.pipeline_parallel_size in (role.pipeline_parallel_sizes or (layout.pipeline_parallel_size,))
        and layout.data_parallel_size in (role.data_parallel_sizes or (layout.data_parallel_size,))
        and role.expert_parallel in (None, layout.expert_parallel)
        and layout.context_parallel_size in (role.context_parallel_sizes or (layout.context_parallel_size,))
    )


def layouts(
    role: Role, pool: Pool, architecture: Architecture, quantization: Quantization, profile: EngineProfile
) -> Iterator[Layout]:
    """Yield the layouts that a role allows and for which the nodes of a pool have GPUs enough."""
    mixture = fewest_experts(Same(architecture)) > 0
    for tensor in role.tensor_parallel_sizes or pool.tensor_parallel_sizes:
        for stages in role.pipeline_parallel_sizes or (1,):
            for data in _data_ranks(role, pool, tensor, stages, mixture=mixture):
                if not pool.server_nodes(tensor, stages, data):
                    continue
                if stages * data > 1 and role.task in OWN_TASKS:
                    continue
                layout = Layout(tensor, stages, data)
                shares = _shares_experts(role, layout, architecture, quantization, profile)
                for parts in _context_parts(role, tensor, architecture, profile):
                    yield replace(layout, expert_parallel=shares, context_parallel_size=parts)


def _context_parts(role: Role, tensor: int, architecture: Architecture, profile: EngineProfile) -> tuple[int, ...]:
    """Return over how many ranks to deal out cached tokens: as the role says, or 1 and each power of two that may be.

    What the role says is taken as written: where the engine refuses it, the plan says why.
    """
    if role.context_parallel_sizes is not None:
        return role.context_parallel_sizes
    found, parts = [1], 2
    while parts <= tensor:
        flags = replace(_SMALLEST, tensor_parallel_size=tensor, context_parallel_size=parts)
        if not shape_refusal(architecture, flags, profile):
            found.append(parts)
        parts *= 2
    return tuple(found)


def _data_ranks(role: Role, pool: Pool, tensor: int, stages: int, *, mixture: bool) -> tuple[int, ...]:
    """Return the numbers of data-parallel ranks to try.

    Left to the planner they are powers of two on one node, or as many as fill some nodes.
    """
    if role.data_parallel_sizes is not None:
        return role.data_parallel_sizes
    if not mixture or role.task in OWN_TASKS or not pool.server_nodes(tensor, stages, 2):
        return (1,)
    ranks = [1]
    while 2 * ranks[-1] * tensor * stages <= pool.gpus_per_node:
        ranks.append(2 * ranks[-1])
    return (*ranks, *(nodes * ranks[-1] for nodes in NODES if nodes <= pool.nodes))


def _shares_experts(
    role: Role, layout: Layout, architecture: Architecture, quantization: Quantization, profile: EngineProfile
) -> bool:
    """Return whether ranks share out whole experts.

    Left to the planner they do so with data parallelism, and without it where the engine refuses to cut experts in so
    many parts.
    """
    if role.expert_parallel is not None:
        return role.expert_parallel
    first = layout.data_parallel_size > 1
    for choice in (first, not first):
        flags = replace(
            _SMALLEST,
            tensor_parallel_size=layout.tensor_parallel_size,
            data_parallel_size=layout.data_parallel_size,
            expert_parallel=choice,
        )
        if not invalid(architecture, quantization, flags, profile):
            return choice
    return False


@functools.lru_cache(maxsize=256)
def pinned_flags(layout: Layout, settings: EngineSettings) -> Mapping[str, Any]:
    """Return the flags that a layout and the role's own settings are."""
    return {**asdict(layout), **serve_flags(settings)}
