"""Sparse latent attention: the workspace it shares with the experts, and copies of queries with heads to fill a kernel.

An index chooses the tokens that each query attends to (DeepSeek-V3.2, GLM-5). FlashMLA's kernels for that take 64 or
128 heads; a rank that has fewer pads its queries, and what comes out is as wide.
"""

import functools

from msgspec import Struct

from planner.architecture import Architecture, Attention
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.workspace import chosen_backends
from planner.tensors.identity import Same
from planner.units import MIB, ceil_div

_BACKEND = "FLASHMLA_SPARSE"
_FP8 = ("fp8", "fp8_e4m3", "fp8_ds_mla")
_DTYPE_BYTES = 2
# VLLM_SPARSE_INDEXER_MAX_LOGITS_MB in envs.py, 0.19.0 to 0.33.0; the profile allocates as much
# (model_executor/layers/sparse_attn_indexer.py).
_LOGITS_BYTES = 512 * MIB
# get_prefill_workspace_size in v1/attention/backends/mla/flashmla_sparse.py and get_max_prefill_buffer_size in
# indexer.py: so many rows for each token of the longest context, of 132 bytes for the index.
_PROMPT_ROWS, _INDEX_ROWS, _INDEX_ROW_BYTES = 5, 40, 132
# MIN_HEADS_FOR_BF16_PREFILL in flashmla_sparse.py: with fewer heads all tokens go through the kernel for single tokens.
_FEW_HEADS = 32
_HEADS, _MOST_HEADS = 64, 128
_BLACKWELL = 10
_SHARED_SINCE, _NARROW_SINCE, _PADDED_SINCE = (0, 31, 0), (0, 32, 0), (0, 29, 0)


class SparseLatent(Struct, frozen=True, kw_only=True):
    """What one rank takes for sparse latent attention beyond what any attention takes, in bytes.

    ``workspace_bytes`` are reserved while the model is made, in the buffer that experts use as well; ``retained`` says
    that a larger buffer for the experts does not free it. ``profiled_bytes`` are alive in the profiled pass while the
    attention runs, ``serving_bytes`` in their place while it serves.
    """

    workspace_bytes: int = 0
    retained: bool = False
    profiled_bytes: int = 0
    serving_bytes: int = 0

    def with_experts(self, experts_bytes: int) -> int:
        """Return what the buffer takes that experts need so much of."""
        apart = self.retained and experts_bytes > self.workspace_bytes
        return experts_bytes + self.workspace_bytes if apart else max(experts_bytes, self.workspace_bytes)


NOT_SPARSE = SparseLatent()


def sparse_latent(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> SparseLatent:
    """Return what one rank takes for sparse latent attention, nothing where no layer has it.

    Source: ``FlashMLASparseImpl`` in ``v1/attention/backends/mla/flashmla_sparse.py`` 0.17.0 to 0.33.0: ``__init__``
    (workspace), ``_fp8_flash_mla_kernel`` and ``_bf16_flash_mla_kernel`` (padded queries, results).
    """
    attention = _sparse(Same(architecture))
    if attention is None:
        return NOT_SPARSE
    index = _INDEX_ROWS * flags.max_model_len * _INDEX_ROW_BYTES
    workspace = serving = 0
    if _BACKEND in chosen_backends(architecture, quantization, flags, profile, gpu):
        heads = ceil_div(attention.num_heads, flags.tensor_parallel_size)
        asked = flags.kv_cache_dtype
        stored = quantization.kv_cache_dtype if asked == "auto" else asked
        take = _fp8_bytes if stored in _FP8 else _half_bytes
        workspace, serving = take(attention, heads, flags, parse_version(profile.version), gpu)
    return SparseLatent(
        workspace_bytes=max(index, workspace * _DTYPE_BYTES),
        retained=bool(workspace) and parse_version(profile.version) < _SHARED_SINCE,
        profiled_bytes=_LOGITS_BYTES,
        # With context parallelism these are counted with what ranks exchange.
        serving_bytes=serving * _DTYPE_BYTES if flags.context_parallel_size == 1 else 0,
    )


@functools.lru_cache(maxsize=4096)
def _sparse(of: Same[Architecture]) -> Attention | None:
    """Return the attention of a model's sparse latent layers, None where it has none."""
    found = (layer.attention for layer in of.value.layers)
    return next((one for one in found if one and one.latent and one.latent.index_heads), None)


def _fp8_bytes(
    attention: Attention, heads: int, flags: ServeFlags, version: tuple[int, int, int], gpu: GPU
) -> tuple[int, int]:
    """Return the elements of the workspace and of what serving takes with a cache in FP8.

    Few heads send all tokens through one kernel, as queries padded to 64. More of them send prompts through another,
    whose padded copies are part of the workspace from 0.31 on, and single tokens through the first.
    """
    query, values = _widths(attention)
    rows, single = flags.max_num_batched_tokens, min(flags.sampled_rows, flags.max_num_batched_tokens)
    padded = _padded(heads, version, gpu)
    workspace = rows * heads * query + _PROMPT_ROWS * flags.max_model_len * query
    prompts = padded * ((query if padded > heads else 0) + values) + heads * values
    if version >= _SHARED_SINCE:
        workspace += rows * (padded * (query + values) + heads * values)
        prompts = 0
    if heads < _FEW_HEADS:
        return workspace, rows * _HEADS * (query + values)
    kernel = _HEADS if heads <= _HEADS else _MOST_HEADS
    return workspace, rows * prompts + single * kernel * ((query if kernel > heads else 0) + values)


def _half_bytes(
    attention: Attention, heads: int, flags: ServeFlags, version: tuple[int, int, int], gpu: GPU
) -> tuple[int, int]:
    """Return the elements of the workspace and of what serving takes with a cache in 16 bits.

    Padded queries are a copy up to 0.28 and part of the workspace from then on.
    """
    query, values = _widths(attention)
    rows, padded = flags.max_num_batched_tokens, _padded(heads, version, gpu)
    if version >= _PADDED_SINCE:
        return rows * padded * query, rows * padded * values
    return rows * heads * query, rows * padded * ((query if padded > heads else 0) + values)


def _padded(heads: int, version: tuple[int, int, int], gpu: GPU) -> int:
    """Return the heads that the kernel for prompts computes: a multiple of 64, on Blackwell of 128 before 0.32."""
    blackwell = gpu.compute_capability is None or gpu.compute_capability[0] == _BLACKWELL
    unit = _MOST_HEADS if blackwell and version < _NARROW_SINCE else _HEADS
    return ceil_div(heads, unit) * unit


def _widths(attention: Attention) -> tuple[int, int]:
    """Return the elements of a query of one head, and of what attention makes of it."""
    latent = attention.latent
    return (latent.kv_rank + latent.rope_head_dim, latent.kv_rank) if latent else (0, 0)
