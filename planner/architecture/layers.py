"""The layers of a model as facts: attention, recurrent state, feed-forward, experts."""

from dataclasses import dataclass
from typing import Literal

from planner.architecture.parts import Part

Norms = Literal["none", "head", "whole", "split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One attention layer.

    ``window`` is the sliding window in tokens and ``chunk`` the length of chunked local attention (None: attends to
    everything). ``qk_norm``: one vector per head size, one over all heads on each rank, or one shared out over ranks.
    ``cached`` is false where keys and values are not kept (encoders) or belong to another layer (shared KV).
    ``output_gate`` doubles the query projection.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    value_head_dim: int
    window: int | None = None
    chunk: int | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Norms = "none"
    qk_norm_bias: bool = False
    output_gate: bool = False
    sinks: bool = False
    cached: bool = True
    latent: "Latent | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Multi-head latent attention: one compressed vector per token, shared by all heads.

    ``query_rank`` is None where queries are projected directly. ``index_heads`` and ``index_head_dim`` belong to the
    indexer of sparse attention (0: none), which keeps a cache of its own.
    """

    query_rank: int | None
    kv_rank: int
    nope_head_dim: int
    rope_head_dim: int
    value_head_dim: int
    index_heads: int = 0
    index_head_dim: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """A dense MLP: gate and up (or up alone) and down."""

    intermediate_size: int
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A mixture of experts: a router, ``count`` routed experts of which ``active`` serve a token, a shared MLP."""

    count: int
    active: int
    intermediate_size: int
    gated: bool = True
    bias: bool = False
    shared_intermediate_size: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    correction_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One decoder or encoder layer. ``norms`` counts the norm vectors of hidden size; ``extra`` what fits no field."""

    attention: Attention | None = None
    feed_forward: FeedForward | None = None
    mixture: Mixture | None = None
    norms: int = 2
    norm_bias: bool = False
    extra: tuple[Part, ...] = ()
