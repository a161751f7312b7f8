"""Adapter buffers against the engine's own layer list (lora/layers, vLLM 0.27.0 to 0.33.0), counted by hand."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.memory.lora import lora_tensors

QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTURE = QWEN3 | {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48,
    "num_key_value_heads": 4, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    "tie_word_embeddings": False,
}  # fmt: skip


def slot_values(config: dict[str, Any], *, version: str = "0.33.0", **flags: Any) -> int:  # noqa: ANN401 - any field of ServeFlags
    """Return the values per slot and unit of rank on one GPU."""
    architecture, _ = parse_config(config, where="test")
    base = {"max_model_len": 8192, "max_num_seqs": 256, "max_num_batched_tokens": 2048, "gpu_memory_utilization": 0.9}
    given = ServeFlags(**(base | {"max_loras": 1, "max_lora_rank": 1} | flags))
    whole = sum(lora_tensors(architecture, given, 2, load_profile(version)))
    return whole // (2 * given.max_loras * given.max_lora_rank)


ATTENTION = 3 * 2560 + (4096 + 2 * 1024) + (4096 + 2560)
FEED_FORWARD = 2 * (2560 + 9728) + (9728 + 2560)
# The embedding and the logits.
HEAD = 2 * (151936 + 2560)


def test_every_linear_layer_has_a_pair_and_so_have_embedding_and_head() -> None:
    assert slot_values(QWEN3) == 36 * (ATTENTION + FEED_FORWARD) + HEAD


def test_a_head_that_was_the_embedding_itself_was_wrapped_a_second_time() -> None:
    once, twice = slot_values(QWEN3), slot_values(QWEN3, version="0.27.1")

    assert twice == once + 151936 + 2560


def test_only_the_layers_that_a_role_names_hold_adapters() -> None:
    queries = 3 * 2560 + (4096 + 2 * 1024)

    assert slot_values(QWEN3, lora_modules=("q_proj",)) == 36 * queries
    assert slot_values(QWEN3, lora_modules=("o_proj", "lm_head")) == 36 * (4096 + 2560) + 151936 + 2560


def test_classes_without_embedding_modules_adapt_layers_alone() -> None:
    config = QWEN3 | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}

    assert slot_values(config) == 36 * (ATTENTION + FEED_FORWARD)


def test_ranks_share_out_what_they_share_of_the_weights() -> None:
    column = 3 * 2560 + (4096 + 2 * 1024) // 2 + 2 * (2560 + 9728 // 2)
    row = (4096 // 2 + 2560) + (9728 // 2 + 2560)

    assert slot_values(QWEN3, tensor_parallel_size=2) == 36 * (column + row) + HEAD


def test_every_expert_has_pairs() -> None:
    attention = 3 * 2048 + (4096 + 2 * 512) + (4096 + 2048)
    experts, router = 128 * 3 * (2048 + 768), 2048 + 128
    head = 2 * (151936 + 2048)

    assert slot_values(MIXTURE) == 48 * (attention + experts + router) + head
    halves = 3 * 2048 + (4096 + 2 * 512) // 2 + (4096 // 2 + 2048)
    assert slot_values(MIXTURE, tensor_parallel_size=2, expert_parallel=True) == (
        48 * (halves + experts // 2 + router) + head
    )


@pytest.mark.parametrize(("slots", "rank"), [(4, 16), (1, 64)])
def test_buffers_grow_with_slots_and_rank(slots: int, rank: int) -> None:
    assert slot_values(QWEN3, max_loras=slots, max_lora_rank=rank) == slot_values(QWEN3)


def test_without_adapters_there_are_no_buffers() -> None:
    architecture, _ = parse_config(QWEN3, where="test")
    flags = ServeFlags(max_model_len=8, max_num_seqs=8, max_num_batched_tokens=8, gpu_memory_utilization=0.9)

    assert lora_tensors(architecture, flags, 2, load_profile("0.33.0")) == ()
