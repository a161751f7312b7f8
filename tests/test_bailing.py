"""Bailing 2.5 and 3: which layers keep a state, what gates cost, and what is refused as the engine refuses it."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.errors import InvalidConfig
from planner.facts.quantization import Quantization
from planner.memory.validity import invalid
from planner.tensors.weights import weights_bytes

CONFIG: dict[str, Any] = {
    "architectures": ["BailingMoeV3ForCausalLM"], "model_type": "bailing_hybrid", "hidden_size": 2048,
    "intermediate_size": 5120, "num_hidden_layers": 7, "num_attention_heads": 16, "num_key_value_heads": 16,
    "head_dim": 128, "vocab_size": 157184, "max_position_embeddings": 32768, "num_experts": 64,
    "num_experts_per_tok": 8, "num_shared_experts": 1, "moe_intermediate_size": 512, "first_k_dense_replace": 1,
    "moe_shared_expert_intermediate_size": 512, "layer_group_size": 3, "short_conv_kernel_size": 4,
    "no_kda_lora": True, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "torch_dtype": "bfloat16", "tie_word_embeddings": False, "partial_rotary_factor": 0.5,
}  # fmt: skip


def test_the_last_layer_of_a_group_attends_and_so_do_layers_after_the_last_group() -> None:
    found, _ = parse_config(CONFIG, where="config.json")

    assert [bool(layer.state) for layer in found.layers] == [True, True, False, True, True, False, False]
    assert [bool(layer.attention) for layer in found.layers] == [not layer.state for layer in found.layers]


def test_the_rotary_part_of_latent_attention_turns_whole() -> None:
    found, _ = parse_config(CONFIG, where="config.json")

    assert [table.width for table in found.rotaries] == [64]


@pytest.mark.parametrize(("gate", "outputs"), [("head_wise", 16), ("element_wise", 16 * 128)])
def test_a_gate_is_one_product_in_each_layer_that_attends(gate: str, outputs: int) -> None:
    plain = weights_bytes(*parse_config(CONFIG, where="config.json"))
    gated = weights_bytes(*parse_config({**CONFIG, "gated_attention_proj_granularity_type": gate}, where="config.json"))

    assert 0 <= gated - plain - 3 * outputs * 2048 * 2 < 1 << 21  # the allocator rounds


@pytest.mark.parametrize("changes", [{"no_kda_lora": False}, {"no_kda_lora": None}])
def test_gates_of_low_rank_are_refused_by_field(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match="no_kda_lora"):
        parse_config({**CONFIG, **changes}, where="config.json")


OLDER: dict[str, Any] = {**CONFIG, "architectures": ["BailingMoeV2_5ForCausalLM"], "group_norm_size": 4}


def test_in_bailing_2_5_layers_after_the_last_group_keep_a_state_and_there_are_two_tables() -> None:
    found, _ = parse_config(OLDER, where="config.json")

    assert [bool(layer.state) for layer in found.layers] == [True, True, False, True, True, False, True]
    assert sorted(table.width for table in found.rotaries) == [64, 64]


@pytest.mark.parametrize(("ranks", "fits"), [(1, True), (2, True), (4, True), (8, False)])
def test_the_groups_of_the_norm_are_shared_out_whole(ranks: int, fits: bool) -> None:
    found, _ = parse_config(OLDER, where="config.json")
    flags = ServeFlags(
        max_model_len=4096, max_num_seqs=1, max_num_batched_tokens=4096, gpu_memory_utilization=0.9,
        tensor_parallel_size=ranks,
    )  # fmt: skip

    assert (invalid(found, Quantization(), flags, load_profile("0.33.0")) is None) is fits
