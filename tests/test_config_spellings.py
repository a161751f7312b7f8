"""Configs as people have them: written again by transformers 5, short of defaults, or contradicting themselves."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from planner.architecture import Architecture
from planner.config_json import parse_config
from planner.errors import InvalidConfig

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "saved-by-transformers.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
ROUND_TRIPS = Path(__file__).resolve().parent.parent / "benchmarks" / "config_round_trip" / "results.csv"
SMALL: dict[str, Any] = {
    "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 4, "num_attention_heads": 32,
    "vocab_size": 32000, "dtype": "bfloat16",
}  # fmt: skip
MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", **SMALL}
QWEN_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", **SMALL, "num_experts": 64,
    "moe_intermediate_size": 768, "num_experts_per_tok": 8,
}  # fmt: skip
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL}


def parsed(config: dict[str, Any], **changes: object) -> Architecture:
    return parse_config({**config, **changes}, where="config.json")[0]


def refused(config: dict[str, Any], **changes: object) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        parsed(config, **changes)
    return caught.value


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in names}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair["name"]))
def test_a_config_that_transformers_wrote_again_describes_the_same_model(pair: dict[str, Any]) -> None:
    assert parsed(pair["saved"]) == parsed(pair["published"])


def test_no_catalog_class_changes_its_size_when_transformers_writes_it_again() -> None:
    with ROUND_TRIPS.open(encoding="utf-8", newline="") as file:
        verdicts = {row["verdict"] for row in csv.DictReader(file)}

    assert verdicts == {"equal", "not readable by transformers"}


def test_what_is_left_out_is_what_the_config_class_assumes() -> None:
    mistral, qwen = parsed(MISTRAL), parsed(QWEN_MOE)

    assert (mistral.num_kv_heads, mistral.max_model_len) == (8, 131072)
    assert all(layer.attention and layer.attention.window == 4096 for layer in mistral.layers)
    assert (qwen.num_kv_heads, qwen.max_model_len) == (4, 32768)


def test_null_is_not_left_out() -> None:
    assert parsed(LLAMA, num_key_value_heads=None).num_kv_heads == 32
    assert all(
        layer.attention and layer.attention.window is None for layer in parsed(MISTRAL, sliding_window=None).layers
    )
    assert refused(MISTRAL, num_key_value_heads=None).field == "num_key_value_heads"


def test_two_names_of_a_count_may_agree_and_not_contradict() -> None:
    assert parsed(QWEN_MOE, num_local_experts=64) == parsed(QWEN_MOE)
    problem = str(refused(QWEN_MOE, num_local_experts=128))

    assert "num_experts" in problem
    assert "num_local_experts" in problem


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (without(QWEN_MOE, "num_experts"), "num_experts"),
        ({**LLAMA, "num_local_experts": 8}, "num_local_experts"),
        ({**LLAMA, "moe_intermediate_size": 768}, "moe_intermediate_size"),
        ({**LLAMA, "kv_lora_rank": 512}, "kv_lora_rank"),
        ({**LLAMA, "linear_num_value_heads": 32}, "linear_num_value_heads"),
        ({**LLAMA, "layer_types": ["sliding_attention", "full_attention"] * 2}, "layer_types"),
        ({**QWEN_MOE, "num_experts": "64"}, "num_experts"),
    ],
)
def test_what_implies_more_than_can_be_sized_is_refused_by_field(config: dict[str, Any], field: str) -> None:
    assert refused(config).field == field


def test_a_config_without_a_text_model_inside_is_refused_by_field() -> None:
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = {"architectures": ["InternVLForConditionalGeneration"], "model_type": "strange", "vision_config": vision}

    assert refused(config).field.startswith("text_config")
