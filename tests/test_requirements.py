"""What an engine refuses before it loads anything."""

from typing import Any

import pytest
from msgspec.structs import replace

from planner.catalog import load_catalog
from planner.catalog.stored import stored
from planner.config_json import parse_config
from planner.engine.flags import ServeFlags, default_flags
from planner.engine.profile import load_profile
from planner.facts.gpu import GPU
from planner.memory.refusals import refusal
from planner.units import GIB

FLAGS = ServeFlags(
    max_model_len=4096, max_num_seqs=64, max_num_batched_tokens=2048, gpu_memory_utilization=0.9
)  # fmt: skip
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
}  # fmt: skip
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}


def gpu(major: int, minor: int) -> GPU:
    return GPU(
        name=f"SM{major}{minor}", product="Test", aliases=(), vendor="nvidia", generation="",
        compute_capability=(major, minor), memory_bytes=24 * GIB, driver_memory_bytes=None,
        bandwidth_bytes_per_second=None, interconnect="PCIe",
    )  # fmt: skip


def reason(
    version: str,
    device: GPU,
    config: dict[str, Any] | None = None,
    flags: ServeFlags = FLAGS,
    **changes: Any,  # noqa: ANN401
) -> str:
    architecture, quantization = parse_config({**CONFIG, **(config or {})}, where="test")
    found = refusal(architecture, quantization, replace(flags, **changes), load_profile(version), device)
    return str(found) if found else ""


def test_nothing_is_wrong_with_a_plain_start() -> None:
    assert reason("0.33.0", gpu(9, 0)) == ""


@pytest.mark.parametrize(
    ("version", "device", "config", "refused"),
    [
        ("0.33.0", gpu(7, 0), {}, True),
        ("0.19.0", gpu(7, 0), {}, False),
        ("0.11.0", gpu(7, 5), {"quantization_config": FP8}, True),
        ("0.19.0", gpu(7, 5), {"quantization_config": FP8}, False),
        ("0.33.0", gpu(7, 0), {"quantization_config": AWQ}, True),
        ("0.33.0", gpu(7, 5), {"quantization_config": AWQ}, False),
    ],
)
def test_compute_capability_by_version_and_format(
    version: str, device: GPU, config: dict[str, Any], refused: bool
) -> None:
    assert bool(reason(version, device, config)) is refused


def compressed(kind: str, bits: int, inputs: bool = False, group: int | None = None) -> dict[str, Any]:
    weights = {"type": kind, "num_bits": bits, "strategy": "group" if group else "channel", "group_size": group}
    activations = {"type": kind, "num_bits": bits} if inputs else None
    group_0 = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group_0}}


def compressed_blocks() -> dict[str, Any]:
    config = compressed("float", 8, inputs=True)
    config["config_groups"]["group_0"]["weights"] |= {"strategy": "block", "block_structure": [128, 128]}
    return config


def quark(weight: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    everywhere = {"weight": weight, "input_tensors": {"dtype": "fp8_e4m3", "is_dynamic": True}}
    return {"quant_method": "quark", "export": {"kv_cache_group": []}, "global_quant_config": everywhere}


FORMATS: dict[str, dict[str, Any]] = {
    "awq": AWQ,
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": FP8,
    "ct w4a16": compressed("int", 4, group=128),
    "ct w8a16": compressed("int", 8),
    "ct w8a8 int8": compressed("int", 8, inputs=True),
    "ct fp8": compressed("float", 8, inputs=True),
    "ct nvfp4": compressed("float", 4, inputs=True, group=16),
    "ct mxfp4": compressed("float", 4, inputs=True, group=32),
    "ct fp8 blocks": compressed_blocks(),
    "ct mxfp8": compressed("float", 8, inputs=True, group=32),
    "modelopt fp8 blocks": {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"},
    "modelopt mxfp8": {"quant_method": "modelopt", "quant_algo": "MXFP8"},
    "quark fp8": quark({"dtype": "fp8_e4m3", "qscheme": "per_tensor"}),
    "quark nvfp4": quark([{"dtype": "fp4"}, {"dtype": "fp8_e4m3"}]),
    "modelopt fp8": {"quant_method": "modelopt", "quant_algo": "FP8"},
    "modelopt nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16},
    "mxfp4": {"quant_method": "mxfp4"},
    "fbgemm fp8": {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
}
GENERATIONS = [(7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0)]
# The least and the newest compute capability by version and format: get_min_capability of each module in
# model_executor/layers/quantization, read in the source of that version; INT8 also csrc/quantization. None: refused.
CAPABILITIES: dict[str, dict[str, int | tuple[int, int] | None]] = {
    "0.8.5": {
        "awq": 75, "gptq": 70, "fp8": 80, "ct w4a16": 80, "ct w8a16": 80, "ct w8a8 int8": (75, 90), "ct fp8": 80,
        "modelopt fp8": 89, "modelopt nvfp4": 100, "mxfp4": None, "fbgemm fp8": 80, "bitsandbytes": 70,
    },
    "0.11.0": {
        "ct fp8 blocks": 89, "ct mxfp4": None, "ct mxfp8": None, "modelopt fp8 blocks": None, "modelopt mxfp8": None,
        "quark fp8": 89, "quark nvfp4": None,
        "awq": 75, "gptq": 70, "fp8": 80, "ct w4a16": 80, "ct w8a16": 80, "ct w8a8 int8": (75, 90), "ct fp8": 80,
        "ct nvfp4": 80, "modelopt fp8": 89, "modelopt nvfp4": 80, "mxfp4": 80, "fbgemm fp8": 80, "bitsandbytes": 70,
    },
    "0.14.1": {
        "ct fp8 blocks": 89, "ct mxfp8": None, "modelopt fp8 blocks": 89, "modelopt mxfp8": None,
        "quark fp8": 89, "quark nvfp4": None,
        "awq": 75, "gptq": 70, "fp8": 75, "ct w4a16": 75, "ct w8a16": 75, "ct w8a8 int8": (75, 90), "ct fp8": 80,
        "ct nvfp4": 80, "ct mxfp4": 80, "modelopt fp8": 89, "modelopt nvfp4": 75, "mxfp4": 80, "fbgemm fp8": None,
        "bitsandbytes": 70,
    },
    "0.19.0": {
        "ct fp8 blocks": 75, "ct mxfp8": None, "modelopt fp8 blocks": 89, "modelopt mxfp8": 100,
        "quark fp8": 89, "quark nvfp4": None,
        "awq": 75, "gptq": 70, "fp8": 75, "ct w4a16": 75, "ct w8a16": 75, "ct w8a8 int8": (75, 90), "ct fp8": 75,
        "ct nvfp4": 75, "ct mxfp4": 80, "modelopt fp8": 89, "modelopt nvfp4": 75, "mxfp4": 80, "fbgemm fp8": None,
        "bitsandbytes": 70,
    },
    "0.28.0": {
        "ct fp8 blocks": 75, "ct mxfp8": 75, "modelopt fp8 blocks": 80, "modelopt mxfp8": 80,
        "quark fp8": 89, "quark nvfp4": 75,
        "awq": 75, "gptq": 70, "fp8": 75, "ct w4a16": 75, "ct w8a16": 75, "ct w8a8 int8": (75, 90), "ct fp8": 75,
        "ct nvfp4": 75, "ct mxfp4": 80, "modelopt fp8": 80, "modelopt nvfp4": 75, "mxfp4": 80, "fbgemm fp8": None,
        "bitsandbytes": None,
    },
    "0.33.0": {
        "ct fp8 blocks": 75, "ct mxfp8": 75, "modelopt fp8 blocks": 80, "modelopt mxfp8": 80,
        "quark fp8": 89, "quark nvfp4": 75,
        "awq": 75, "gptq": 75, "fp8": 75, "ct w4a16": 75, "ct w8a16": 75, "ct w8a8 int8": (75, 90), "ct fp8": 75,
        "ct nvfp4": 75, "ct mxfp4": 80, "modelopt fp8": 80, "modelopt nvfp4": 75, "mxfp4": 80, "fbgemm fp8": None,
        "bitsandbytes": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("version", CAPABILITIES)
@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda generation: f"SM{generation[0]}{generation[1]}")
def test_formats_start_where_the_engine_has_kernels_for_them(version: str, generation: tuple[int, int]) -> None:
    capability = 10 * generation[0] + generation[1]
    expected, found = {}, {}
    for name, limits in CAPABILITIES[version].items():
        least, newest = limits if isinstance(limits, tuple) else (limits or 1000, 1000)
        expected[name] = least <= capability <= newest
        found[name] = reason(version, gpu(*generation), {"quantization_config": FORMATS[name]}, dtype="auto") == ""

    assert found == expected


@pytest.mark.parametrize(
    ("name", "version", "known"),
    [
        ("Qwen3ForCausalLM", "0.7.3", False),
        ("Qwen3ForCausalLM", "0.8.4", True),  # not read, and the next version read knows it
        ("Qwen3ForCausalLM", "0.8.5", True),
        ("SeedOssForCausalLM", "0.9.2", False),
        ("SeedOssForCausalLM", "0.10.2", True),
        ("SeedOssForCausalLM", "0.33.0", True),
    ],
)
def test_architectures_that_came_later_are_refused(name: str, version: str, known: bool) -> None:
    said = reason(version, gpu(9, 0), {"architectures": [name], "head_dim": 128})

    assert (said == "") == known
    assert known or said.endswith(f"does not know the architecture {name} yet")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dtype": "bfloat16"}, "bfloat16 needs compute capability 8.0"),
        ({"kv_cache_dtype": "fp8"}, "KV cache needs compute capability 8.0"),
        ({"max_model_len": 65536}, "greater than the derived max_model_len (32768)"),
        ({"max_num_seqs": 4096}, "must be at least max_num_seqs"),
        ({"tensor_parallel_size": 8}, "attention heads (28) must be divisible by tensor parallel size (8)"),
        ({"pipeline_parallel_size": 29}, "greater than the number of layers"),
        ({"kv_cache_dtype": "nvfp4"}, "no KV cache dtype nvfp4"),
    ],
)
def test_flags_the_engine_refuses(changes: dict[str, Any], text: str) -> None:
    assert text in reason("0.19.0", gpu(7, 5), None, **changes)


def test_vocabulary_that_cannot_be_shared_out() -> None:
    config = {"num_attention_heads": 20, "num_key_value_heads": 5, "hidden_size": 2560, "vocab_size": 151936}

    assert "151936 is not divisible by 5" in reason("0.19.0", gpu(9, 0), config, tensor_parallel_size=5)


def test_quantization_groups_that_would_be_cut() -> None:
    config = {"num_attention_heads": 64, "num_key_value_heads": 8, "hidden_size": 8192, "intermediate_size": 29568}

    assert reason("0.19.0", gpu(9, 0), config, tensor_parallel_size=8) == ""
    cut = reason("0.19.0", gpu(9, 0), {**config, "quantization_config": AWQ}, tensor_parallel_size=8)
    assert "not a multiple of the quantization group (128)" in cut


FP8_MIXTURE: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048, "head_dim": 128,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936,
    "quantization_config": FP8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "ranks", "said"),
    [
        ({}, 4, ""),
        ({}, 8, "total number of attention heads (28) must be divisible"),
        ({"num_attention_heads": 30, "num_key_value_heads": 5, "hidden_size": 3840}, 2, "5 key-value heads"),
        ({"intermediate_size": 18946}, 4, "18946 is not divisible by 4"),
        ({"quantization_config": AWQ}, 4, ""),
        ({"quantization_config": {**AWQ, "group_size": 256}}, 4, "the input size of self_attn.o_proj per rank (896)"),
        ({"quantization_config": FP8}, 4, ""),
        ({"quantization_config": FP8, "intermediate_size": 18880}, 2, "the output size of mlp.gate_proj per rank"),
        (FP8_MIXTURE, 2, ""),
        (FP8_MIXTURE, 4, "the output size of the experts per rank (192)"),
    ],
)
def test_a_model_is_shared_out_evenly_or_not_at_all(config: dict[str, Any], ranks: int, said: str) -> None:
    found = reason("0.28.0", gpu(9, 0), config, tensor_parallel_size=ranks)

    assert found.startswith(said) if said else found == ""


def test_no_stage_is_without_layers() -> None:
    assert "pipeline_parallel_size (29) is greater" in reason("0.33.0", gpu(9, 0), pipeline_parallel_size=29)


def test_models_that_cannot_be_cut_into_stages() -> None:
    small = {"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"}

    assert reason("0.33.0", gpu(9, 0), pipeline_parallel_size=2) == ""
    assert "not supported for SmolLM3ForCausalLM" in reason("0.33.0", gpu(9, 0), small, pipeline_parallel_size=2)
    assert reason("0.33.0", gpu(9, 0), small) == ""


def test_experts_may_be_cut_inside_an_fp8_block_since_0_29_and_may_stay_whole_in_any_version() -> None:
    assert reason("0.29.0", gpu(9, 0), FP8_MIXTURE, tensor_parallel_size=4) == ""
    assert reason("0.28.0", gpu(9, 0), FP8_MIXTURE, tensor_parallel_size=4, expert_parallel=True) == ""


@pytest.mark.parametrize(
    ("version", "settings", "refused"),
    [
        ("0.29.0", {"desc_act": True, "group_size": 128}, False),
        ("0.30.0", {"desc_act": True, "group_size": 128}, True),
        ("0.33.0", {"desc_act": True, "group_size": -1}, False),  # one group: the order changes nothing
        ("0.33.0", {"desc_act": False, "group_size": 128}, False),
    ],
)
def test_groups_in_order_of_activation_are_refused_where_the_engine_dropped_them(
    version: str, settings: dict[str, Any], refused: bool
) -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "sym": True, **settings}

    assert ("ordered by activation" in reason(version, gpu(9, 0), {"quantization_config": gptq})) == refused


def catalog_reason(name: str, version: str, device: GPU, **changes: Any) -> str:  # noqa: ANN401
    base, variant = load_catalog().find(name)
    architecture, quantization = stored(base, variant)
    profile = load_profile(version)
    flags = default_flags(profile, device, architecture, max_model_len=8192, **changes)
    found = refusal(architecture, quantization, flags, profile, device)
    return str(found) if found else ""


@pytest.mark.parametrize(("version", "batch", "refused"), [
    ("0.20.2", None, True), ("0.20.2", 2496, False), ("0.22.1", None, False), ("0.33.0", 1024, True),
    ("0.19.0", None, False),
])  # fmt: skip
def test_a_batch_holds_a_whole_image_where_attention_goes_both_ways(
    version: str, batch: int | None, refused: bool
) -> None:
    """The engine's own default is too small itself until 0.22; 0.19 still splits images of Gemma 4."""
    said = catalog_reason("gemma-4-26B-A4B-it", version, gpu(8, 6), max_num_batched_tokens=batch)
    assert ("one multimodal item of 2496 tokens" in said) is refused


def test_the_rule_comes_before_memory() -> None:
    said = catalog_reason("DeepSeek-V4-Flash", "0.33.0", gpu(8, 0))
    assert "no attention backend for compressed sparse attention" in said
    assert "compute capability 8.0" in said


@pytest.mark.parametrize(("name", "capability", "refused"), [
    ("gpt-oss-20b", (8, 6), True), ("gpt-oss-20b", (8, 9), False), ("gemma-3-27b-it", (8, 0), True),
    ("gemma-3-27b-it", (9, 0), False), ("gemma-4-31B-it", (8, 6), True), ("Qwen3-8B", (8, 6), False),
])  # fmt: skip
def test_an_fp8_cache_needs_8_9_where_triton_is_what_is_left(
    name: str, capability: tuple[int, int], refused: bool
) -> None:
    said = catalog_reason(name, "0.33.0", gpu(*capability), kv_cache_dtype="fp8")
    assert ("backend TRITON_ATTN" in said and "8.9" in said) is refused
    assert catalog_reason(name, "0.33.0", gpu(*capability)) == ""


@pytest.mark.parametrize(("version", "said"), [
    ("0.24.0", ""), ("0.25.1", "it was supported until 0.24.0"), ("0.33.0", "it was supported until 0.24.0"),
])  # fmt: skip
def test_classes_that_left_the_engine(version: str, said: str) -> None:
    found = reason(version, gpu(9, 0), {"architectures": ["BaichuanForCausalLM"], "model_type": "baichuan"})
    assert said in found and bool(found) is bool(said)


@pytest.mark.parametrize(("layers", "refused"), [(14, True), (28, False), (0, False)])
def test_windows_on_some_layers_of_qwen_are_asserted_away(layers: int, refused: bool) -> None:
    windows = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": layers}

    assert ("sliding windows on all layers or on none" in reason("0.33.0", gpu(9, 0), windows)) is refused
    assert reason("0.33.0", gpu(9, 0), {**windows, "use_sliding_window": False}) == ""


def test_a_format_that_a_version_does_not_read_yet_is_refused_with_the_first_that_does() -> None:
    said = reason("0.19.0", gpu(10, 0), {"quantization_config": FORMATS["ct mxfp8"]}, dtype="auto")

    assert "does not read mxfp8 weights in checkpoints of the quantization method compressed-tensors" in said
    assert "0.20.0 is the first that does" in said
    assert reason("0.20.0", gpu(10, 0), {"quantization_config": FORMATS["ct mxfp8"]}, dtype="auto") == ""
