"""A model's layers as an inventory of weight tensors, in the order the engine creates them."""

import functools

from planner.architecture import (
    Architecture,
    Attention,
    Column,
    Experts,
    FeedForward,
    Layer,
    Linear,
    Mixture,
    Part,
    Tensor,
    Vocabulary,
)
from planner.architecture.latent import latent_parts
from planner.architecture.parts import linear, unquantized
from planner.tensors.compressed_parameters import compressed_parts
from planner.tensors.state_parameters import state_parts


def embedding(architecture: Architecture) -> Vocabulary:
    """Return the token embedding."""
    width = architecture.embedding_width or architecture.hidden_size
    if architecture.whole_embedding:
        return Vocabulary(path="embed_tokens", rows=architecture.vocab_size, width=width, padding=1, whole=True)
    return Vocabulary(path="embed_tokens", rows=architecture.vocab_size, width=width)


def last_parts(architecture: Architecture, *, quantized_head: bool = False) -> tuple[Part, ...]:
    """Return what only the last pipeline stage holds: the final norm and the output head.

    A head that is quantized cannot share the embedding's tensor, whatever the config says of tying
    (vocab_parallel_embedding.py:ParallelLMHead.tie_weights, vLLM 0.28.0 to 0.33.0).
    """
    parts: list[Part] = []
    if architecture.final_norms:
        size = architecture.final_norms * architecture.hidden_size
        parts.append(_norm("norm", size, architecture.final_norm_bias))
    if architecture.has_head and (quantized_head or not architecture.tie_word_embeddings):
        width = architecture.embedding_width or architecture.hidden_size
        head = Vocabulary(path="lm_head", rows=architecture.vocab_size, width=width, bias=architecture.head_bias)
        parts.append(head)
    return (*parts, *architecture.last)


@functools.lru_cache(maxsize=512)
def layer_parts(layer: Layer, hidden_size: int, *, whole_shared: bool = False) -> tuple[Part, ...]:
    """Return the weights of one layer; with ``whole_shared`` every rank has the shared expert whole."""
    parts: list[Part] = []
    if layer.state:
        parts += state_parts(layer.state, hidden_size)
    if layer.attention and layer.attention.parts:
        parts += layer.attention.parts
    elif layer.attention and layer.attention.compressed:
        parts += compressed_parts(layer.attention, layer.attention.compressed, hidden_size)
    elif layer.attention and layer.attention.latent:
        parts += latent_parts(layer.attention, layer.attention.latent, hidden_size)
    elif layer.attention:
        parts += attention_parts(layer.attention, hidden_size)
    if layer.feed_forward:
        parts += feed_forward_parts(layer.feed_forward, hidden_size)
    if layer.mixture:
        parts += mixture_parts(layer.mixture, hidden_size, whole_shared=whole_shared)
    parts += [_norm("norm", hidden_size, layer.norm_bias)] * layer.norms
    return (*parts, *layer.extra)


def attention_parts(attention: Attention, hidden_size: int) -> tuple[Part, ...]:
    """Return query, key, value and output projections, and what normalises them."""
    heads, kv_heads, size = attention.num_heads, attention.num_kv_heads, attention.head_dim
    path = attention.path
    columns = [Column(f"{path}.q_proj", heads, size * (2 if attention.output_gate else 1))]
    if not attention.shares_kv:
        columns.append(Column(f"{path}.k_proj", kv_heads, size, replicated=True))
        columns.append(Column(f"{path}.v_proj", kv_heads, attention.value_head_dim, replicated=True))
    if attention.index:
        columns.append(Column(f"{path}.index_q_proj", attention.index.heads, attention.index.head_dim, replicated=True))
        columns.append(Column(f"{path}.index_k_proj", 1, attention.index.head_dim, replicated=True))
    parts: list[Part] = [
        Linear(columns=tuple(columns), inputs=hidden_size, split="column", bias=attention.qkv_bias),
        linear(
            f"{path}.{attention.output_path}",
            hidden_size,
            heads * attention.value_head_dim,
            "row",
            bias=attention.output_bias,
        ),
    ]
    normed = heads if attention.shares_kv else heads + kv_heads
    if attention.qk_norm == "head":
        parts += [_norm(f"{path}.norm", size, attention.qk_norm_bias)] * (1 if attention.shares_kv else 2)
    elif attention.qk_norm == "whole":
        parts.append(_norm(f"{path}.norm", normed * size, attention.qk_norm_bias))
    elif attention.qk_norm == "split":
        parts.append(Tensor(path=f"{path}.q_norm", elements=heads, each=size, split=True))
        parts.append(Tensor(path=f"{path}.k_norm", elements=kv_heads, each=size, split=True, replicated=True))
    if attention.index:
        parts.append(_norm(f"{path}.index_norm", 2 * attention.index.head_dim, bias=False))
    if attention.sinks:
        parts.append(Tensor(path=f"{path}.sinks", elements=heads, split=True))
    return tuple(parts)


def feed_forward_parts(mlp: FeedForward, hidden_size: int, *, whole: bool = False) -> tuple[Part, ...]:
    """Return the matrices of a dense MLP, which is shared out unless every rank has it ``whole``."""
    ups = ("gate_proj", "up_proj") if mlp.gated else ("up_proj",)
    columns = tuple(Column(f"{mlp.path}.{name}", mlp.intermediate_size, 1) for name in ups)
    return (
        Linear(columns=columns, inputs=hidden_size, split="none" if whole else "column", bias=mlp.bias and mlp.up_bias),
        linear(f"{mlp.path}.down_proj", hidden_size, mlp.intermediate_size, "none" if whole else "row", bias=mlp.bias),
    )


def mixture_parts(mixture: Mixture, hidden_size: int, *, whole_shared: bool = False) -> tuple[Part, ...]:
    """Return router, routed experts and the shared MLP, which every rank has whole with ``whole_shared``."""
    prefix = f"{mixture.path}." if mixture.path else ""
    router = Linear(
        columns=(Column(f"{prefix}{mixture.router_path}", mixture.count, 1),),
        inputs=hidden_size,
        split="none",
        bias=mixture.router_bias,
        quantizable=False,
        dtype_bytes=mixture.router_dtype_bytes,
    )
    parts: list[Part] = [router]
    if mixture.correction:
        parts.append(Tensor(path=f"{prefix}correction", elements=mixture.count, dtype_bytes=4))
    if mixture.shared_intermediate_size:
        if mixture.shared_gate:
            parts.append(unquantized(linear(f"{prefix}shared_expert_gate", 1, hidden_size)))
        shared = FeedForward(
            intermediate_size=mixture.shared_intermediate_size,
            gated=mixture.gated,
            path=f"{prefix}{mixture.shared_path}",
        )
        parts += feed_forward_parts(shared, hidden_size, whole=whole_shared)
    if mixture.width:
        parts.append(linear(f"{prefix}fc1_latent_proj", mixture.width, hidden_size))
        parts.append(linear(f"{prefix}fc2_latent_proj", hidden_size, mixture.width))
    parts.append(
        Experts(
            path=f"{prefix}experts",
            count=mixture.count,
            hidden_size=mixture.width or hidden_size,
            intermediate_size=mixture.intermediate_size,
            gated=mixture.gated,
            bias=mixture.bias,
        )
    )
    return tuple(parts)


def _norm(path: str, elements: int, bias: bool) -> Tensor:
    return Tensor(path=path, elements=elements * (2 if bias else 1))
