"""FlashInfer's workspace: a buffer the attention takes when it is first planned, after the profile and at capture."""

import functools

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.attention_layers import attention_choices
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.tensors.identity import Same
from planner.units import MIB, ceil_div

# VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE in envs.py, 0.19.0 to 0.33.0.
_LEAST_BYTES = 394 * MIB
_BACKEND = "FLASHINFER"


def attention_workspace_bytes(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> int:
    """Return the workspace of one rank, 0 where another attention backend is the engine's choice.

    Source: ``_get_workspace_buffer`` in ``v1/attention/backends/flashinfer.py`` 0.19.0 to 0.33.0, priorities in
    ``platforms/cuda.py``; 4.0 GiB explain an estimate of CUDA graphs that rose from 0.56 to 4.2 GiB with 0.26
    (Qwen3.5-122B, batch 32768, github.com/vllm-project/vllm/issues/50780).
    """
    if _BACKEND not in chosen_backends(architecture, quantization, flags, profile, gpu):
        return 0
    widths = [
        ceil_div(layer.attention.num_heads, flags.tensor_parallel_size) * layer.attention.head_dim
        for layer in architecture.layers
        if layer.attention and not layer.attention.latent and not layer.attention.compressed
    ]
    if not widths:
        return 0
    scaled = flags.max_num_batched_tokens * max(widths) * profile.flashinfer_workspace_bytes_per_value
    return max(_LEAST_BYTES, scaled)


def chosen_backends(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> frozenset[str | None]:
    """Return the backends of a server's attention layers; none where the rules of its GPU or version were not read."""
    decides = _Decides(
        flags.dtype,
        flags.kv_cache_dtype,
        flags.tensor_parallel_size,
        flags.block_size,
        flags.attention_backend,
        flags.context_parallel_size,
    )
    return _chosen(Same(architecture), Same(quantization), Same(profile), Same(gpu), decides)


class _Decides(Struct, frozen=True):
    """The flags that decide the attention backend."""

    dtype: str
    kv_cache_dtype: str
    ranks: int
    block_size: int | None
    attention_backend: str
    context_parallel_size: int


@functools.lru_cache(maxsize=4096)
def _chosen(
    architecture: Same[Architecture],
    quantization: Same[Quantization],
    profile: Same[EngineProfile],
    gpu: Same[GPU],
    decides: _Decides,
) -> frozenset[str | None]:
    """Return the engine's choices; a plan asks the same for hundreds of flags that do not matter."""
    flags = ServeFlags(
        max_model_len=1,
        max_num_seqs=1,
        max_num_batched_tokens=1,
        gpu_memory_utilization=1.0,
        dtype=decides.dtype,
        kv_cache_dtype=decides.kv_cache_dtype,
        tensor_parallel_size=decides.ranks,
        block_size=decides.block_size,
        attention_backend=decides.attention_backend,
        context_parallel_size=decides.context_parallel_size,
    )
    choices = attention_choices(architecture.value, quantization.value, flags, profile.value, gpu.value)
    return frozenset(choice.backend for _, choice in choices)
