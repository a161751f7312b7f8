"""Bailing 2.5 and 3 (Ling, Ring): linear attention, and latent attention in every last layer of a group.

Source: ``model_executor/models/bailing_moe_v3.py``, vLLM 0.28.0 to 0.33.0, and ``bailing_moe_linear.py``, 0.20.0 to
0.33.0.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Attention, Part, Rotary, State
from planner.architecture.parts import linear
from planner.config_json.attention import head_dim, latent
from planner.config_json.experts import Experts, after_dense, always
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.relatives import bailing_shared
from planner.config_json.rope import settings, table

_PATH = "attention"
# Widths of what gates latent attention's output: one value per head, or one per value.
_GATES = ("head_wise", "element_wise")


def _kinds(text: Fields, count: int) -> tuple[str, ...]:
    """Every last layer of a group attends, and so do all layers after the last whole group."""
    size = text.integer("layer_group_size")
    grouped = count // size * size
    return tuple("full" if (index + 1) % size == 0 or index >= grouped else "state" for index in range(count))


def _attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    return replace(latent(text, family, index, kind), path=_PATH)


def _gate(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Return the gate of latent attention's output, in front of its last projection."""
    name = "gated_attention_proj_granularity_type"
    if kind != "full" or text.get(name) not in _GATES:
        return ()
    size = text.integer("v_head_dim") if text.text(name) == "element_wise" else 1
    width = text.integer("num_attention_heads") * size
    return (linear(f"{_PATH}.g_proj", width, text.integer("hidden_size"), "column"),)


def _state(text: Fields) -> State:
    """Return the delta attention; the engine knows it with gates of full rank alone, and keeps its state in fp32.

    Raises:
        InvalidConfig: the gates have low rank, or a size is missing.
    """
    if not text.flag("no_kda_lora"):
        raise text.error("no_kda_lora", "false or missing; the engine refuses delta attention with gates of low rank")
    heads, size = text.integer("num_attention_heads"), text.integer("head_dim")
    return State(
        kind="bailing-delta",
        heads=heads,
        head_dim=size,
        key_heads=heads,
        key_head_dim=size,
        conv_kernel=text.integer("short_conv_kernel_size"),
        state_dtype_bytes=4,
        path=_PATH,
    )


def _older_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """Bailing 2.5: every last layer of a group attends, and none after the last whole group."""
    size = text.integer("layer_group_size", 1)
    return tuple("state" if (index + 1) % size else "full" for index in range(count))


def _lightning(text: Fields) -> State:
    """Return Bailing 2.5's linear attention, whose state has the model's dtype.

    The norm of its output is cut into groups, which are shared out over ranks whole.
    """
    heads, size = text.integer("num_attention_heads"), head_dim(text)
    bias = text.flag("use_bias")
    return State(
        kind="lightning",
        heads=heads,
        head_dim=size,
        key_heads=heads,
        key_head_dim=size,
        groups=text.integer("group_norm_size", 1),
        projection_bias=bias or text.flag("use_qkv_bias"),
        output_bias=bias,
        norm=text.flag("use_qk_norm"),
        path=_PATH,
    )


def _older_rotaries(text: Fields) -> tuple[Rotary, ...]:
    """Return the table of linear attention, over the stated share of a head, and that of latent attention."""
    own = table(text, settings(text), head_dim(text))
    return (*_rotaries(text), own)


def _rotaries(text: Fields) -> tuple[Rotary, ...]:
    """Return the table of latent attention, which turns the whole rotary part whatever share the config states."""
    size = text.integer("qk_rope_head_dim")
    rope = settings(text)
    whole = {key: value for key, value in rope.values.items() if key != "partial_rotary_factor"}
    return (table(text.stating({"partial_rotary_factor": 1.0}), replace(rope, values=whole), size),)


BAILING: Mapping[str, Family] = {
    "BailingMoeV3ForCausalLM": Family(
        kinds=_kinds, attention=_attention, state=_state, layer_extra=_gate, rotaries=_rotaries, mlp_bias=("use_bias",),
        mixture=Experts(where=after_dense, shared=bailing_shared, router_dtype_bytes=4, correction=always),
    ),
    "BailingMoeV2_5ForCausalLM": Family(
        kinds=_older_kinds, attention=_attention, state=_lightning, rotaries=_older_rotaries, mlp_bias=("use_bias",),
        mixture=Experts(
            where=after_dense, shared=bailing_shared, router_dtype="router_dtype",
            correction=lambda text: text.flag("moe_router_enable_expert_bias"),
        ),
        defaults={"router_dtype": "fp32"},
    ),
}  # fmt: skip
