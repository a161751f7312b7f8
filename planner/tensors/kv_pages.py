"""What one token, or one recurrent state, costs in one layer's cache."""

from msgspec import Struct

from planner.architecture import Attention, BlockIndex, Latent, State
from planner.tensors.kv_packed import PACKED, slot_bytes
from planner.units import ceil_div

# Bytes per element times 16, so that packed formats stay whole (v1/kv_cache_interface.py, vLLM 0.33.0). NVFP4 packs
# two values into a byte and keeps one FP8 scale per sixteen.
_SIXTEENTHS = {
    "fp8": 16, "fp8_e4m3": 16, "fp8_e5m2": 16, "fp8_inc": 16, "float16": 32, "half": 32, "bfloat16": 32, "nvfp4": 9,
    "nvfp4_4over6": 9, "int8_per_token_head": 16, "fp8_per_token_head": 16, "int4_per_token_head": 8,
}  # fmt: skip
# An fp32 scale for keys and one for values, per token and head.
_HEAD_SCALE_BYTES = 8
# One token of sparse latent attention: 512 FP8 values, four fp32 scales, 64 rotary values in bf16; or all in NVFP4 and
# FP8 (model_executor/layers/attention/mla_attention.py, vLLM 0.33.0).
_SPARSE_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
_INDEX_SCALE_GROUP = 128
_STATE_DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4}
CACHE_DTYPES = ("auto", *(name for name in _SIXTEENTHS if name != "half"), *_SPARSE_BYTES, *PACKED)
"""KV dtypes whose cost is known, as the engine spells them."""
# What the kernels of block-sparse attention read (models/minimax_m3/common/sparse_attention.py, vLLM 0.33.0).
_BLOCK_SPARSE = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4")


def known_dtype(kv_cache_dtype: str) -> bool:
    """Whether the cost of this KV dtype is known."""
    return kv_cache_dtype in ("auto", *_SIXTEENTHS, *_SPARSE_BYTES, *PACKED)


def suits(attention: Attention, kv_cache_dtype: str) -> bool:
    """Whether a KV dtype is one for this kind of attention: some are for latent attention alone, some for the other."""
    if attention.latent or attention.compressed:
        return kv_cache_dtype not in PACKED
    if attention.index:
        return kv_cache_dtype in _BLOCK_SPARSE
    return kv_cache_dtype not in _SPARSE_BYTES


def attention_bytes(
    attention: Attention, kv_cache_dtype: str, dtype_bytes: int, tensor_ranks: int, rotary_width: int = 0
) -> int:
    """Return the bytes of one token in one attention layer on one rank.

    Keys and values of at least one head are on every rank; the latent vector is whole on all of them. Some packed
    formats keep the ``rotary_width`` of a head apart. What does not suit the attention is refused elsewhere and counts
    as the model's dtype here.

    Raises:
        ValueError: the KV dtype is not one whose cost is known.
    """
    if not suits(attention, kv_cache_dtype):
        kv_cache_dtype = "auto"
    if attention.latent:
        return _latent_bytes(attention.latent, kv_cache_dtype, dtype_bytes)
    heads = max(1, attention.num_kv_heads // tensor_ranks)
    if kv_cache_dtype in PACKED:
        return heads * slot_bytes(kv_cache_dtype, attention.head_dim, rotary_width or attention.head_dim)
    width = attention.head_dim + attention.value_head_dim
    scales = _HEAD_SCALE_BYTES if kv_cache_dtype.endswith("per_token_head") else 0
    return heads * (width * _sixteenths(kv_cache_dtype, dtype_bytes) // 16 + scales)


def index_bytes(latent: Latent) -> int:
    """Return the bytes of one token in the indexer's cache: FP8 keys and an fp32 scale per 128 values."""
    return latent.index_head_dim + latent.index_head_dim // _INDEX_SCALE_GROUP * 4


def block_index_bytes(index: BlockIndex) -> int:
    """Return the bytes of one token in the cache of block-sparse attention's index: one key in bf16.

    Source: ``models/minimax_m3/common/indexer.py:MiniMaxM3IndexerCache``, vLLM 0.33.0.
    """
    return 2 * index.head_dim


class StateDtypes(Struct, frozen=True):
    """Bytes of an element of recurrent states where a server is told: of the convolution, and of the state itself."""

    convolution: int | None = None
    state: int | None = None


OWN_DTYPES = StateDtypes()
"""Nothing is told: dtypes are those of the model."""


def state_dtypes(cache: str, states: str) -> StateDtypes:
    """Return what ``--mamba-cache-dtype`` and ``--mamba-ssm-cache-dtype`` ask for.

    Source: ``MambaStateDtypeCalculator`` in ``layers/mamba/mamba_utils.py``, 0.12.0 to 0.33.0.
    """
    return StateDtypes(_STATE_DTYPES.get(cache), _STATE_DTYPES.get(states))


def state_bytes(state: State, dtype_bytes: int, tensor_ranks: int, told: StateDtypes = OWN_DTYPES) -> int:
    """Return the bytes of one sequence's state in one layer on one rank: convolution inputs and the state proper.

    A dtype that the model's config names for the state gives way to one ``told`` for the state, not to one for all.

    Source: ``layers/mamba/mamba_utils.py:MambaStateShapeCalculator``, vLLM 0.33.0. Where ranks outnumber groups, the
    groups are repeated.
    """
    convolution = told.convolution or dtype_bytes
    element = told.state or state.state_dtype_bytes or convolution
    heads = state.heads // tensor_ranks
    window = (max(0, state.conv_kernel - 1) + state.lookahead) * convolution
    if state.kind == "short-conv":
        return state.inner_size // tensor_ranks * window
    if state.kind == "mamba1":
        inner = state.inner_size // tensor_ranks
        return inner * window + inner * state.state_size * element
    if state.kind == "mamba2":
        groups = state.groups if state.groups % tensor_ranks == 0 else max(state.groups, tensor_ranks)
        channels = state.inner_size + 2 * groups * state.state_size
        return channels // tensor_ranks * window + heads * state.head_dim * state.state_size * element
    keys = state.key_heads * state.key_head_dim
    channels = (2 * keys + state.inner_size) // tensor_ranks
    if state.kind == "kimi-delta":
        element = max(told.state or 0, state.state_dtype_bytes or 4)  # not all of its classes look at what is told
    return channels * window + heads * state.head_dim * state.key_head_dim * element


def aligned_block_size(state: int, token: int, least: int) -> int:
    """Return the tokens per attention block that make its page at least as large as a state of ``state`` bytes.

    Source: ``platforms/interface.py:_align_hybrid_block_size``, vLLM 0.33.0 (``models/config.py`` before).
    """
    return least * ceil_div(state, least * token)


def _latent_bytes(latent: Latent, kv_cache_dtype: str, dtype_bytes: int) -> int:
    width = latent.kv_rank + latent.rope_head_dim
    if kv_cache_dtype in _SPARSE_BYTES:
        return _SPARSE_BYTES[kv_cache_dtype]
    if latent.index_topk and kv_cache_dtype.startswith("fp8"):
        return _SPARSE_BYTES["fp8_ds_mla"]
    scales = _HEAD_SCALE_BYTES if kv_cache_dtype.endswith("per_token_head") else 0
    return width * _sixteenths(kv_cache_dtype, dtype_bytes) // 16 + scales


def _sixteenths(kv_cache_dtype: str, dtype_bytes: int) -> int:
    if kv_cache_dtype == "auto":
        return dtype_bytes * 16
    if kv_cache_dtype not in _SIXTEENTHS:
        raise ValueError(f"KV cache dtype {kv_cache_dtype!r} is not one whose cost is known")
    return _SIXTEENTHS[kv_cache_dtype]
