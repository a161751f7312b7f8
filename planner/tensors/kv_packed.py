"""KV cache formats that pack keys and values of a token and head into one slot of bytes."""

from planner.architecture import Architecture
from planner.units import ceil_div

# Bits of a key and of a value (quantization/turboquant/config.py:TQ_PRESETS, vLLM 0.33.0). 8-bit keys are plain FP8.
_TURBOQUANT = {
    "turboquant_k8v4": (8, 4), "turboquant_4bit_nc": (4, 4), "turboquant_k3v4_nc": (3, 4), "turboquant_3bit_nc": (3, 3),
}  # fmt: skip
# Bits of a value, and whether keys are kept without wider rotary parts (v1/attention/ops/rocm_octave.py, 0.33.0).
_OCTAVE = {"octave_k3v4": (4, False), "octave_k3v3": (3, False), "octave_k3v3_compact": (3, True)}
_ULTRAQUANT = "ultraquant_4bit"
_HALF = 2  # an fp16 norm, scale or zero point
_OCTAVE_BLOCK = 64
_ULTRAQUANT_GROUP = 32
_BOUNDARY = 2

PACKED = (*_TURBOQUANT, *_OCTAVE, _ULTRAQUANT)
AMD_ALONE = (*_OCTAVE, _ULTRAQUANT)
"""What only the backends for AMD GPUs offer (platforms/rocm.py, vLLM 0.33.0)."""


def slot_bytes(kv_cache_dtype: str, head_dim: int, rotary_width: int) -> int:
    """Return the bytes of one token in one head, keys and values together.

    Source: ``slot_size_aligned`` of ``quantization/turboquant/config.py``, ``slot_size`` of
    ``ops/ultraquant/format.py`` and ``slot_bytes`` of ``ops/rocm_octave.py``, vLLM 0.33.0. Sizes that a format does not
    take (see ``unfit``) are rounded down.
    """
    if kv_cache_dtype in _TURBOQUANT:
        key_bits, value_bits = _TURBOQUANT[kv_cache_dtype]
        key = head_dim if key_bits == 8 else ceil_div(head_dim * key_bits, 8) + _HALF
        slot = key + ceil_div(head_dim * value_bits, 8) + 2 * _HALF
        return slot + slot % 2
    if kv_cache_dtype == _ULTRAQUANT:
        return head_dim + 2 * (head_dim // _ULTRAQUANT_GROUP)
    value_bits, compact = _OCTAVE[kv_cache_dtype]
    wide = 0 if compact else rotary_width
    scales = 2 if compact else head_dim // _OCTAVE_BLOCK + 1
    raw = wide * 4 // 8 + (head_dim - wide) * 3 // 8 + head_dim * value_bits // 8 + _HALF * scales
    align = 4 if compact else 8
    return ceil_div(raw, align) * align


def unfit(kv_cache_dtype: str, head_dim: int, rotary_width: int) -> str:
    """Return why a packed format does not take heads of this size, or nothing."""
    if kv_cache_dtype in _OCTAVE and (head_dim % _OCTAVE_BLOCK or rotary_width % _OCTAVE_BLOCK):
        return (
            f"{kv_cache_dtype} needs head and rotary sizes in multiples of {_OCTAVE_BLOCK}, not {head_dim} and "
            f"{rotary_width}"
        )
    if kv_cache_dtype == "octave_k3v3_compact" and head_dim & (head_dim - 1):
        return f"{kv_cache_dtype} needs a head size that is a power of two, not {head_dim}"
    if kv_cache_dtype == _ULTRAQUANT and head_dim % _ULTRAQUANT_GROUP:
        return f"{kv_cache_dtype} needs a head size in multiples of {_ULTRAQUANT_GROUP}, not {head_dim}"
    return ""


def unpacked_layers(kv_cache_dtype: str, architecture: Architecture) -> frozenset[int]:
    """Return the layers whose cache stays in the model's dtype: the first and last two of a model without states.

    Source: ``quantization/turboquant/config.py:get_boundary_skip_layers``, called from ``engine/arg_utils.py`` for
    turboquant and ultraquant, vLLM 0.20.0 to 0.33.0; Octave packs every layer.
    """
    if kv_cache_dtype not in _TURBOQUANT and kv_cache_dtype != _ULTRAQUANT:
        return frozenset()
    if architecture.has_state:
        return frozenset()
    count = architecture.num_layers
    edge = min(_BOUNDARY, count // 2)
    return frozenset((*range(edge), *range(count - edge, count)))
