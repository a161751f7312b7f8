"""Kimi-K3: Kimi Linear with gates of full rank, latent experts and residuals over blocks of layers, and its encoder.

Source: ``models/kimi_k3/nvidia/model.py``, ``kda.py`` and ``mla.py``, vLLM 0.27.0 to 0.33.0.
"""

from msgspec.structs import replace

from planner.architecture import Part, State, Tensor, Vision
from planner.architecture.parts import linear
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.hybrids import HYBRIDS, KIMI_EXPERTS
from planner.config_json.kimi_tower import MAX_PATCHES
from planner.config_json.state import kimi_delta
from planner.config_json.transformer import blocks, plain

# What the encoder is made of, which the engine knows in no other way (common code of its vision tower, 0.32.0).
_ENCODER = {"norm_type": "rmsnorm", "mlp_type": "mlp2", "mm_projector_type": "patchmergerv2"}


def _state(text: Fields) -> State:
    full = text.section("linear_attn_config").flag("use_full_rank_gate")
    return replace(kimi_delta(text), full_rank_gate=full)


def _extra(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Return the gate of latent attention, the norm of latent experts, and what mixes earlier blocks' outputs in."""
    hidden = text.integer("hidden_size")
    parts: list[Part] = []
    if kind == "full" and text.flag("mla_use_output_gate"):
        width = text.integer("num_attention_heads") * text.integer("v_head_dim")
        parts.append(linear("self_attn.g_proj", width, hidden, "column"))
    if text.flag("latent_moe_use_norm") and KIMI_EXPERTS(text, index, kind):
        parts.append(Tensor(path="routed_expert_norm", elements=text.integer("routed_expert_hidden_size")))
    if text.optional_integer("attn_res_block_size"):
        parts.append(Tensor(path="res_norms", elements=4 * hidden))
    return tuple(parts)


def _last(text: Fields) -> tuple[Part, ...]:
    mixed = bool(text.optional_integer("attn_res_block_size"))
    return (Tensor(path="output_attn_res", elements=2 * text.integer("hidden_size")),) if mixed else ()


KIMI_K3: Family = replace(
    HYBRIDS["KimiLinearForCausalLM"],
    state=_state,
    layer_extra=_extra,
    last=_last,
    mixture=replace(KIMI_EXPERTS, width="routed_expert_hidden_size"),
)


def kimi_k3_tower(config: Fields, text: Fields) -> Vision:
    """Return the encoder without biases, whose attention is wider than its hidden size, and the projector.

    Raises:
        InvalidConfig: the encoder is of another make, or a size is missing.
    """
    vision = config.section("vision_config")
    for name, known in _ENCODER.items():
        if vision.text(name, known) != known:
            raise vision.error(name, f"{vision.text(name)!r} is not {known!r}, the only one known")
    hidden, inner = vision.integer("vt_hidden_size"), vision.integer("vt_intermediate_size")
    layers, patch = vision.integer("vt_num_hidden_layers"), vision.integer("patch_size")
    height, width = vision.integer("init_pos_emb_height", 64), vision.integer("init_pos_emb_width", 64)
    sides = vision.sequence("merge_kernel_size") or (2, 2)
    if len(sides) != 2 or not all(isinstance(side, int) and 0 < side <= 64 for side in sides):
        raise vision.error("merge_kernel_size", f"expected two sides, not {sides!r}")
    merge = int(sides[0] * sides[1])
    out = text.integer("hidden_size")
    bias = hidden if vision.flag("patch_embed_proj_bias") else 0
    return Vision(
        parts=(
            plain("vision_tower.patch_embed", 3 * hidden * patch * patch, bias, height * width * hidden),
            *blocks(
                "vision_tower.encoder.blocks", layers, hidden, inner, bias=vision.flag("linear_bias"),
                qkv_bias=vision.flag("attn_bias"), norm_bias=False,
                attention_width=vision.integer("qkv_hidden_size", hidden),
            ),
            plain("vision_tower.encoder.final_layernorm", hidden),
            linear("mm_projector.linear_1", hidden * merge, hidden * merge),
            linear("mm_projector.linear_2", out, hidden * merge),
            plain("mm_projector.post_norm", out),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        max_item_tokens=MAX_PATCHES // merge,
        patches_per_token=merge,
    )  # fmt: skip
