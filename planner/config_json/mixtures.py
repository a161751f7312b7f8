"""Decoder families with a mixture of experts.

Source per row: the model file under ``vllm/model_executor/models``, vLLM 0.33.0.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Attention
from planner.config_json.attention import grouped_query, head_dim, latent
from planner.config_json.dense import LLAMA, QWEN2, QWEN3
from planner.config_json.experts import (
    Experts,
    after_dense,
    always,
    by_topk_method,
    ernie_layers,
    interleaved,
    shared_by_count,
    shared_by_size,
    sparse_step,
)  # fmt: skip
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kinds import all_full, listed_or_full, pattern
from planner.config_json.specials import llama4_kinds, mimo_attention, mimo_kinds

QWEN_EXPERTS = Experts(
    where=sparse_step,
    shared=shared_by_size("shared_expert_intermediate_size"),
    shared_gate=True,
    shared_path="shared_expert",
)
MLA_EXPERTS = Experts(count="n_routed_experts", where=after_dense, shared=shared_by_count, correction=by_topk_method)
MLA = Family(kinds=all_full, attention=latent, mixture=MLA_EXPERTS)


def _values_as_keys(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """DeepSeek's first: sizes of latent attention that the config carries along mean nothing."""
    attention = grouped_query(text.stating({"v_head_dim": head_dim(text)}), family, index, kind)
    return replace(attention, value_head_dim=attention.head_dim)


def _has_routing_bias(text: Fields) -> bool:
    return text.flag("use_routing_bias")


MIXTURES: Mapping[str, Family] = {
    "MixtralForCausalLM": Family(
        mixture=Experts(count="num_local_experts", size="intermediate_size", path="block_sparse_moe")
    ),
    "Qwen2MoeForCausalLM": replace(QWEN2, mixture=QWEN_EXPERTS, defaults={"decoder_sparse_step": 1}),
    "Qwen3MoeForCausalLM": replace(QWEN3, mixture=Experts(where=sparse_step), defaults={}),
    "OlmoeForCausalLM": Family(qk_norm="whole", mixture=Experts(size="intermediate_size")),
    "PhiMoEForCausalLM": Family(
        qkv_bias=True, output_bias=True, head_bias=True, norm_bias=True,
        mixture=Experts(count="num_local_experts", size="intermediate_size", path="block_sparse_moe"),
    ),
    "GraniteMoeForCausalLM": Family(
        mixture=Experts(count="num_local_experts", size="intermediate_size", path="block_sparse_moe"),
        defaults={"tie_word_embeddings": True},
    ),
    "Glm4MoeForCausalLM": Family(
        qkv_bias=("attention_bias",), qk_norm="head", qk_norm_switch=("use_qk_norm",),
        mixture=Experts(
            count="n_routed_experts", where=after_dense, shared=shared_by_count, correction=always,
            router_dtype_bytes=4,
        ),
        defaults={"partial_rotary_factor": 0.5},
    ),
    "Ernie4_5_MoeForCausalLM": Family(
        qkv_bias=("use_bias",), mlp_bias=("use_bias",),
        mixture=Experts(
            count="moe_num_experts", active="moe_k", where=ernie_layers, correction=always, router_dtype_bytes=4,
            shared=shared_by_size("moe_intermediate_size", "moe_num_shared_experts"),
        ),
        defaults={"tie_word_embeddings": True},
    ),
    "MiniMaxM2ForCausalLM": Family(
        qkv_bias=("attention_bias",), qk_norm="split", kinds=all_full,
        mixture=Experts(
            count="num_local_experts", size="intermediate_size", path="block_sparse_moe", router_dtype_bytes=4,
            correction=_has_routing_bias,
        ),
    ),
    "GptOssForCausalLM": Family(
        qkv_bias=True, output_bias=True, sinks=True, attention_path="attn", kinds=pattern(2, "sliding", "full"),
        mixture=Experts(
            count="num_local_experts", size="intermediate_size", bias=True, router_bias=True, router_path="router"
        ),
        defaults={"head_dim": 64},
    ),
    "MiMoV2FlashForCausalLM": Family(
        kinds=mimo_kinds, attention=mimo_attention,
        mixture=Experts(count="n_routed_experts", where=after_dense, correction=always, router_dtype_bytes=4),
    ),
    "Llama4ForCausalLM": replace(
        LLAMA, qkv_bias=False, output_bias=False, kinds=llama4_kinds, mlp_path="feed_forward",
        names={"intermediate_size": "intermediate_size_mlp", "expert_size": "intermediate_size"},
        mixture=Experts(
            count="num_local_experts", size="expert_size", where=interleaved, path="feed_forward",
            router_path="router", shared=shared_by_size("expert_size"), shared_path="shared_expert",
        ),
    ),
    **dict.fromkeys(("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM",
                     "MistralLarge3ForCausalLM"), MLA),
    "Glm4MoeLiteForCausalLM": replace(MLA, mixture=replace(MLA_EXPERTS, router_dtype_bytes=4, correction=always)),
    "GlmMoeDsaForCausalLM": MLA,
    "DeepseekForCausalLM": Family(
        kinds=all_full, attention=_values_as_keys,
        mixture=Experts(count="n_routed_experts", where=after_dense, shared=shared_by_count)
    ),
    "BailingMoeV2ForCausalLM": Family(
        qkv_bias=("use_qkv_bias", "use_bias"), output_bias=("use_bias",), mlp_bias=("use_bias",), qk_norm="head",
        qk_norm_switch=("use_qk_norm",), kinds=listed_or_full,
        mixture=Experts(
            where=after_dense, shared=shared_by_size("moe_intermediate_size", "num_shared_experts"),
            correction=lambda text: text.flag("moe_router_enable_expert_bias"), router_dtype="router_dtype",
        ),
    ),
}  # fmt: skip
