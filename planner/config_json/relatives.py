"""Decoder families that are a fact or two away from another.

Source per row: the model file under ``vllm/model_executor/models``, 0.32.0 and 0.33.0.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from planner.architecture import Attention, FeedForward, Mixture, Part, Tensor
from planner.architecture.parts import linear
from planner.config_json.attention import head_dim
from planner.config_json.dense import GEMMA2, GEMMA3, LLAMA, four_times
from planner.config_json.experts import Experts, after_dense, always, shared_by_count, shared_by_size
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.hybrids import shared_mlp
from planner.config_json.kinds import listed, listed_or_full, pattern
from planner.config_json.mixtures import MLA, MLA_EXPERTS

_GPT_J = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
          "max_position_embeddings": "n_positions", "intermediate_size": "n_inner"}  # fmt: skip


def _gate(path: str) -> Callable[[Fields, int, str], tuple[Part, ...]]:
    """Return a rule: attention's output is gated element by element by a projection of its own."""

    def extra(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
        heads, size = text.integer("num_attention_heads"), head_dim(text)
        return (linear(path, heads * size, text.integer("hidden_size"), "column"),)

    return extra


def bailing_shared(text: Fields) -> int:
    """Return the shared experts' width: their own where stated, times their count."""
    size = text.integer("moe_shared_expert_intermediate_size", text.integer("moe_intermediate_size"))
    return size * text.integer("num_shared_experts", 0, minimum=0)


def _listed_moe(text: Fields, index: int) -> bool:
    """EXAONE: a list of switches, or all layers after the first dense ones."""
    switches = text.sequence("is_moe_layer")
    if switches and index >= len(switches):
        raise text.error("is_moe_layer", f"lists {len(switches)} layers, too few for the model")
    return bool(switches[index]) if switches else index >= text.integer("first_k_dense_replace", 0, minimum=0)


def _dbrx_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    heads, kv_heads = text.integer("num_attention_heads"), text.section("attn_config").integer("kv_n_heads", 1)
    if heads % kv_heads:
        raise text.error("attn_config.kv_n_heads", f"{kv_heads} does not divide n_heads {heads}")
    size = head_dim(text)
    return Attention(num_heads=heads, num_kv_heads=kv_heads, head_dim=size, value_head_dim=size)


def _dbrx_mixture(text: Fields, index: int, kind: str) -> Mixture:
    inner = text.section("ffn_config")
    return Mixture(
        count=inner.integer("moe_num_experts"),
        active=inner.integer("moe_top_k"),
        intermediate_size=inner.integer("ffn_hidden_size"),
        path="ffn",
        router_path="router.layer",
    )


_HUNYUAN_EXPERTS = Experts(
    active="moe_topk", shared=lambda text: text.integer("intermediate_size"), shared_path="shared_mlp"
)


def _hunyuan_mixture(text: Fields, index: int, kind: str) -> Mixture | None:
    """Hunyuan: sizes may be listed layer by layer; the shared expert is as wide as a dense MLP."""
    own = {}
    for name in ("moe_topk", "moe_intermediate_size"):
        values = text.get(name)
        if isinstance(values, list):
            if index >= len(values):
                raise text.error(name, f"lists {len(values)} layers, too few for the model")
            own[name] = values[index]
    if not text.has("moe_intermediate_size"):
        own["moe_intermediate_size"] = text.integer("intermediate_size")
    return _HUNYUAN_EXPERTS(text.stating(own), index, kind)


def _telechat_mlp(text: Fields, family: Family, index: int, kind: str) -> FeedForward:
    return FeedForward(intermediate_size=text.integer("intermediate_size"), bias=True, up_bias=False)


def _bloom_first(text: Fields) -> tuple[Part, ...]:
    return (Tensor(path="word_embeddings_layernorm", elements=2 * text.integer("hidden_size")),)


def _post_norms(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """HyperCLOVA X: a norm after attention and one after the MLP where the config asks for them."""
    return (Tensor(path="post_norms", elements=2 * text.integer("hidden_size")),) * text.flag("use_post_norm")


def _sandwich(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    return (Tensor(path="mlp_norms", elements=2 * text.integer("hidden_size")),) * text.flag("sandwich_norm")


def _after_dense_layers(text: Fields, index: int) -> bool:
    return index >= text.integer("num_dense_layers", 1, minimum=0)


_EXAONE = Family(
    qkv_bias=("attention_bias", "bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",),
)  # fmt: skip
_EXAONE_MOE = replace(
    _EXAONE, qk_norm="head", kinds=pattern(4, "sliding", "full"),
    mixture=Experts(
        where=_listed_moe, correction=always, shared=shared_by_size("moe_intermediate_size", "num_shared_experts")
    ),
)  # fmt: skip
_GRANITE_SHARED = Family(
    feed_forward=shared_mlp, kinds=listed_or_full,
    mixture=Experts(count="num_local_experts", size="intermediate_size", path="block_sparse_moe"),
)  # fmt: skip
_CHATGLM = Family(
    qkv_bias=("add_bias_linear", "add_qkv_bias"), output_bias=("add_bias_linear",), mlp_bias=("add_bias_linear",),
    names={
        "num_hidden_layers": "num_layers", "intermediate_size": "ffn_hidden_size", "vocab_size": "padded_vocab_size",
        "num_key_value_heads": "multi_query_group_num", "max_position_embeddings": "seq_length", 
        "head_dim": "kv_channels",
    },
    defaults={"partial_rotary_factor": 0.5},
)  # fmt: skip
_BAILING_EXPERTS = Experts(
    where=after_dense, shared=bailing_shared, router_dtype="router_dtype",
    correction=lambda text: text.flag("moe_router_enable_expert_bias"),
)  # fmt: skip

RELATIVES: Mapping[str, Family] = {
    **dict.fromkeys(("SolarForCausalLM", "TeleFLMForCausalLM"), LLAMA),
    "CwmForCausalLM": replace(LLAMA, kinds=listed),
    "Ernie4_5ForCausalLM": replace(LLAMA, output_bias=False),
    "ExaoneForCausalLM": _EXAONE,
    "Rnj1ForCausalLM": GEMMA3,
    "VaultGemmaForCausalLM": replace(GEMMA2, norms=2),
    "GraniteSWAForCausalLM": replace(LLAMA, kinds=listed_or_full, sinks=True),
    "HyperCLOVAXForCausalLM": replace(LLAMA, layer_extra=_post_norms),
    "TeleChat2ForCausalLM": Family(output_bias=True, feed_forward=_telechat_mlp),
    "PanguEmbeddedForCausalLM": Family(
        qkv_bias=("attention_bias", "bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",),
        layer_extra=_sandwich,
    ),
    "Step1ForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",), rotary=False,
        names={"num_key_value_heads": "num_attention_groups"}, defaults={"tie_word_embeddings": True},
    ),
    "GPTJForCausalLM": Family(
        gated=False, mlp_bias=True, norms=1, norm_bias=True, head_bias=True, feed_forward=four_times, names=_GPT_J,
    ),
    "GPTNeoXForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=True, gated=False, norm_bias=True,
        defaults={"attention_bias": True, "partial_rotary_factor": 0.25},
    ),
    "BloomForCausalLM": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True, rotary=False, feed_forward=four_times,
        first=_bloom_first, names={"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
        defaults={"tie_word_embeddings": True},
    ),
    "OlmoForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), norms=0, final_norm=False
    ),
    "Jais2ForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",), gated=False,
        norm_bias=True,
    ),
    **dict.fromkeys(("ChatGLMModel", "ChatGLMForConditionalGeneration"), _CHATGLM),
    "AfmoeForCausalLM": Family(
        norms=4, qk_norm="head", kinds=pattern(4, "sliding", "full", "global_attn_every_n_layers"),
        layer_extra=_gate("self_attn.gate_proj"),
        mixture=Experts(
            where=_after_dense_layers, correction=always, router_dtype_bytes=4,
            shared=shared_by_size("moe_intermediate_size", "num_shared_experts"),
        ),
    ),
    **dict.fromkeys(("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"), _EXAONE_MOE),
    "GraniteMoeSharedForCausalLM": _GRANITE_SHARED,
    "GraniteMoeSWAForCausalLM": replace(_GRANITE_SHARED, sinks=True),
    "BailingMoeForCausalLM": Family(
        qkv_bias=("use_qkv_bias", "use_bias"), output_bias=("use_bias",), mlp_bias=("use_bias",), qk_norm="head",
        qk_norm_switch=("use_qk_norm",), mixture=_BAILING_EXPERTS,
    ),
    "DbrxForCausalLM": Family(
        names={
            "hidden_size": "d_model", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers",
            "max_position_embeddings": "max_seq_len",
        },
        attention=_dbrx_attention, mixture=_dbrx_mixture,
    ),
    "Cohere2MoeForCausalLM": Family(
        norms=1, kinds=pattern(4, "sliding", "full", "sliding_window_pattern"),
        mixture=Experts(
            size="intermediate_size", where=after_dense,
            shared=shared_by_size("intermediate_size", "num_shared_experts"),
        ),
        defaults={"tie_word_embeddings": True},
    ),
    "HYV3ForCausalLM": Family(
        qk_norm="head", qk_norm_switch=("qk_norm",),
        mixture=Experts(
            size="moe_intermediate_size", where=after_dense, correction=always, router_dtype_bytes=4,
            shared=shared_by_size("moe_intermediate_size", "num_shared_experts"), shared_path="shared_mlp",
        ),
    ),
    "HunYuanMoEV1ForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), qk_norm="head", qk_norm_switch=("use_qk_norm",),
        mixture=_hunyuan_mixture,
    ),
    "MellumForCausalLM": Family(qk_norm="head", mixture=Experts(count="num_local_experts"), kinds=listed),
    "FlexOlmoForCausalLM": Family(qk_norm="whole", mixture=Experts(size="intermediate_size")),
    "AXK1ForCausalLM": replace(MLA, norms=3, mixture=replace(MLA_EXPERTS, correction=always)),
    "PanguUltraMoEForCausalLM": replace(MLA, layer_extra=_sandwich, mixture=Experts(
        count="n_routed_experts", where=after_dense, shared=shared_by_count,
        correction=lambda text: text.flag("router_enable_expert_bias"),
    )),
    "SarvamMoEForCausalLM": Family(
        qkv_bias=("use_qkv_bias", "use_bias"), output_bias=("use_bias",), mlp_bias=("use_bias",), qk_norm="head",
        qk_norm_switch=("use_qk_norm",), mixture=_BAILING_EXPERTS,
    ),
    "SarvamMLAForCausalLM": replace(
        MLA, mixture=Experts(where=after_dense, shared=bailing_shared, correction=always),
        defaults={"num_shared_experts": 1, "first_k_dense_replace": 1},
    ),
    "Param2MoEForCausalLM": Family(
        qkv_bias=("use_qkv_bias",), output_bias=("use_bias",), qk_norm="head", qk_norm_switch=("use_qk_norm",),
        mixture=replace(_BAILING_EXPERTS, correction=always, router_dtype_bytes=4),
        defaults={"num_shared_experts": 1, "first_k_dense_replace": 1},
    ),
}  # fmt: skip
