"""The KV cache of one server: what a block costs, how many blocks a request needs, what the engine logs."""

import functools
import math
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Attention, Layer, State
from planner.tensors.compressed_cache import compressed_specs
from planner.tensors.identity import Same
from planner.tensors.kv_groups import Group, LayerCache, groups
from planner.tensors.kv_packed import unpacked_layers
from planner.tensors.kv_pages import (
    OWN_DTYPES,
    StateDtypes,
    aligned_block_size,
    attention_bytes,
    block_index_bytes,
    index_bytes,
    state_bytes,
)
from planner.tensors.kv_rules import KVRules
from planner.tensors.kv_spec import CacheSpec
from planner.tensors.pipeline import stage_layers
from planner.units import ceil_div

# Latent attention beside recurrent state takes blocks of whole 128 tokens; states checkpointed inside a prefill by
# FlashInfer's gated delta net lie on a grid of 64 (platforms/interface.py, v1/attention/backends/gdn_attn.py, 0.33.0).
_LATENT_BLOCK = 128
_CHECKPOINT_GRID = 64
_SPAN_BLOCKS = 64
"""Blocks over which the price of a token is counted: larger than those of any group, so that it is no matter of luck
whether the next token begins one."""


class KVLayout(Struct, frozen=True, kw_only=True):
    """How one rank's cache is cut into blocks.

    ``block_size`` is the tokens per block of the finest group, ``bytes_per_block`` what one block of the shared pool
    costs. All groups draw blocks from one pool. A model without a cache has no groups. Models that pool are
    ``passing``: a request's cache is free again after the batch that ends its prompt.
    """

    block_size: int
    bytes_per_block: int
    groups: tuple[Group, ...]
    rules: KVRules
    stages: int = 1
    passing: bool = False

    def blocks(self, available_bytes: int) -> int:
        """Return the blocks that fit into ``available_bytes``; a stage without layers holds none."""
        return max(0, available_bytes) // self.bytes_per_block if self.bytes_per_block else 0

    def blocks_per_request(self, tokens: int, max_num_batched_tokens: int) -> int:
        """Return the blocks one request of ``tokens`` holds at most, all groups together."""
        in_flight = self.rules.window_tokens(max_num_batched_tokens, self.stages)
        return sum(group.spec.blocks(tokens, in_flight, self.rules) for group in self.groups)

    def blocks_at_once(self, requests: int, tokens: int, max_num_batched_tokens: int) -> int:
        """Return the blocks that so many requests of ``tokens`` hold at most while all of them run.

        Of passing requests one may be in the middle of its prompt, and no more than a batch of others is begun
        (``v1/core/sched/scheduler.py:schedule`` 0.11.0 to 0.33.0 serves running requests first).
        """
        each = self.blocks_per_request(tokens, max_num_batched_tokens)
        if not self.passing:
            return requests * each
        return min(requests * each, each + self.blocks_per_request(max_num_batched_tokens, max_num_batched_tokens))

    def requests_held(self, blocks: int, tokens: int, max_num_batched_tokens: int, most: int) -> int:
        """Return how many of ``most`` requests of ``tokens`` run at once without waiting for blocks."""
        blocks = max(0, blocks)
        if self.blocks_at_once(most, tokens, max_num_batched_tokens) <= blocks:
            return most
        return min(most, blocks // self.blocks_per_request(tokens, max_num_batched_tokens))

    def bytes_needed(self, tokens: int, max_num_batched_tokens: int) -> int:
        """Return the cache the engine demands at start-up for one request of ``tokens``."""
        blocks = self.blocks_per_request(tokens, max_num_batched_tokens)
        return (blocks + self.rules.null_block_in_check) * self.bytes_per_block if self.groups else 0

    def bytes_per_token(self, tokens: int, max_num_batched_tokens: int) -> int:
        """Return what a token of a request costs beyond its first ``tokens``, over the next blocks, rounded up."""
        span = self.block_size * _SPAN_BLOCKS
        blocks = self.blocks_per_request(tokens + span, max_num_batched_tokens)
        more = blocks - self.blocks_per_request(tokens, max_num_batched_tokens)
        return ceil_div(more * self.bytes_per_block, span) if self.groups else 0

    def max_concurrency(self, blocks: int, max_model_len: int, max_num_batched_tokens: int) -> float:
        """Return how many requests of ``max_model_len`` fit at once, as the engine logs it."""
        per_request = self.blocks_per_request(max_model_len, max_num_batched_tokens)
        return blocks / per_request if per_request else 0.0

    def tokens_logged(self, blocks: int, max_model_len: int, max_num_batched_tokens: int) -> int:
        """Return the cache size in tokens as this engine version logs it."""
        if not self.groups:
            return 0
        if self.rules.tokens_from_concurrency:
            return int(self.max_concurrency(blocks, max_model_len, max_num_batched_tokens) * max_model_len)
        return blocks // len(self.groups) * self.block_size


def layout(
    architecture: Architecture,
    *,
    rules: KVRules,
    kv_cache_dtype: str = "auto",
    dtype_bytes: int = 2,
    block_size: int = 16,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    pipeline_rank: int = 0,
    context_parallel_size: int = 1,
    state_dtypes: StateDtypes = OWN_DTYPES,
) -> KVLayout:
    """Return the cache layout of one rank.

    Pipeline stages keep the grouping of the whole model; a block costs what the stage's own layers need. With context
    parallelism a block of a rank stands for as many tokens of a request as all ranks of its group hold in theirs
    (``resolve_dcp_kv_block_size`` in ``v1/core/kv_cache_utils.py`` 0.33.0).

    Raises:
        ValueError: the KV dtype is not one whose cost is known.
    """
    rotary = max((table.width for table in architecture.rotaries), default=0)
    cache = _Cache(kv_cache_dtype, dtype_bytes, tensor_parallel_size, block_size, rotary, state_dtypes)
    found = _layout(Same(architecture), cache, rules, pipeline_parallel_size, pipeline_rank)
    return found if context_parallel_size == 1 else _dealt_out(found, context_parallel_size)


def _dealt_out(whole: KVLayout, ranks: int) -> KVLayout:
    """Return the layout of a rank that holds every so manyth token of each request."""
    dealt = (replace(one, spec=replace(one.spec, block_size=one.spec.block_size * ranks)) for one in whole.groups)
    return replace(whole, block_size=whole.block_size * ranks, groups=tuple(dealt))


class _Cache(Struct, frozen=True):
    """What the pages of all layers depend on."""

    kv_cache_dtype: str
    dtype_bytes: int
    tensor_ranks: int
    block_size: int
    rotary_width: int = 0
    state_dtypes: StateDtypes = OWN_DTYPES

    def token_bytes(self, attention: Attention) -> int:
        return attention_bytes(attention, self.kv_cache_dtype, self.dtype_bytes, self.tensor_ranks, self.rotary_width)

    def state_bytes(self, state: State) -> int:
        return state_bytes(state, self.dtype_bytes, self.tensor_ranks, self.state_dtypes)

    def unpacked(self) -> "_Cache":
        """Return the same with the model's dtype."""
        return replace(self, kv_cache_dtype="auto")


@functools.lru_cache(maxsize=4096)
def _layout(architecture: Same[Architecture], cache: _Cache, rules: KVRules, stages: int, stage: int) -> KVLayout:
    """Return the layout of one rank, which does not depend on most of the flags a plan tries."""
    whole = architecture.value
    first, last = stage_layers(whole.num_layers, stages, stage)
    found = groups(tuple(_caches(whole, _aligned(cache, whole, rules))), rules)
    sizes = (group.spec.block_size for group in found if group.spec.kind != "state")
    return KVLayout(
        block_size=min(sizes, default=cache.block_size),
        bytes_per_block=max((group.bytes_per_block(first, last) for group in found), default=0),
        groups=found,
        rules=_own_rules(whole, rules),
        stages=stages,
        passing=whole.is_pooling,
    )


def _own_rules(architecture: Architecture, rules: KVRules) -> KVRules:
    """Return the rules for one model: pooled ones are not scheduled asynchronously, so one batch is in flight.

    Without any attention there is no prefix caching, and one state per sequence
    (config/model.py:is_prefix_caching_supported, vLLM 0.28.0 to 0.33.0).
    """
    if architecture.is_pooling:
        rules = replace(rules, in_flight_batches=1)
    if not any(layer.attention for layer in architecture.layers):
        rules = replace(rules, state_blocks=1)
    return rules


def _aligned(cache: _Cache, architecture: Architecture, rules: KVRules) -> _Cache:
    """Raise the block size of a hybrid model until an attention page holds a recurrent state."""
    states = [layer.state for layer in architecture.layers if layer.state]
    attention = next((layer.attention for layer in architecture.layers if layer.attention), None)
    if not states or attention is None:
        return cache
    largest = max(map(cache.state_bytes, states))
    least = max(cache.block_size, _LATENT_BLOCK if attention.latent else 0)
    if rules.state_blocks > 1 and "gated-delta" in rules.state_checkpoints and states[0].kind == "gated-delta":
        least = math.lcm(least, _CHECKPOINT_GRID)
    block_size = max(cache.block_size, aligned_block_size(largest, cache.token_bytes(attention), least))
    return replace(cache, block_size=block_size)


def _caches(architecture: Architecture, cache: _Cache) -> Iterator[LayerCache]:
    page = 0
    attends = next((layer.attention for layer in architecture.layers if layer.attention), None)
    if attends is not None and architecture.has_state:
        page = cache.block_size * cache.token_bytes(attends)
    unpacked = unpacked_layers(cache.kv_cache_dtype, architecture)
    for index, layer in enumerate(architecture.layers):
        for spec in _specs(layer, cache.unpacked() if index in unpacked else cache, page):
            yield LayerCache(index, spec)
    if architecture.drafter:  # a drafter's layers are on the last stage, and cached like the model's
        for layer in architecture.drafter.layers:
            for spec in _specs(layer, cache, page):
                yield LayerCache(architecture.num_layers - 1, spec)


def _specs(layer: Layer, cache: _Cache, state_page: int) -> Iterator[CacheSpec]:
    """Yield the caches of one layer: attention, the indexer of sparse attention, recurrent state."""
    if layer.attention and layer.attention.compressed:
        yield from compressed_specs(layer.attention, layer.attention.compressed)
    elif layer.attention and layer.attention.cached:
        yield _attention_spec(layer.attention, cache)
        latent = layer.attention.latent
        if latent and latent.index_heads:
            page = cache.block_size * index_bytes(latent)
            yield CacheSpec(kind="latent", block_size=cache.block_size, page_bytes=page)
        if index := layer.attention.index:
            page = cache.block_size * block_index_bytes(index)
            yield CacheSpec(kind="full", block_size=cache.block_size, page_bytes=page)
    if layer.state:
        size = cache.state_bytes(layer.state)
        yield CacheSpec(
            kind="state",
            block_size=cache.block_size,
            page_bytes=max(size, state_page),
            state=layer.state.kind,
            lookahead=layer.state.lookahead,
        )


def _attention_spec(attention: Attention, cache: _Cache) -> CacheSpec:
    page = cache.block_size * cache.token_bytes(attention)
    if attention.latent:
        return CacheSpec(kind="latent", block_size=cache.block_size, page_bytes=page)
    if attention.cross:
        return CacheSpec(kind="cross", block_size=cache.block_size, page_bytes=page)
    if attention.window:
        return CacheSpec(kind="sliding", block_size=cache.block_size, page_bytes=page, reach=attention.window)
    if attention.chunk:
        return CacheSpec(kind="chunked", block_size=cache.block_size, page_bytes=page, reach=attention.chunk)
    return CacheSpec(kind="full", block_size=cache.block_size, page_bytes=page)
