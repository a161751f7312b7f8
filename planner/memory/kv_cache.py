"""The KV cache of one server: what a block costs, how many blocks a request needs, what the engine logs."""

from dataclasses import dataclass

from planner.architecture import Architecture, Attention
from planner.memory.kv_groups import Group, groups
from planner.memory.kv_rules import KVRules
from planner.memory.kv_spec import CacheSpec
from planner.memory.stages import stage_layers

# Bytes per element of each KV dtype, times 16 so that packed formats stay whole (v1/kv_cache_interface.py, 0.33.0).
_SIXTEENTHS = {"fp8": 16, "fp8_e4m3": 16, "fp8_e5m2": 16, "fp8_inc": 16, "float16": 32, "bfloat16": 32, "nvfp4": 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class KVLayout:
    """How one rank's cache is cut into blocks.

    ``block_size`` is the tokens per block of the finest group, ``bytes_per_block`` what one block of the shared pool
    costs. All groups draw blocks from one pool. A model without a cache has no groups.
    """

    block_size: int
    bytes_per_block: int
    groups: tuple[Group, ...]
    rules: KVRules
    stages: int = 1

    def blocks(self, available_bytes: int) -> int:
        """Return the blocks that fit into ``available_bytes``."""
        return max(0, available_bytes) // self.bytes_per_block if self.groups else 0

    def blocks_per_request(self, tokens: int, max_num_batched_tokens: int) -> int:
        """Return the blocks one request of ``tokens`` holds at most, all groups together."""
        in_flight = self.rules.window_tokens(max_num_batched_tokens, self.stages)
        return sum(group.spec.blocks(tokens, in_flight, self.rules.state_blocks) for group in self.groups)

    def bytes_needed(self, tokens: int, max_num_batched_tokens: int) -> int:
        """Return the cache the engine demands at start-up for one request of ``tokens``."""
        blocks = self.blocks_per_request(tokens, max_num_batched_tokens)
        return (blocks + self.rules.null_block_in_check) * self.bytes_per_block if self.groups else 0

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
) -> KVLayout:
    """Return the cache layout of one rank.

    Pipeline stages keep the grouping of the whole model; a block costs what the stage's own layers need.
    """
    first, last = stage_layers(architecture.num_layers, pipeline_parallel_size, pipeline_rank)
    element = element_sixteenths(kv_cache_dtype, dtype_bytes)
    specs = tuple(
        _attention_spec(layer.attention, element, block_size, tensor_parallel_size)
        for layer in architecture.layers[first:last]
        if layer.attention and layer.attention.cached
    )
    found = groups(specs, rules)
    return KVLayout(
        block_size=min((group.spec.block_size for group in found), default=block_size),
        bytes_per_block=max((group.bytes_per_block for group in found), default=0),
        groups=found,
        rules=rules,
        stages=pipeline_parallel_size,
    )


def element_sixteenths(kv_cache_dtype: str, dtype_bytes: int) -> int:
    """Return the bytes of one cached element, times 16."""
    return dtype_bytes * 16 if kv_cache_dtype == "auto" else _SIXTEENTHS[kv_cache_dtype]


def _attention_spec(attention: Attention, element: int, block_size: int, tensor_ranks: int) -> CacheSpec:
    if attention.latent:
        width = attention.latent.kv_rank + attention.latent.rope_head_dim
        return CacheSpec(kind="latent", block_size=block_size, page_bytes=block_size * width * element // 16)
    heads = max(1, attention.num_kv_heads // tensor_ranks)
    width = attention.head_dim + attention.value_head_dim
    page = block_size * heads * width * element // 16
    if attention.window:
        return CacheSpec(kind="sliding", block_size=block_size, page_bytes=page, reach=attention.window)
    if attention.chunk:
        return CacheSpec(kind="chunked", block_size=block_size, page_bytes=page, reach=attention.chunk)
    return CacheSpec(kind="full", block_size=block_size, page_bytes=page)
