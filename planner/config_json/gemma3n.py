"""Gemma 3n: several residual streams, an embedding per layer, shared keys and values (models/gemma3n.py, 0.33.0)."""

from msgspec.structs import replace

from planner.architecture import Attention, FeedForward, Part, Tensor, Vocabulary
from planner.architecture.parts import linear
from planner.config_json.attention import grouped_query
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kinds import pattern


def _attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    attention = grouped_query(text, family, index, kind)
    shared = text.integer("num_kv_shared_layers", 0, minimum=0)
    shares = index >= text.integer("num_hidden_layers") - shared
    return replace(attention, cached=not shares, shares_kv=shares)


def _feed_forward(text: Fields, family: Family, index: int, kind: str) -> FeedForward:
    """The width of each layer is stated, or one for all."""
    widths = text.get("intermediate_size")
    if not isinstance(widths, list | tuple):
        return FeedForward(intermediate_size=text.integer("intermediate_size"))
    if index >= len(widths) or not isinstance(widths[index], int):
        raise text.error("intermediate_size", f"states no width for layer {index}")
    return FeedForward(intermediate_size=widths[index])


def _layer_extra(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Streams are mixed by small matrices; a low-rank block runs beside attention; per-layer inputs are gated."""
    hidden, streams = text.integer("hidden_size"), text.integer("altup_num_inputs", 4)
    rank, width = text.integer("laurel_rank", 64), text.integer("hidden_size_per_layer_input", 256)
    return (
        Tensor(path="altup.correct_output_scale", elements=hidden, dtype_bytes=4),
        Tensor(path="altup.coefs", elements=streams * streams * (streams + 1) + streams * hidden + hidden),
        linear("laurel.linear_left", rank, hidden, "column"),
        linear("laurel.linear_right", hidden, rank, "row"),
        linear("per_layer_input_gate", width, hidden),
        linear("per_layer_projection", hidden, width),
        Tensor(path="norms", elements=2 * hidden),
    )


def _first(text: Fields) -> tuple[Part, ...]:
    hidden, streams = text.integer("hidden_size"), text.integer("altup_num_inputs", 4)
    width = text.integer("hidden_size_per_layer_input", 256)
    total = width * text.integer("num_hidden_layers")
    rows = text.integer("vocab_size_per_layer_input", 262144)
    streams_in_and_out = [linear(f"altup.{index}", hidden, hidden, "column") for index in range(2 * (streams - 1))]
    return (
        Vocabulary(path="embed_tokens_per_layer", rows=rows, width=total),
        linear("per_layer_model_projection", total, hidden, "column"),
        Tensor(path="per_layer_projection_norm", elements=width),
        *streams_in_and_out,
    )


GEMMA3N = Family(
    qkv_bias=("attention_bias",),
    output_bias=("attention_bias",),
    norms=4,
    qk_norm="head",
    kinds=pattern(5, "sliding", "full"),
    attention=_attention,
    feed_forward=_feed_forward,
    layer_extra=_layer_extra,
    first=_first,
    defaults={
        "head_dim": 256,
        "tie_word_embeddings": True,
        "rope_local_base_freq": 10000.0,
        "num_kv_shared_layers": 15,
        "sliding_window": 512,
    },
)
