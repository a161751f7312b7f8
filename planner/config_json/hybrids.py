"""Decoder families that mix attention with recurrent state.

Source per row: the model file under ``vllm/model_executor/models`` and the layers under ``layers/mamba``, vLLM 0.33.0.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from planner.architecture import FeedForward, Mixture
from planner.config_json.attention import latent
from planner.config_json.experts import Experts, after_dense, always, shared_by_size
from planner.config_json.family import Family
from planner.config_json.fields import MAX_LAYERS, Fields
from planner.config_json.kinds import listed, pattern
from planner.config_json.mixtures import QWEN_EXPERTS
from planner.config_json.state import conv_state, gated_delta, kimi_delta, mamba1, mamba2, nemotron_mamba
from planner.units import ceil_div


def _qwen_kinds(text: Fields, count: int) -> tuple[str, ...]:
    return pattern(4, "state", "full", "full_attention_interval")(text, count)


_QWEN3_5 = Family(
    kinds=_qwen_kinds, state=gated_delta, qk_norm="head", output_gate=("attn_output_gate",),
    defaults={"attn_output_gate": True, "partial_rotary_factor": 0.25, "head_dim": 256},
)  # fmt: skip


def _nemotron_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """``M`` state, ``*`` attention, ``-`` MLP, ``E`` experts: one of them per layer."""
    kinds = {"M": "state", "*": "full", "-": "mlp", "E": "experts"}
    letters = text.text("hybrid_override_pattern")
    if not letters:
        names = {
            "mamba": "M", "attention": "*", "mlp": "-", "moe": "E",
            "linear_attention": "M", "full_attention": "*",  # as transformers 5 writes it
        }  # fmt: skip
        letters = "".join(names.get(name, "?") for name in text.texts("layers_block_type"))
    if len(letters) < count or any(letter not in kinds for letter in letters[:count]):
        raise text.error("hybrid_override_pattern", f"{letters!r} does not describe {count} layers with M, *, - and E")
    return tuple(kinds[letter] for letter in letters[:count])


def _nemotron_mlp(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    if kind != "mlp":
        return None
    return FeedForward(
        intermediate_size=text.integer("intermediate_size"), gated=False, bias=text.flag("mlp_bias"), path="mixer"
    )


_NEMOTRON_EXPERTS = Experts(
    count="n_routed_experts", gated=False, correction=always, path="mixer", width="moe_latent_size",
    router_dtype_bytes=4,  # except on SM90 and SM100 since 0.20, where it is as wide as the model (fused_moe/router)
    shared=shared_by_size("moe_shared_expert_intermediate_size", "n_shared_experts"),
)  # fmt: skip


def _nemotron_mixture(text: Fields, index: int, kind: str) -> Mixture | None:
    return _NEMOTRON_EXPERTS(text, index, kind) if kind == "experts" else None


def _granite_kinds(text: Fields, count: int) -> tuple[str, ...]:
    return listed(text, count, "layer_types" if text.has("layer_types") else "layers_block_type")


def shared_mlp(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    """Granite: an MLP beside the experts, where the config gives it a width."""
    width = text.integer("shared_intermediate_size", 0, minimum=0)
    return FeedForward(intermediate_size=width, path="shared_mlp") if width else None


def _period(period: str, offset: str) -> Callable[[Fields, int], tuple[str, ...]]:
    def kinds(text: Fields, count: int) -> tuple[str, ...]:
        step, first = text.integer(period), text.integer(offset, 0, minimum=0)
        return tuple("full" if index % step == first else "state" for index in range(count))

    return kinds


def _jamba_experts(text: Fields, index: int) -> bool:
    return index % text.integer("expert_layer_period", 2) == text.integer("expert_layer_offset", 1, minimum=0)


def _bamba_kinds(text: Fields, count: int) -> tuple[str, ...]:
    attends = text.sequence("attn_layer_indices")
    return tuple("full" if index in attends else "state" for index in range(count))


def _lfm2_kinds(text: Fields, count: int) -> tuple[str, ...]:
    if text.has("layer_types"):
        return listed(text, count)
    attends = text.sequence("full_attn_idxs")
    return tuple("full" if index in attends else "state" for index in range(count))


def _lfm2_mlp(text: Fields, family: Family, index: int, kind: str) -> FeedForward | None:
    """LFM2 states a width that its blocks may shrink to two thirds and round up (models/lfm2.py:Lfm2MLP)."""
    if index >= text.integer("num_dense_layers", MAX_LAYERS, minimum=0):
        return None
    width = text.integer("block_ff_dim" if text.has("block_ff_dim") else "intermediate_size")
    if not text.has("num_experts") and text.flag("block_auto_adjust_ff_dim", True):
        width = int(text.number("block_ffn_dim_multiplier", 1.0) * (2 * width // 3))
        step = text.integer("block_multiple_of", 256)
        width = ceil_div(width, step) * step
    return FeedForward(intermediate_size=width, path="feed_forward")


def _after_dense(text: Fields, index: int) -> bool:
    return index >= text.integer("num_dense_layers", 0, minimum=0)


def _kimi_kinds(text: Fields, count: int) -> tuple[str, ...]:
    """Kimi Linear numbers its layers from one (models/kimi_linear.py)."""
    layers = text.section("linear_attn_config").sequence("kda_layers")
    return tuple("state" if index + 1 in layers else "full" for index in range(count))


KIMI_EXPERTS = Experts(
    active="num_experts_per_token", where=after_dense, correction=always, path="block_sparse_moe",
    shared=shared_by_size("moe_intermediate_size", "num_shared_experts"),
)  # fmt: skip

HYBRIDS: Mapping[str, Family] = {
    "Qwen3NextForCausalLM": replace(_QWEN3_5, mixture=QWEN_EXPERTS),
    "Qwen3_5ForCausalLM": _QWEN3_5,
    "Qwen3_5MoeForCausalLM": replace(_QWEN3_5, mixture=QWEN_EXPERTS),
    "NemotronHForCausalLM": Family(
        kinds=_nemotron_kinds, state=nemotron_mamba, feed_forward=_nemotron_mlp, mixture=_nemotron_mixture,
        norms=1, rotary=False, attention_path="mixer",
    ),
    "GraniteMoeHybridForCausalLM": Family(
        kinds=_granite_kinds, state=mamba2, feed_forward=shared_mlp, qkv_bias=("attention_bias",),
        output_bias=("attention_bias",),
        mixture=Experts(count="num_local_experts", size="intermediate_size", path="block_sparse_moe"),
        defaults={"tie_word_embeddings": True, "position_embedding_type": "nope"},
    ),
    "BambaForCausalLM": Family(
        kinds=_bamba_kinds, state=mamba2, mlp_path="feed_forward", defaults={"partial_rotary_factor": 0.5}
    ),
    "JambaForCausalLM": Family(
        kinds=_period("attn_layer_period", "attn_layer_offset"), state=mamba1, rotary=False, mlp_path="feed_forward",
        mixture=Experts(size="intermediate_size", where=_jamba_experts, path="feed_forward", router_path="router"),
    ),
    "FalconH1ForCausalLM": Family(
        kinds=lambda text, count: ("both",) * count, state=mamba2, mlp_path="feed_forward"
    ),
    "Lfm2ForCausalLM": Family(
        kinds=_lfm2_kinds, state=conv_state, qk_norm="head", feed_forward=_lfm2_mlp,
        defaults={"tie_word_embeddings": True},
    ),
    "Lfm2MoeForCausalLM": Family(
        kinds=_lfm2_kinds, state=conv_state, qk_norm="head", feed_forward=_lfm2_mlp,
        mixture=Experts(where=_after_dense, correction=lambda text: text.flag("use_expert_bias"), path="feed_forward"),
        defaults={"tie_word_embeddings": True},
    ),
    "KimiLinearForCausalLM": Family(
        kinds=_kimi_kinds, attention=latent, state=kimi_delta, rotary=False,
        mixture=KIMI_EXPERTS,
    ),
}  # fmt: skip
