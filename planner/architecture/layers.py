"""The layers of a model as facts: attention, recurrent state, feed-forward, experts."""

from typing import Literal

from msgspec import Struct

from planner.architecture.parts import Part

Norms = Literal["none", "head", "whole", "split"]
StateKind = Literal["mamba1", "mamba2", "gated-delta", "kimi-delta", "bailing-delta", "lightning", "short-conv"]


class Latent(Struct, frozen=True, kw_only=True):
    """Multi-head latent attention: one compressed vector per token, shared by all heads.

    ``query_rank`` is None where queries are projected directly. ``index_heads`` and ``index_head_dim`` belong to the
    indexer of sparse attention (0: none), which keeps a cache of its own; ``index_topk`` is the tokens it chooses, and
    layers without an indexer reuse an earlier choice.
    """

    query_rank: int | None
    kv_rank: int
    nope_head_dim: int
    rope_head_dim: int
    value_head_dim: int
    index_heads: int = 0
    index_head_dim: int = 0
    index_topk: int = 0


class Compressed(Struct, frozen=True, kw_only=True):
    """Attention over a window and over compressed runs of earlier tokens, one vector per run for all heads.

    ``ratio`` is the tokens per run (1: the window alone); ``output_groups`` times ``output_rank`` is what heads are
    projected down to, group by group. The index chooses ``index_topk`` runs; layers without one take all.
    """

    ratio: int
    query_rank: int
    output_rank: int
    output_groups: int
    rope_head_dim: int
    index_heads: int = 0
    index_head_dim: int = 0
    index_topk: int = 0


class BlockIndex(Struct, frozen=True, kw_only=True):
    """The index of block-sparse attention: keys of its own, by which ``topk_blocks`` of ``block_tokens`` are chosen.

    It has as many query heads as there are key-value heads, and one key head, which is on every rank.
    """

    heads: int
    head_dim: int
    topk_blocks: int
    block_tokens: int


class Attention(Struct, frozen=True, kw_only=True):
    """One attention layer.

    ``window`` is the sliding window in tokens and ``chunk`` the length of chunked local attention (None: attends to
    everything). ``qk_norm``: one vector per head size, one over all heads on each rank, or one shared out over ranks.
    ``cached`` is false where keys and values are not kept (encoders) or belong to another layer (``shares_kv``, which
    has no key and value projections either). ``output_gate`` doubles the query projection. ``path`` and ``output_path``
    name the modules as checkpoints do. ``parts`` are the weights where they are not the usual projections. ``cross``
    attention reads what an encoder made of a request, and caches that.
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
    shares_kv: bool = False
    latent: Latent | None = None
    compressed: Compressed | None = None
    index: BlockIndex | None = None
    path: str = "self_attn"
    output_path: str = "o_proj"
    parts: tuple[Part, ...] = ()
    cross: bool = False


class State(Struct, frozen=True, kw_only=True):
    """A layer that keeps a recurrent state of fixed size per sequence instead of keys and values.

    ``heads × head_dim`` are the values, ``key_heads × key_head_dim`` the keys (attention-like kinds); ``state_size``
    and ``groups`` belong to state-space kinds. ``full_rank_gate``: the gate over Kimi delta attention's output is one
    product. ``state_dtype_bytes`` None follows the model's dtype. ``lookahead`` is how many drafted tokens it
    can go back by.
    """

    kind: StateKind
    heads: int
    head_dim: int
    key_heads: int = 0
    key_head_dim: int = 0
    state_size: int = 0
    groups: int = 1
    conv_kernel: int = 0
    time_step_rank: int = 0
    conv_bias: bool = False
    projection_bias: bool = False
    output_bias: bool = False
    norm: bool = True
    full_rank_gate: bool = False
    state_dtype_bytes: int | None = None
    lookahead: int = 0
    path: str = "mixer"

    @property
    def inner_size(self) -> int:
        """The width of the values: heads times head size."""
        return self.heads * self.head_dim


class FeedForward(Struct, frozen=True, kw_only=True):
    """A dense MLP: gate and up (or up alone) and down. ``path`` names the module as checkpoints do.

    ``up_bias`` says otherwise where gate and up have no bias but down has.
    """

    intermediate_size: int
    gated: bool = True
    bias: bool = False
    up_bias: bool = True
    path: str = "mlp"


class Mixture(Struct, frozen=True, kw_only=True):
    """A mixture of experts: a router, ``count`` routed experts of which ``active`` serve a token, a shared MLP.

    ``router_dtype_bytes`` None follows the model's dtype; ``correction`` adds one fp32 value per expert for load
    balancing. ``width`` is what experts read and write when that is not the hidden size (latent experts, which come
    with a projection down and up).
    """

    count: int
    active: int
    intermediate_size: int
    gated: bool = True
    bias: bool = False
    shared_intermediate_size: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    router_dtype_bytes: int | None = None
    correction: bool = False
    width: int | None = None
    path: str = "mlp"
    router_path: str = "gate"
    shared_path: str = "shared_experts"


class Layer(Struct, frozen=True, kw_only=True):
    """One decoder or encoder layer. ``norms`` counts the norm vectors of hidden size; ``extra`` what fits no field."""

    attention: Attention | None = None
    state: State | None = None
    feed_forward: FeedForward | None = None
    mixture: Mixture | None = None
    norms: int = 2
    norm_bias: bool = False
    extra: tuple[Part, ...] = ()
