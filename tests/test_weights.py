"""Weight bytes of one rank against what real start-ups logged."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kv_cache import DEEPSEEK_V4

from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.config_json import parse_config
from planner.engine.profile import load_profile
from planner.errors import PlannerError
from planner.facts.quantization import Quantization
from planner.facts.variant import Model
from planner.tensors.allocator import allocated_bytes
from planner.tensors.pipeline import stage_layers
from planner.tensors.weight_rules import WeightRules, weight_rules
from planner.tensors.weights import Rank, parameter_bytes, weights_bytes
from planner.units import GIB, MIB

LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
    "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "stages", "stage", "logged_gib"),
    [(1, 1, 0, 14.99), (2, 1, 0, 7.51), (4, 1, 0, 3.77), (1, 2, 0, 7.51), (1, 4, 0, 4.26)],
)
def test_llama_8b_loads_what_vllm_logged(ranks: int, stages: int, stage: int, logged_gib: float) -> None:
    architecture, quantization = parse_config(LLAMA_8B, where="test")

    size = weights_bytes(
        architecture,
        quantization,
        tensor_parallel_size=ranks,
        pipeline_parallel_size=stages,
        pipeline_rank=stage,
    )

    assert round(size / GIB, 2) == logged_gib


def sized(config: dict[str, Any], **flags: Any) -> int:  # noqa: ANN401 - any flag of weights_bytes
    architecture, quantization = parse_config(config, where="test")
    return weights_bytes(architecture, quantization, **flags)


def quantized(**settings: object) -> dict[str, Any]:
    return {**LLAMA_8B, "quantization_config": settings}


KERNELS = ("triton-two-scales", "triton")

# An 8B Llama has 6,979,321,856 weights in its linear layers and 1,050,673,152 in embedding and head.
LINEAR, VOCABULARY = 32 * (4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14336), 2 * 128256 * 4096


@pytest.mark.parametrize(
    ("settings", "bytes_per_linear_weight"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 0.5 + 2 / 128 + 0.5 / 128),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, 0.5 + 2 / 128),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32, "sym": True}, 1 + 2 / 32),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, 1),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1 + 4 / 128**2),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}, 0.5 + 1 / 16),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_quantized_matrices_take_codes_scales_and_zero_points_and_the_vocabulary_stays(
    settings: dict[str, Any], bytes_per_linear_weight: float
) -> None:
    size = sized(quantized(**settings))

    rotary_and_norms = 131072 * 128 * 2 + 65 * 4096 * 2
    expected = LINEAR * bytes_per_linear_weight + VOCABULARY * 2 + rotary_and_norms
    assert expected <= size < 1.003 * expected


def test_layers_alike_are_added_up_once_with_the_same_result_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    models = load_catalog().models[::6]
    found = _parsed(models)
    sizes = [parameter_bytes(*parsed, Rank()) for parsed in found]
    monkeypatch.setattr(Quantization, "tells_layers_apart", property(lambda self: True))

    assert any(quantization.rules for _, quantization in found)
    assert sizes == [parameter_bytes(*parsed, Rank()) for parsed in _parsed(models)]


def _parsed(models: Sequence[Model]) -> list[tuple[Architecture, Quantization]]:
    found = []
    for model in models:
        for variant in model.variants:
            with suppress(PlannerError):
                found.append(parse_config(model.config_for(variant), where=variant.repository))
    return found


@pytest.mark.parametrize(
    "ignored", ["model.layers.3.mlp.down_proj", "re:.*[.]3[.]mlp.*", r"re:.*\.3\.mlp.*", r"re:.*layers\..\.mlp.*"]
)
def test_a_rule_may_leave_one_layer_alone(ignored: str) -> None:
    settings = {"quant_method": "compressed-tensors", "ignore": [ignored], "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}}  # fmt: skip
    whole = {**settings, "ignore": []}
    one, every = (
        weights_bytes(*parse_config({**LLAMA_8B, "quantization_config": config}, where="test"))
        for config in (settings, whole)
    )

    assert one > every


def test_modules_left_alone_stay_in_the_model_dtype() -> None:
    settings = {"quant_method": "awq", "bits": 4, "group_size": 128}
    everything = sized(quantized(**settings))
    without_mlp = sized(quantized(**settings, modules_to_not_convert=["mlp"]))

    mlp = 32 * 3 * 4096 * 14336
    assert without_mlp - everything == pytest.approx(mlp * (2 - 0.5 - 2.5 / 128), rel=0.002)


def test_a_quantized_head_is_small_only_where_the_checkpoint_says_so() -> None:
    settings = {"quant_method": "gptq", "bits": 8, "group_size": 128}

    assert sized(quantized(**settings)) - sized(quantized(**settings, lm_head=True)) > 0.45 * VOCABULARY


def test_tied_embeddings_are_held_once() -> None:
    tied = sized({**LLAMA_8B, "tie_word_embeddings": True})

    assert sized(LLAMA_8B) - tied == pytest.approx(VOCABULARY, rel=0.002)


def test_the_vocabulary_is_padded_to_64() -> None:
    odd = {**LLAMA_8B, "vocab_size": 128256 - 63}

    assert sized(odd) == sized(LLAMA_8B)
    assert sized(odd, tensor_parallel_size=8) == sized(LLAMA_8B, tensor_parallel_size=8)


def test_stages_and_ranks_together_hold_the_model() -> None:
    whole = sized(LLAMA_8B)
    stages = sum(sized(LLAMA_8B, pipeline_parallel_size=3, pipeline_rank=stage) for stage in range(3))
    ranks = 8 * sized(LLAMA_8B, tensor_parallel_size=8)

    # Every stage keeps the rotary table, every rank the norms too; blocks are rounded up.
    assert whole < stages < 1.01 * whole
    assert whole < ranks < 1.03 * whole


MIXTRAL: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "num_experts_per_tok": 2, "vocab_size": 32000, "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
}  # fmt: skip


def test_experts_are_shared_out_whole_or_by_their_inner_size() -> None:
    by_size = sized(MIXTRAL, tensor_parallel_size=4)
    by_expert = sized(MIXTRAL, tensor_parallel_size=4, expert_parallel=True)

    assert by_size == pytest.approx(by_expert, rel=0.001)
    assert by_size == pytest.approx(2 * 46_702_792_704 / 4, rel=0.01)


def test_attention_replicas_share_out_experts_but_not_attention() -> None:
    replicas = sized(MIXTRAL, data_parallel_size=4, expert_parallel=True)
    ranks = sized(MIXTRAL, tensor_parallel_size=4, expert_parallel=True)

    attention_and_vocabulary = 32 * 4096 * (2 * 4096 + 2 * 1024) + 2 * 32000 * 4096
    assert replicas - ranks == pytest.approx(2 * attention_and_vocabulary * 3 / 4, rel=0.02)


def test_fp4_experts_of_deepseek_v4_load_what_vllm_logged() -> None:
    size = sized(DEEPSEEK_V4, tensor_parallel_size=8, expert_parallel=True, max_num_batched_tokens=8192)

    assert round(size / GIB, 2) == 19.79  # vLLM 0.31.1, eight H100s


@pytest.mark.parametrize(
    ("version", "gpu", "alone"),
    [("0.28.0", "L4", False), ("0.29.0", "L4", True), ("0.33.0", "H100", False), ("0.28.0", "A100 80GB SXM4", True)],
)
def test_blocks_of_fp8_that_run_as_weights_alone_have_a_scale_per_output(version: str, gpu: str, alone: bool) -> None:
    """A block of 128 x 128 has one fp32 scale; Marlin wants one in 16 bits for each of its 128 outputs."""
    blocks = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    model = parse_config(LLAMA_8B | {"quantization_config": blocks}, where="test")
    rules = weight_rules(load_profile(version), load_catalog().gpu(gpu))
    linear = 32 * (2 * 4096 + 2 * 1024 + 3 * 14336) * 4096
    grown = linear // 128 * 2 - linear // 128**2 * 4 if alone else 0

    here, stored = (parameter_bytes(*model, Rank(rules=each)) for each in (rules, WeightRules()))

    assert here - stored == grown


GPT_OSS_120B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
    "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
    "vocab_size": 201088, "num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 18, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "attention_bias": True, "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
}  # fmt: skip


def test_mxfp4_experts_through_marlin_load_what_vllm_logged() -> None:
    size = sized(GPT_OSS_120B, rules=WeightRules(split_limit=0, mxfp4_hopper="marlin"))

    assert round(size / GIB, 2) == 65.97  # H100, github.com/vllm-project/vllm/issues/23278


def test_triton_on_hopper_pads_codes_and_scales_and_may_keep_the_scales_as_loaded() -> None:
    """One expert holds 8640 rows of 1440 bytes, padded to 1472, and 90 scales per row, whose rows are padded to 256."""
    both, freed = (sized(GPT_OSS_120B, rules=WeightRules(mxfp4_hopper=kernel)) for kernel in KERNELS)
    marlin = sized(GPT_OSS_120B, rules=WeightRules(mxfp4_hopper="marlin"))

    assert both - freed == pytest.approx(36 * 128 * 8640 * 90, rel=0.03)
    triton = 8640 * 1472 + (5888 + 3072) * 90 + 8640 * 4
    padded = (2 * 2944 * 3072 + 3072 * 2944) * 17 // 32 + (2 * 2944 + 3072) * 2
    assert marlin - freed == pytest.approx(36 * 128 * (padded - triton), rel=0.03)


@pytest.mark.parametrize(
    ("tensors", "limit", "blocks"),
    [
        ([1], 0, 512),  # rounded up to 512 bytes
        ([MIB, MIB], 0, 2 * MIB),  # two fill one small segment
        ([2 * MIB], 0, 2 * MIB),  # split from a segment of 20 MiB
        ([19 * MIB + 1], 0, 20 * MIB),  # a remainder of up to 1 MiB is not split off
        ([11 * MIB + 1], 0, 12 * MIB),  # larger ones get segments of their own, in steps of 2 MiB
        ([33 * MIB], 20 * MIB, 34 * MIB),  # above the limit nothing is split
    ],
)
def test_the_allocator_hands_out_blocks_not_tensors(tensors: list[int], limit: int, blocks: int) -> None:
    assert allocated_bytes([tuple(tensors)], limit) == blocks


@given(st.lists(st.integers(1, 64 * MIB), max_size=60), st.sampled_from([0, 20 * MIB]))
def test_blocks_hold_their_tensors_with_at_most_two_mebibytes_to_spare(tensors: list[int], limit: int) -> None:
    size = allocated_bytes([tuple(tensors)], limit)

    assert sum(tensors) <= size <= sum(tensors) + len(tensors) * 2 * MIB


@given(st.lists(st.integers(1, 24 * MIB), min_size=1, max_size=6), st.integers(1, 40), st.sampled_from([0, 20 * MIB]))
def test_alike_layers_take_the_blocks_that_their_tensors_take_one_by_one(
    layer: list[int], layers: int, limit: int
) -> None:
    together = allocated_bytes([tuple(layer)] * layers, limit)

    assert together == allocated_bytes([tuple(layer * layers)], limit)


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"), [(32, 1, [32]), (32, 2, [16, 16]), (27, 2, [14, 13]), (61, 4, [15, 15, 16, 15])]
)
def test_stages_before_the_last_take_the_remainder(layers: int, stages: int, sizes: list[int]) -> None:
    ranges = [stage_layers(layers, stages, stage) for stage in range(stages)]

    assert [last - first for first, last in ranges] == sizes
    assert ranges[0][0] == 0
    assert ranges[-1][1] == layers
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
