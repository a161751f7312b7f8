"""Sizes: what a server takes of a GPU, and the batch the engine chooses for it."""

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.catalog.stored import stored
from planner.engine.flags import ServeFlags, default_flags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.memory.demand import Demand, demand
from planner.memory.refusals import refusal
from planner.memory.terms import Server

Made = tuple[str, Architecture, Quantization, GPU]
"""The repository of a checkpoint, what it is made of, and the GPU it is to be on."""

_SIZED: dict[object, Demand | None] = {}
_STORED: dict[tuple[str, str], tuple[Architecture, Quantization]] = {}


def made_of(model: Model, variant: Variant) -> tuple[Architecture, Quantization]:
    """Return what a checkpoint is made of."""
    key = model.repository, variant.repository
    if key not in _STORED:
        _STORED[key] = stored(model, variant)
    return _STORED[key]


def engine_batch(gpu: GPU, profile: EngineProfile, architecture: Architecture, context: int, sequences: int) -> int:
    """Return the batch the engine chooses itself."""
    return default_flags(
        profile, gpu, architecture, max_model_len=context, max_num_seqs=sequences
    ).max_num_batched_tokens


def flags_of(
    made: Made, profile: EngineProfile, split: tuple[int, int], cache: str, context: int, batch: int, limit: int
) -> ServeFlags:
    """Return the flags of a server that takes at most ``limit`` sequences."""
    _, architecture, _, gpu = made
    return default_flags(
        profile, gpu, architecture, max_model_len=context, max_num_seqs=limit, max_num_batched_tokens=batch,
        kv_cache_dtype=cache, tensor_parallel_size=split[0], pipeline_parallel_size=split[1],
    )  # fmt: skip


def sized(
    made: Made,
    profile: EngineProfile,
    split: tuple[int, int],
    cache: str,
    context: int,
    batch: int,
    limit: int,
    request: int,
) -> Demand | None:
    """Return the memory of a server that takes at most ``limit`` sequences; None when the engine refuses it."""
    repository, architecture, quantization, gpu = made
    key = (repository, gpu.name, split, cache, context, batch, limit, request)
    if key not in _SIZED:
        flags = flags_of(made, profile, split, cache, context, batch, limit)
        server = Server(architecture=architecture, quantization=quantization, flags=flags)
        whole = replace(flags, max_num_batched_tokens=max(batch, limit))
        refused = refusal(architecture, quantization, whole, profile, gpu)
        _SIZED[key] = None if refused else demand(server, gpu, profile, request)
    return _SIZED[key]
