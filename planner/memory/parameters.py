"""A model's layers as an inventory of weight tensors."""

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
)  # fmt: skip


def embedding(architecture: Architecture) -> Vocabulary:
    """Return the token embedding."""
    return Vocabulary(path="embed_tokens", rows=architecture.vocab_size, width=architecture.hidden_size)


def head(architecture: Architecture) -> Vocabulary:
    """Return the output head of a model whose embedding is not tied."""
    return Vocabulary(
        path="lm_head", rows=architecture.vocab_size, width=architecture.hidden_size, bias=architecture.head_bias
    )


def last_parts(architecture: Architecture) -> tuple[Part, ...]:
    """Return what only the last pipeline stage holds: the final norm and the output head."""
    parts: list[Part] = []
    if architecture.final_norms:
        size = architecture.final_norms * architecture.hidden_size
        parts.append(_norm("norm", size, architecture.final_norm_bias))
    if architecture.has_head and not architecture.tie_word_embeddings:
        parts.append(head(architecture))
    return tuple(parts)


@functools.lru_cache(maxsize=256)
def layer_parts(layer: Layer, hidden_size: int) -> tuple[Part, ...]:
    """Return the weights of one layer, in the order the engine creates them."""
    parts: list[Part] = []
    if layer.attention:
        parts += attention_parts(layer.attention, hidden_size)
    if layer.feed_forward:
        parts += feed_forward_parts(layer.feed_forward, hidden_size, "mlp")
    if layer.mixture:
        parts += mixture_parts(layer.mixture, hidden_size)
    parts += [_norm("norm", hidden_size, layer.norm_bias)] * layer.norms
    return (*parts, *layer.extra)


def attention_parts(attention: Attention, hidden_size: int) -> tuple[Part, ...]:
    """Return query, key, value and output projections, and what normalises them."""
    heads, kv_heads, size = attention.num_heads, attention.num_kv_heads, attention.head_dim
    queries = size * (2 if attention.output_gate else 1)
    parts: list[Part] = [
        Linear(
            columns=(
                Column("self_attn.q_proj", heads, queries),
                Column("self_attn.k_proj", kv_heads, size, replicated=True),
                Column("self_attn.v_proj", kv_heads, attention.value_head_dim, replicated=True),
            ),
            inputs=hidden_size,
            split="column",
            bias=attention.qkv_bias,
        ),
        Linear(
            columns=(Column("self_attn.o_proj", 1, hidden_size),),
            inputs=heads * attention.value_head_dim,
            split="row",
            bias=attention.output_bias,
        ),
    ]
    if attention.qk_norm == "head":
        parts.append(_norm("self_attn.qk_norm", 2 * size, attention.qk_norm_bias))
    elif attention.qk_norm == "whole":
        parts.append(_norm("self_attn.qk_norm", (heads + kv_heads) * size, attention.qk_norm_bias))
    if attention.sinks:
        parts.append(Tensor(path="self_attn.sinks", elements=heads, split=True))
    return tuple(parts)


def feed_forward_parts(mlp: FeedForward, hidden_size: int, path: str) -> tuple[Part, ...]:
    """Return the matrices of a dense MLP."""
    ups = ("gate_proj", "up_proj") if mlp.gated else ("up_proj",)
    return (
        Linear(
            columns=tuple(Column(f"{path}.{name}", mlp.intermediate_size, 1) for name in ups),
            inputs=hidden_size,
            split="column",
            bias=mlp.bias,
        ),
        Linear(
            columns=(Column(f"{path}.down_proj", 1, hidden_size),),
            inputs=mlp.intermediate_size,
            split="row",
            bias=mlp.bias,
        ),
    )


def mixture_parts(mixture: Mixture, hidden_size: int) -> tuple[Part, ...]:
    """Return router, routed experts and the shared MLP."""
    parts: list[Part] = [
        Linear(
            columns=(Column("mlp.gate", mixture.count, 1),),
            inputs=hidden_size,
            split="none",
            bias=mixture.router_bias,
            quantizable=False,
        ),
        Experts(
            path="mlp.experts",
            count=mixture.count,
            hidden_size=hidden_size,
            intermediate_size=mixture.intermediate_size,
            gated=mixture.gated,
            bias=mixture.bias,
        ),
    ]
    if mixture.shared_intermediate_size:
        shared = FeedForward(intermediate_size=mixture.shared_intermediate_size, gated=mixture.gated)
        parts += feed_forward_parts(shared, hidden_size, "mlp.shared_experts")
    return tuple(parts)


def _norm(path: str, elements: int, bias: bool) -> Tensor:
    return Tensor(path=path, elements=elements * (2 if bias else 1))
