"""Families whose layers differ among themselves in ways of their own."""

from collections.abc import Mapping
from decimal import Decimal

from msgspec.structs import replace

from planner.architecture import Attention, FeedForward, Part, Tensor, Vocabulary
from planner.architecture.parts import linear
from planner.config_json.attention import grouped_query
from planner.config_json.dense import LLAMA
from planner.config_json.experts import Experts
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.gemma3n import GEMMA3N
from planner.config_json.kinds import listed
from planner.units import ceil_div

# What checkpoints leave out because it equals the config class's default (transformers 5.19).
GEMMA4 = {"tie_word_embeddings": True}
_GEMMA4_GLOBAL_HEAD = 512


def llama4_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """Chunked local attention except where a layer has no rope (models/llama4.py, vLLM 0.33.0)."""
    if not text.get("attention_chunk_size"):
        return ("full",) * count
    no_rope = text.sequence("no_rope_layers")
    if len(no_rope) >= count:
        return tuple("chunked" if rope else "full" for rope in no_rope[:count])
    step = text.integer("no_rope_layer_interval", 4)
    return tuple("full" if (index + 1) % step == 0 else "chunked" for index in range(count))


def mimo_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """MiMo-V2: a list of switches says which layers slide (models/mimo_v2.py, vLLM 0.33.0)."""
    pattern = text.sequence("hybrid_layer_pattern")
    if len(pattern) != count:
        raise text.error("hybrid_layer_pattern", f"lists {len(pattern)} layers, the model has {count}")
    return tuple("sliding" if switch else "full" for switch in pattern)


def mimo_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """MiMo-V2: sliding layers have head counts, sizes and sinks of their own."""
    sliding = kind == "sliding"
    prefix = "swa_" if sliding else ""
    heads = text.integer(f"{prefix}num_attention_heads", text.integer("num_attention_heads"))
    size = text.integer(f"{prefix}head_dim", text.integer("head_dim"))
    sinks = text.flag("add_swa_attention_sink_bias" if sliding else "add_full_attention_sink_bias")
    return Attention(
        num_heads=heads,
        num_kv_heads=text.integer(f"{prefix}num_key_value_heads", text.integer("num_key_value_heads")),
        head_dim=size,
        value_head_dim=text.integer(f"{prefix}v_head_dim", text.integer("v_head_dim", size)),
        window=text.integer("sliding_window_size", text.integer("sliding_window")) if sliding else None,
        qkv_bias=text.flag("attention_bias"),
        sinks=sinks,
    )


def decilm_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """DeciLM: each block states how many query heads share a key-value head (models/nemotron_nas.py)."""
    block = _block(text, index).section("attention")
    attention = grouped_query(text, family, index, "full")
    shared = block.integer("n_heads_in_group", 1)
    return Attention(
        num_heads=attention.num_heads,
        num_kv_heads=attention.num_heads // shared,
        head_dim=attention.head_dim,
        value_head_dim=attention.head_dim,
        qkv_bias=attention.qkv_bias,
        output_bias=attention.output_bias,
    )


def decilm_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """DeciLM: some blocks have no attention."""
    blocks = text.sequence("block_configs")
    if len(blocks) != count:
        raise text.error("block_configs", f"lists {len(blocks)} blocks, the model has {count}")
    off = [_block(text, index).section("attention").flag("no_op") for index in range(count)]
    return tuple("none" if switch else "full" for switch in off)


def decilm_feed_forward(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    """DeciLM: each block has an MLP width of its own, or none."""
    block = _block(text, index).section("ffn")
    if block.flag("no_op"):
        return None
    if block.get("ffn_mult") is None:
        return FeedForward(intermediate_size=block.integer("intermediate_size"))
    # The width is the multiple of two thirds of twice the hidden size, rounded up to 256.
    width = int(2 * Decimal(str(block.number("ffn_mult", 1.0))) * text.integer("hidden_size") / 3)
    return FeedForward(intermediate_size=ceil_div(width, 256) * 256)


def decilm_norms(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """DeciLM: one norm before attention and one before the MLP, where they exist."""
    hidden = text.integer("hidden_size")
    present = (kind != "none") + (not _block(text, index).section("ffn").flag("no_op"))
    return (Tensor(path="norms", elements=hidden * present),) if present else ()


def _block(text: Fields, index: int) -> Fields:
    block = text.sequence("block_configs")[index]
    if not isinstance(block, dict):
        raise text.error(f"block_configs[{index}]", "expected an object")
    return Fields(text.where, block, f"{text.path}block_configs[{index}].")


def gemma4_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Gemma 4: full layers have wider and fewer heads; the last layers reuse earlier keys and values (gemma4.py).

    Configs written by transformers 5 state what differs layer by layer instead.
    """
    attention = grouped_query(text, family, index, kind)
    shared = text.integer("num_kv_shared_layers", 0, minimum=0)
    shares = shared > 0 and index >= text.integer("num_hidden_layers") - shared
    kv_heads, size = attention.num_kv_heads, attention.head_dim
    if kind == "full" and not text.has("per_layer_config"):
        size = text.integer("global_head_dim", _GEMMA4_GLOBAL_HEAD)
        if text.flag("attention_k_eq_v", True):
            kv_heads = text.integer("num_global_key_value_heads", kv_heads)
    return Attention(
        num_heads=attention.num_heads,
        num_kv_heads=kv_heads,
        head_dim=size,
        value_head_dim=size,
        window=attention.window,
        qkv_bias=attention.qkv_bias,
        output_bias=attention.output_bias,
        qk_norm="head",
        cached=not shares,
        shares_kv=shares,
    )


def gemma4_feed_forward(text: Fields, family: Family, index: int, kind: str) -> FeedForward:
    """Gemma 4: layers that share keys and values may have an MLP twice as wide."""
    shared = text.integer("num_kv_shared_layers", 0, minimum=0)
    first = text.integer("num_hidden_layers") - shared
    double = text.flag("use_double_wide_mlp") and shared > 0 and index >= first > 0
    return FeedForward(intermediate_size=text.integer("intermediate_size") * (2 if double else 1))


def gemma4_layer_extra(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Gemma 4: per-layer inputs, and scales and norms around the experts."""
    hidden = text.integer("hidden_size")
    width = text.integer("hidden_size_per_layer_input", 0, minimum=0)
    parts: list[Part] = []
    if text.get("num_experts"):
        parts.append(Tensor(path="router.scale", elements=hidden + text.integer("num_experts")))
        parts.append(Tensor(path="expert_norms", elements=3 * hidden))
    if width:
        parts += [linear("per_layer_input_gate", width, hidden), linear("per_layer_projection", hidden, width)]
        parts.append(Tensor(path="post_per_layer_input_norm", elements=hidden))
    return tuple(parts)


def gemma4_first(text: Fields) -> tuple[Part, ...]:
    """Gemma 4: an embedding per layer and token, and the projection that mixes it with the hidden state."""
    width = text.integer("hidden_size_per_layer_input", 0, minimum=0)
    if not width:
        return ()
    total = width * text.integer("num_hidden_layers")
    rows = text.integer("vocab_size_per_layer_input", text.integer("vocab_size"))
    return (
        Vocabulary(path="embed_tokens_per_layer", rows=rows, width=total),
        linear("per_layer_model_projection", total, text.integer("hidden_size"), "column"),
        Tensor(path="per_layer_projection_norm", elements=width),
    )


SPECIALS: Mapping[str, Family] = {
    "DeciLMForCausalLM": replace(
        LLAMA, kinds=decilm_kinds, attention=decilm_attention, feed_forward=decilm_feed_forward, norms=0,
        layer_extra=decilm_norms,
    ),
    "Gemma3nForCausalLM": GEMMA3N,
    "Gemma4ForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), norms=4, kinds=listed,
        attention=gemma4_attention, feed_forward=gemma4_feed_forward, layer_extra=gemma4_layer_extra,
        first=gemma4_first, defaults=GEMMA4,
        mixture=Experts(active="top_k_experts", path="", router_path="router.proj"),
    ),
}  # fmt: skip
