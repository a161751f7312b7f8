"""Context parallelism: ranks of tensor parallelism that would hold the same keys and values hold a part of them each.

Without it every rank of latent attention, and every rank beyond the KV heads of other attention, repeats what another
one caches. With ``--decode-context-parallel-size`` they deal out tokens, exchange queries and merge what each found.
"""

from collections.abc import Iterator

from planner.architecture import Architecture, Attention
from planner.engine.attention_layers import attention_choices
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.units import ceil_div

SINCE = "0.29.0"
"""The first version that looks only among backends that can (``use_dcp`` in ``v1/attention/selector.py``)."""
# FlashMLA's sparse kernels merge only in their path for a cache in FP8 and few heads, whose queries are padded to 64;
# those of a group must not need more (FlashMLASparseMetadataBuilder and MIN_HEADS_FOR_BF16_PREFILL in
# v1/attention/backends/mla/flashmla_sparse.py 0.29.0 to 0.33.0).
_SPARSE, _SPARSE_CACHES, _SPARSE_HEADS = "FLASHMLA_SPARSE", ("fp8", "fp8_e4m3", "fp8_ds_mla"), 32
_PADDED_HEADS = 64
# Keeps the query projections of all ranks of a group on each of them (models/config.py:GlmMoeDsaForCausalLM, 0.33.0).
_WHOLE_QUERIES = ("GlmMoeDsaForCausalLM",)
_WORKSPACE_TOKENS = 64 * 1024


def shape_refusal(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Refusal | None:
    """Return why a model cannot deal out its tokens over so many ranks, whatever its cache and its GPU, or None.

    Source: ``__post_init__`` in ``config/parallel.py`` and ``verify_with_parallel_config`` in ``config/model.py``,
    0.20.0 to 0.33.0.
    """
    return next(_shape_reasons(architecture, flags, profile), None) if flags.context_parallel_size > 1 else None


def context_refusals(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> Iterator[Refusal]:
    """Yield why the engine does not deal out the tokens of a model over ranks, its backends included."""
    if flags.context_parallel_size == 1:
        return
    yield from _shape_reasons(architecture, flags, profile)
    for layer, choice in attention_choices(architecture, quantization, flags, profile, gpu):
        heads = ceil_div(architecture.num_attention_heads, flags.tensor_parallel_size)
        together = heads * flags.context_parallel_size
        fits = layer.cache in _SPARSE_CACHES and heads < _SPARSE_HEADS and together <= _PADDED_HEADS
        if choice.backend == _SPARSE and not fits:
            most = {"most": _SPARSE_HEADS - 1, "all_most": _PADDED_HEADS}
            yield refused("context-sparse", heads=heads, together=together, cache=layer.cache, **most)


def context_buffer_bytes(architecture: Architecture, flags: ServeFlags, dtype_bytes: int) -> int:
    """Return what one rank takes to exchange queries, partial results and cached tokens, at most.

    Queries and results of all heads of a group, for a whole batch where its prompts go the same way as its answers,
    and the tokens gathered for a chunk of a prompt: ``chunked_prefill_workspace`` and ``reorg_kvcache`` in
    ``layers/attention/mla_attention.py``, ``dcp_query_out`` and ``dcp_context_out`` in
    ``v1/attention/backends/flash_attn.py``, 0.33.0. The engine takes them after its memory profile.
    """
    if flags.context_parallel_size == 1:
        return 0
    attentions = {layer.attention for layer in architecture.layers if layer.attention}
    return max((_buffers(attention, flags, dtype_bytes) for attention in attentions), default=0)


def _buffers(attention: Attention, flags: ServeFlags, dtype_bytes: int) -> int:
    heads = ceil_div(attention.num_heads, flags.tensor_parallel_size) * flags.context_parallel_size
    latent = attention.latent
    if latent is None:
        return flags.max_num_batched_tokens * heads * 2 * attention.head_dim * dtype_bytes
    width = latent.kv_rank + latent.rope_head_dim
    sparse = bool(latent.index_heads)
    rows = flags.max_num_batched_tokens if sparse else min(flags.sampled_rows, flags.max_num_batched_tokens)
    merged = rows * (max(heads, _PADDED_HEADS) if sparse else heads) * (width + latent.kv_rank) * dtype_bytes
    gathered = _WORKSPACE_TOKENS + _WORKSPACE_TOKENS // flags.context_parallel_size
    return merged + gathered * width * dtype_bytes


def _shape_reasons(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    ranks, tensor = flags.context_parallel_size, flags.tensor_parallel_size
    if parse_version(profile.version) < parse_version(SINCE):
        yield refused("context-version", engine=str(profile), first=SINCE)
    if tensor % ranks:
        yield refused("context-over-ranks", ranks=tensor, parts=ranks)
    attentions = tuple(dict.fromkeys(layer.attention for layer in architecture.layers if layer.attention))
    for attention in attentions:
        if attention.latent is None:
            yield from _head_reasons(attention, ranks, tensor)
    if flags.speculative or architecture.is_pooling or not _sized(architecture, attentions):
        yield refused("context-not-sized", architecture=architecture.name)


def _head_reasons(attention: Attention, ranks: int, tensor: int) -> Iterator[Refusal]:
    """Only ranks that hold the same KV head can deal out its tokens, and each needs a query head for itself."""
    most = max(1, tensor // attention.num_kv_heads)
    if ranks > most:
        yield refused("context-kv-heads", parts=ranks, heads=attention.num_kv_heads, ranks=tensor, most=most)
    queries = attention.num_heads // attention.num_kv_heads
    if queries % ranks:
        yield refused("context-query-heads", queries=queries, parts=ranks)


def _sized(architecture: Architecture, attentions: tuple[Attention, ...]) -> bool:
    """Whether every layer keeps every token of a request in one cache that is dealt out."""
    whole = all(
        one.cached and not (one.window or one.chunk or one.cross or one.compressed or one.index or one.sinks)
        for one in attentions
    )
    return whole and bool(attentions) and not architecture.has_state and architecture.name not in _WHOLE_QUERIES
