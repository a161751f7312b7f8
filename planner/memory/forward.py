"""The layers' peak: the largest set of tensors alive inside one layer while a whole batch runs through it."""

import functools

from msgspec import Struct

from planner.architecture import Architecture, Attention, Layer, State
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.tensors.identity import Same
from planner.units import ceil_div


class Forward(Struct, frozen=True):
    """One forward pass of ``max_num_batched_tokens`` on one rank."""

    architecture: Architecture
    flags: ServeFlags
    profile: EngineProfile
    gpu: GPU
    dtype_bytes: int

    def peak_bytes(self) -> int:
        """Return the peak of a pass whose kernels are compiled."""
        return self._peak(self.flags.max_num_batched_tokens)

    def first_peak_bytes(self) -> int:
        """Return the peak of a first start, which flushes the L2 cache between timed runs of its kernels."""
        flushes = self.profile.compile_flushes_l2 and not self.flags.enforce_eager
        return self.peak_bytes() + (self.profile.device(self.gpu).l2_bytes if flushes else 0)

    def _peak(self, tokens: int) -> int:
        layers = distinct_layers(Same(self.architecture))
        return max((self._layer_bytes(layer, tokens) for layer in layers), default=0)

    def _layer_bytes(self, layer: Layer, tokens: int) -> int:
        """Bytes alive around a layer's activation function, its attention, or its recurrent state."""
        ranks = self.flags.tensor_parallel_size
        vectors = self.profile.forward_hidden_vectors + (1 if layer.mixture else 0)
        stream = tokens * vectors * self.architecture.hidden_size
        dense = tokens * max(_mlp_width(layer, ranks), _state_width(layer.state, ranks))
        attention = tokens * _attention_width(layer.attention, ranks) + self._context_values(layer.attention)
        return self.dtype_bytes * (stream + max(dense, attention))

    def _context_values(self, attention: Attention | None) -> int:
        """Keys and values of a chunk of context that latent attention unfolds, at its largest.

        Source: ``MLACommonImpl.forward`` without metadata and ``determine_chunked_prefill_workspace_size``, vLLM
        0.8.5 to 0.33.0 (``model_executor/layers/attention/mla_attention.py``).
        """
        latent = attention.latent if attention else None
        if attention is None or latent is None or latent.index_heads:
            return 0
        block_size = self.flags.block_size or self.profile.block_size
        wanted = max(8 * self.flags.max_model_len, 4 * self.flags.max_num_seqs * block_size)
        heads = ceil_div(attention.num_heads, self.flags.tensor_parallel_size)
        return min(wanted, self.profile.latent_chunk_tokens) * heads * (latent.nope_head_dim + latent.value_head_dim)


@functools.lru_cache(maxsize=4096)
def distinct_layers(architecture: Same[Architecture]) -> tuple[Layer, ...]:
    """Return the layers that differ, in order of their first occurrence."""
    return tuple(dict.fromkeys(architecture.value.layers))


def _mlp_width(layer: Layer, ranks: int) -> int:
    """Gate and up together and their product: three times the intermediate size, twice without a gate."""
    if layer.mixture:
        return 3 * ceil_div(layer.mixture.shared_intermediate_size, ranks)
    if layer.feed_forward is None:
        return 0
    return (3 if layer.feed_forward.gated else 2) * ceil_div(layer.feed_forward.intermediate_size, ranks)


def _attention_width(attention: Attention | None, ranks: int) -> int:
    """Fused query, key and value, the rotated query and key, and room for the output."""
    if attention is None:
        return 0
    query = ceil_div(attention.num_heads, ranks) * attention.head_dim
    key = max(1, attention.num_kv_heads // ranks) * attention.head_dim
    return 3 * query + 3 * key


def _state_width(state: State | None, ranks: int) -> int:
    """Inputs, gates and keys as projected, the same after the convolution, and the output before and after its norm."""
    if state is None:
        return 0
    values = state.heads * state.head_dim + state.key_heads * state.key_head_dim + state.groups * state.state_size
    return 4 * ceil_div(values, ranks)
