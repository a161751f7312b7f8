"""Decoder families whose attention or layers are unlike the others'.

Source per function: the model file of that name under ``vllm/model_executor/models``, 0.32.0 and 0.33.0.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Attention, Column, FeedForward, Linear, Part, Rotary, State, Tensor
from planner.architecture.latent import latent_parts
from planner.architecture.parts import linear
from planner.config_json.attention import grouped_query, head_dim, latent
from planner.config_json.dense import LLAMA
from planner.config_json.experts import Experts, always, shared_by_size
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kinds import all_full, listed_or_full
from planner.config_json.mixtures import MIXTURES
from planner.config_json.rope import table
from planner.units import ceil_div


def _expanded_latent(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """MiniCPM3: keys and values are expanded from their latent before they are cached, padded to the keys' size."""
    attention = latent(text, family, index, kind)
    assert attention.latent is not None
    parts = latent_parts(attention, attention.latent, text.integer("hidden_size"))
    return replace(attention, latent=None, value_head_dim=attention.head_dim, parts=parts)


def _laguna_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Laguna: each layer may have a number of heads of its own; windowed ones may have sinks."""
    attention = grouped_query(text, family, index, kind)
    heads = text.sequence("num_attention_heads_per_layer")
    count = heads[index] if index < len(heads) else attention.num_heads
    if not isinstance(count, int) or not 0 < count < 1 << 16:
        raise text.error(f"num_attention_heads_per_layer[{index}]", "expected a number of heads")
    sinks = kind == "sliding" and text.flag("swa_attention_sink_enabled")
    return replace(attention, num_heads=count, sinks=sinks)


def _laguna_gate(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Laguna: attention is gated per head, or per element where the config says so."""
    attention = _laguna_attention(text, LLAMA, index, kind)
    mode = text.get("gating")
    if not mode:
        return ()
    size = 1 if mode in (True, "per-head") else attention.head_dim
    return (linear("self_attn.g_proj", attention.num_heads * size, text.integer("hidden_size"), "column"),)


def _laguna_sparse(text: Fields, index: int) -> bool:
    kinds = text.texts("mlp_layer_types")
    if kinds:
        return index < len(kinds) and kinds[index] == "sparse"
    return index not in text.sequence("mlp_only_layers") and (index + 1) % text.integer("decoder_sparse_step", 1) == 0


def _step3_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Step-3: one key-value head; queries go through a narrower space that every rank holds whole."""
    heads, size = text.integer("num_attention_heads"), text.integer("head_dim", 256)
    hidden, width = text.integer("hidden_size"), text.integer("share_q_dim", size)
    return Attention(
        num_heads=heads,
        num_kv_heads=1,
        head_dim=size,
        value_head_dim=size,
        parts=(
            linear("self_attn.qkv_proj", width + 2 * size, hidden),
            linear("self_attn.o_proj", hidden, heads * size, "row"),
            Tensor(path="self_attn.inter_norm", elements=width),
            Linear(columns=(Column("self_attn.wq", heads, size),), inputs=width, split="column"),
        ),
    )


def _step3_shared(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    """Step-3: a dense MLP, or beside experts a shared one."""
    sparse = _moe_enum(text, index)
    width = text.integer("share_expert_dim") if sparse else text.integer("intermediate_size")
    return FeedForward(intermediate_size=width, path="share_expert" if sparse else "mlp")


def _moe_enum(text: Fields, index: int) -> bool:
    """Step: the layers with experts are listed in a text, and are all but the first where they are not."""
    if text.has("mlp_layer_types"):
        kinds = text.texts("mlp_layer_types")
        return index < len(kinds) and kinds[index] == "sparse"
    listed = text.get("moe_layers_enum")
    if listed is None:
        return index >= 1
    numbers = listed.split(",") if isinstance(listed, str) else listed
    if not isinstance(numbers, list | tuple):
        raise text.error("moe_layers_enum", "expected layer numbers")
    return str(index) in {str(number).strip() for number in numbers}


def _step3p5_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Step-3.5: layers of one kind have head counts and a head size of their own."""
    attention = grouped_query(text, family, index, kind)
    other = text.section("attention_other_setting")
    types = text.texts("layer_types")
    if not other.values or index >= len(types) or types[index] != other.text("attention_type"):
        return attention
    size = other.integer("head_dim")
    return replace(
        attention, num_heads=other.integer("num_attention_heads"), num_kv_heads=other.integer("num_attention_groups"),
        head_dim=size, value_head_dim=size,
    )  # fmt: skip


def _step3p5_gate(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    if not text.flag("use_head_wise_attn_gate"):
        return ()
    heads = _step3p5_attention(text, LLAMA, index, kind).num_heads
    return (linear("self_attn.g_proj", heads, text.integer("hidden_size"), "column"),)


def _step3p5_rotaries(text: Fields) -> tuple[Rotary, ...]:
    """Step-3.5: layers may differ in base, in the share of a head that rotates, and in whether scaling applies."""
    bases, shares = text.get("rope_theta"), text.sequence("partial_rotary_factors")
    types, scaled = text.texts("layer_types"), text.texts("yarn_only_types")
    size = head_dim(text)
    found: dict[tuple[str, str, bool], Rotary] = {}
    for index in range(text.integer("num_hidden_layers")):
        base = bases[index] if isinstance(bases, list) and index < len(bases) else bases
        share = shares[index] if index < len(shares) else 1.0
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise text.error(f"partial_rotary_factors[{index}]", "expected a share of a head")
        applies = not scaled or (index < len(types) and types[index] in scaled)
        scaling = text.section("rope_scaling") if applies else Fields(text.where, {})
        found[repr(base), repr(share), applies] = table(text, scaling, int(size * share))
    return tuple(found.values())


def _longcat_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """LongCat: a layer is two attentions and two MLPs, the experts beside the first; here they are two layers."""
    return ("full",) * (2 * count)


def _first_half(text: Fields, index: int) -> bool:
    return index % 2 == 0


def _longcat_router(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """LongCat: some experts do nothing, but the router scores them too, in fp32."""
    if index % 2:
        return ()
    idle = text.integer("zero_expert_num", 0, minimum=0)
    return (Tensor(path="mlp.router", elements=idle * (text.integer("hidden_size") + 1), dtype_bytes=4),)


def _longcat_mlp(text: Fields, family: Family, index: int, kind: str) -> FeedForward:
    return FeedForward(intermediate_size=text.integer("ffn_hidden_size"), path="mlps")


def _mamba1(text: Fields) -> State:
    """Mamba and FalconMamba; their norms inside the mixer have no weights (layers/mamba/mamba_mixer.py)."""
    hidden = text.integer("hidden_size")
    rank = text.get("time_step_rank")
    return State(
        kind="mamba1",
        heads=1,
        head_dim=text.integer("intermediate_size", text.integer("expand", 2) * hidden),
        state_size=text.integer("state_size"),
        conv_kernel=text.integer("conv_kernel"),
        time_step_rank=ceil_div(hidden, 16) if rank in (None, "auto") else text.integer("time_step_rank"),
        conv_bias=text.flag("use_conv_bias", True),
        projection_bias=text.flag("use_bias"),
        norm=False,
    )


def _mamba2(text: Fields) -> State:
    """Mamba-2 on its own (mamba2.py)."""
    return State(
        kind="mamba2",
        heads=text.integer("num_heads"),
        head_dim=text.integer("head_dim"),
        state_size=text.integer("state_size"),
        groups=text.integer("n_groups"),
        conv_kernel=text.integer("conv_kernel"),
        conv_bias=text.flag("use_conv_bias", True),
        projection_bias=text.flag("use_bias"),
    )


def _zamba_state(text: Fields) -> State:
    inner = text.integer("mamba_expand", 2) * text.integer("hidden_size")
    heads = text.integer("n_mamba_heads", 8)
    return State(
        kind="mamba2",
        heads=heads,
        head_dim=text.integer("mamba_headdim", inner // heads),
        state_size=text.integer("mamba_d_state"),
        groups=text.integer("mamba_ngroups", 1),
        conv_kernel=text.integer("mamba_d_conv"),
        conv_bias=text.flag("use_conv_bias", True),
        projection_bias=text.flag("add_bias_linear"),
        path="mamba",
    )


def _zamba_kinds(text: Fields, count: int) -> tuple[str, ...]:
    names = text.texts("layers_block_type" if text.has("layers_block_type") else "layer_types")
    if len(names) < count:
        raise text.error("layers_block_type", f"lists {len(names)} layers, the model has {count}")
    return tuple("both" if name == "hybrid" else "state" for name in names[:count])


def _zamba_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Zamba2: attention over the hidden state beside the embedding; all hybrid layers share a few blocks' weights."""
    heads, hidden, inner = text.integer("num_attention_heads"), text.integer("hidden_size"), 2
    size = text.integer("attention_head_dim", inner * hidden // heads)
    kinds = _zamba_kinds(text, text.integer("num_hidden_layers"))
    place = [at for at, name in enumerate(kinds) if name == "both"].index(index)
    parts: list[Part] = [linear("linear", hidden, hidden)]
    if place < text.integer("num_mem_blocks", 1):
        parts += _zamba_block(text, heads, size)
    rank, width = text.integer("adapter_rank", 128), text.integer("intermediate_size")
    adapters = [("feed_forward.gate_up_proj_adapter", 2 * width, hidden)]
    if text.flag("use_shared_attention_adapter"):
        adapters += [(f"self_attn.linear_{name}_adapter", heads * size, inner * hidden) for name in "qkv"]
    for path, outputs, inputs in adapters:
        parts += [
            linear(f"shared_transformer.{path}.A", rank, inputs, "column"),
            linear(f"{path}.B", outputs, rank, "column"),
        ]
    return Attention(num_heads=heads, num_kv_heads=heads, head_dim=size, value_head_dim=size, parts=tuple(parts))


def _zamba_block(text: Fields, heads: int, size: int) -> list[Part]:
    hidden, width, bias = text.integer("hidden_size"), text.integer("intermediate_size"), text.flag("add_bias_linear")
    columns = tuple(Column(f"shared_transformer.self_attn.{name}_proj", heads, size) for name in "qkv")
    return [
        Linear(columns=columns, inputs=2 * hidden, split="column"),
        linear("shared_transformer.self_attn.o_proj", hidden, heads * size, "row"),
        linear("shared_transformer.feed_forward.gate_up_proj", 2 * width, hidden, "column", bias=bias),
        linear("shared_transformer.feed_forward.down_proj", hidden, width, "row", bias=bias),
        Tensor(path="shared_transformer.norms", elements=3 * hidden),
    ]


def _nothing(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    return None


def _all_states(text: Fields, count: int) -> tuple[str, ...]:
    return ("state",) * count


def _zamba_rotaries(text: Fields) -> tuple[Rotary, ...]:
    if not text.flag("use_mem_rope"):
        return ()
    heads, hidden = text.integer("num_attention_heads"), text.integer("hidden_size")
    size = text.integer("attention_head_dim", 2 * hidden // heads)
    return (Rotary(text.integer("max_position_embeddings"), size),)


_MAMBA = Family(kinds=_all_states, state=_mamba1, feed_forward=_nothing, norms=1, rotary=False)
_MINICPM_EXPERTS = Experts(size="intermediate_size")

UNUSUAL: Mapping[str, Family] = {
    "MambaForCausalLM": _MAMBA,
    "FalconMambaForCausalLM": _MAMBA,
    "Mamba2ForCausalLM": replace(_MAMBA, state=_mamba2),
    "Zamba2ForCausalLM": Family(
        kinds=_zamba_kinds, state=_zamba_state, attention=_zamba_attention, feed_forward=_nothing, norms=1,
        rotaries=_zamba_rotaries, defaults={"tie_word_embeddings": True},
    ),
    "MiniCPMForCausalLM": Family(mixture=_MINICPM_EXPERTS, defaults={"tie_word_embeddings": True}),
    "MiniCPM3ForCausalLM": Family(kinds=all_full, attention=_expanded_latent, defaults={"tie_word_embeddings": True}),
    "LagunaForCausalLM": Family(
        kinds=listed_or_full, attention=_laguna_attention, qk_norm="head", layer_extra=_laguna_gate,
        qkv_bias=("attention_bias",), output_bias=("attention_bias",),
        mixture=Experts(
            where=_laguna_sparse, correction=always, shared=shared_by_size("shared_expert_intermediate_size"),
            shared_path="shared_expert",
        ),
    ),
    "Step3TextForCausalLM": Family(
        attention=_step3_attention, feed_forward=_step3_shared, kinds=all_full,
        names={"max_position_embeddings": "max_position_embedding"},
        mixture=Experts(count="moe_num_experts", active="moe_top_k", where=_moe_enum, path="moe"),
    ),
    "Step3p5ForCausalLM": Family(
        attention=_step3p5_attention, kinds=listed_or_full, qkv_bias=("attention_bias",), qk_norm="head",
        layer_extra=_step3p5_gate, names={"num_key_value_heads": "num_attention_groups"}, rotaries=_step3p5_rotaries,
        mixture=Experts(
            count="moe_num_experts", active="moe_top_k", where=_moe_enum, correction=always, router_dtype_bytes=4,
            shared=shared_by_size("share_expert_dim"), shared_path="share_expert", path="moe",
        ),
    ),
    "LongcatFlashForCausalLM": Family(
        kinds=_longcat_kinds, attention=latent, feed_forward=_longcat_mlp, layer_extra=_longcat_router,
        names={"num_hidden_layers": "num_layers"},
        mixture=Experts(
            count="n_routed_experts", active="moe_topk", size="expert_ffn_hidden_size", where=_first_half,
            correction=always, router_dtype_bytes=4,
        ),
    ),
    "MiMoV2ForCausalLM": MIXTURES["MiMoV2FlashForCausalLM"],
}  # fmt: skip
