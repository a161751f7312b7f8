"""The caches of attention over compressed latents: a window, the compressed tokens, an index, running states."""

from collections.abc import Iterator

from planner.architecture import Attention, Compressed
from planner.tensors.compressed_parameters import state_width
from planner.tensors.kv_spec import CacheSpec
from planner.units import ceil_div

# Source: models/deepseek_v4/attention.py, compressor.py and v1/attention/backends/mla/sparse_swa.py of vLLM 0.33.0.
# Tokens per block of compressed layers, of windows, and of running states by compression ratio.
BLOCK_SIZE = 256
_WINDOW_BLOCK = 64
_STATE_BLOCK = {4: 4, 128: 8}
# One latent vector in the packed FP8 format: 448 FP8 values, 64 rotary values in bf16, 8 bytes of scales.
_PACKED_BYTES = 584
_ALIGNMENT = 576
_INDEX_SCALE_BYTES = 4


def compressed_specs(attention: Attention, facts: Compressed) -> Iterator[CacheSpec]:
    """Yield the caches of one layer; pages of different sizes lie side by side in a block."""
    yield _spec("sliding", _WINDOW_BLOCK, _WINDOW_BLOCK * _PACKED_BYTES, attention.window or 0)
    if facts.ratio <= 1:
        return
    stored = BLOCK_SIZE // facts.ratio
    yield _spec("latent", BLOCK_SIZE, stored * _PACKED_BYTES)
    yield _state(facts.ratio, attention.head_dim)
    if facts.index_heads:
        yield _spec("latent", BLOCK_SIZE, stored * (facts.index_head_dim + _INDEX_SCALE_BYTES))
        yield _state(facts.ratio, facts.index_head_dim)


def _state(ratio: int, size: int) -> CacheSpec:
    """Return the window of fp32 values a compressor still needs."""
    block, width = _STATE_BLOCK[ratio], state_width(ratio, size)
    return _spec("sliding", block, block * width * 4, ratio * width // (2 * size))


def _spec(kind: str, block_size: int, content: int, reach: int = 0) -> CacheSpec:
    return CacheSpec(
        kind="sliding" if kind == "sliding" else "latent",
        block_size=block_size,
        page_bytes=ceil_div(content, _ALIGNMENT) * _ALIGNMENT,
        reach=reach,
        packed=True,
    )
