"""MiniMax-M3: which layers keep an index, what it costs, and what is refused by field."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.engine.profile import load_profile
from planner.errors import InvalidConfig
from planner.tensors.kv_cache import layout
from planner.tensors.kv_pages import suits
from planner.tensors.kv_rules import kv_rules

SPARSE: dict[str, Any] = {
    "sparse_attention_freq": [0, 1, 1], "sparse_num_index_heads": 4, "sparse_index_dim": 128,
    "sparse_topk_blocks": 16, "sparse_block_size": 128,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "architectures": ["MiniMaxM3SparseForCausalLM"], "model_type": "minimax_m3_text", "hidden_size": 6144,
    "intermediate_size": 3072, "dense_intermediate_size": 12288, "num_hidden_layers": 3, "num_attention_heads": 64,
    "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 200064, "max_position_embeddings": 1048576,
    "num_local_experts": 128, "num_experts_per_tok": 4, "n_shared_experts": 1, "moe_layer_freq": [0, 1, 1],
    "torch_dtype": "bfloat16", "tie_word_embeddings": False, "sparse_attention_config": SPARSE,
}  # fmt: skip


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_sparse_layers_keep_a_key_more_per_token_on_every_rank(ranks: int) -> None:
    found, _ = parse_config(CONFIG, where="config.json")

    cache = layout(found, rules=kv_rules(load_profile("0.33.0")), tensor_parallel_size=ranks, block_size=16)

    keys_and_values = 2 * max(1, 4 // ranks) * 128 * 2
    assert cache.bytes_per_block == 16 * (3 * keys_and_values + 2 * 128 * 2)


def test_dense_layers_have_an_mlp_of_their_own_width() -> None:
    found, _ = parse_config(CONFIG, where="config.json")

    first, *others = found.layers
    assert first.feed_forward is not None
    assert first.feed_forward.intermediate_size == 12288
    assert [layer.mixture and layer.mixture.intermediate_size for layer in others] == [3072, 3072]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sparse_attention_config": None}, "sparse_attention_config"),
        ({"moe_layer_freq": None}, "moe_layer_freq"),
        ({"moe_layer_freq": [0, 1]}, "moe_layer_freq"),
        ({"sparse_attention_config": {**SPARSE, "sparse_num_index_heads": 8}}, "sparse_num_index_heads"),
        ({"sparse_attention_config": {**SPARSE, "sparse_index_dim": None}}, "sparse_index_dim"),
    ],
)
def test_what_decides_the_sizes_is_asked_for_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config({**CONFIG, **changes}, where="config.json")

    assert field in str(caught.value)


def test_packed_caches_are_not_for_block_sparse_attention() -> None:
    found, _ = parse_config(CONFIG, where="config.json")
    sparse = found.layers[1].attention

    assert sparse is not None
    assert suits(sparse, "fp8")
    assert not suits(sparse, "fp8_per_token_head")
