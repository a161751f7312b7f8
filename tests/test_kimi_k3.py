"""Kimi-K3: what its gates, latent experts and residuals over blocks add, and what of its encoder is refused."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.errors import InvalidConfig
from planner.facts.quantization import Quantization
from planner.tensors.weights import Rank, parameter_bytes

LINEAR: dict[str, Any] = {
    "full_attn_layers": [4], "kda_layers": [1, 2, 3], "head_dim": 128, "num_heads": 16, "short_conv_kernel_size": 4,
    "use_full_rank_gate": True,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "model_type": "kimi_linear", "hidden_size": 2048, "intermediate_size": 4096, "num_hidden_layers": 4,
    "num_attention_heads": 16, "num_key_value_heads": 16, "kv_lora_rank": 512, "q_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 163840, "num_experts": 32,
    "num_experts_per_token": 4, "num_shared_experts": 1, "moe_intermediate_size": 512, "first_k_dense_replace": 1,
    "routed_expert_hidden_size": 1024, "latent_moe_use_norm": True, "mla_use_output_gate": True,
    "attn_res_block_size": 2, "linear_attn_config": LINEAR, "max_position_embeddings": 32768,
    "dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip
VISION: dict[str, Any] = {
    "vt_hidden_size": 256, "vt_intermediate_size": 512, "vt_num_hidden_layers": 1, "patch_size": 14,
    "qkv_hidden_size": 384,
}  # fmt: skip


def config(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "architectures": ["KimiK3ForConditionalGeneration"], "model_type": "kimi_k3",
        "text_config": {**TEXT, **(text or {})}, "vision_config": {**VISION, **(vision or {})},
    }  # fmt: skip


def parameters(**changes: Any) -> int:  # noqa: ANN401 - JSON values have no narrower type
    found, _ = parse_config(config(changes), where="config.json")
    return parameter_bytes(found, Quantization(), Rank()) // 2


@pytest.mark.parametrize(
    ("changes", "less"),
    [
        ({"mla_use_output_gate": False}, 16 * 128 * 2048),
        ({"latent_moe_use_norm": False}, 3 * 1024),
        ({"attn_res_block_size": None}, (4 * 4 + 2) * 2048),
        (
            {"linear_attn_config": {**LINEAR, "use_full_rank_gate": False}},
            3 * (2048 * 2048 - 128 * 2048 - 2048 * 128),
        ),
    ],
)
def test_each_part_of_its_own_costs_what_its_shape_says(changes: dict[str, Any], less: int) -> None:
    assert parameters() - parameters(**changes) == less


@pytest.mark.parametrize("changes", [{"norm_type": "layernorm"}, {"mlp_type": "mlp3"}, {"merge_kernel_size": [2]}])
def test_an_encoder_of_another_make_is_refused_by_field(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(changes))):
        parse_config(config(vision=changes), where="config.json")
