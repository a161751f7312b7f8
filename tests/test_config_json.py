"""A model's config.json: what is derived from it, and what is refused by field or by name."""

from typing import Any

import pytest
from msgspec.structs import replace

from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.config_json import parse_config
from planner.engine.flags import default_flags
from planner.engine.profile import load_profile
from planner.errors import InvalidConfig, PlannerError, UnsupportedModel
from planner.facts.quantization import Quantization
from planner.memory.refusals import refusal
from planner.tensors.weights import weights_bytes

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 8192, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip


def architecture(**changes: object) -> Architecture:
    return parse_config({**LLAMA, **changes}, where="config.json")[0]


def quantization(settings: dict[str, Any]) -> Quantization:
    return parse_config({**LLAMA, "quantization_config": settings}, where="config.json")[1]


def refused(changes: dict[str, object]) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        parse_config({**LLAMA, **changes}, where="config.json")
    return caught.value


def test_shapes_are_read() -> None:
    found = architecture()

    assert (found.num_layers, found.hidden_size, found.num_kv_heads, found.head_dim) == (32, 4096, 8, 128)
    assert found.max_model_len == 8192
    assert found.mixture is None
    assert not found.is_pooling


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", None),
        ("hidden_size", "4096"),
        ("hidden_size", 0),
        ("hidden_size", -1),
        ("hidden_size", 4096.5),
        ("hidden_size", True),
        ("hidden_size", [4096]),
        ("num_hidden_layers", 1 << 60),
        ("num_hidden_layers", float("inf")),
        ("num_hidden_layers", 10**400),
        ("vocab_size", 1 << 40),
        ("intermediate_size", None),
        ("num_attention_heads", 0),
        ("num_key_value_heads", 7),
        ("num_attention_heads", 48),
        ("max_position_embeddings", "long"),
        ("torch_dtype", "int8"),
        ("tie_word_embeddings", "yes"),
        ("rope_scaling", [1, 2]),
        ("attention_bias", 3),
        ("quantization_config", "awq"),
        ("architectures", "LlamaForCausalLM"),
        ("architectures", []),
        ("architectures", [7]),
    ],
)
def test_what_is_missing_mistyped_or_absurd_is_an_error_that_names_the_field(field: str, value: object) -> None:
    assert refused({field: value}).field.startswith(field)


def test_a_config_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidConfig):
        parse_config([], where="config.json")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["FrobnicatorForCausalLM", "RwkvForCausalLM", "BagelForConditionalGeneration"])
def test_an_unknown_architecture_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        architecture(architectures=[name])

    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["EagleLlamaForCausalLM", "DeepSeekMTPModel", "MedusaModel", "EagleLlama4ForCausalLM"])
def test_a_draft_model_is_refused_as_one(name: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        architecture(architectures=[name])

    assert "draft model" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "limit", "longest"),
    [
        ({"max_position_embeddings": 131072}, 131072, 131072),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "max_position_embeddings": 131072}, 131072, 131072),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 32768, 32768),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 16384, 16384),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}}, 8192, 8192),
        (
            {
                "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
                "max_position_embeddings": 131072,
                "original_max_position_embeddings": 4096,
            },
            4096,
            131072,
        ),
        ({"max_position_embeddings": 32768, "model_max_length": 131072}, 131072, 131072),
        ({"max_position_embeddings": 32768, "seq_length": 8192}, 8192, 8192),
    ],
)
def test_the_context_limit_is_the_one_the_engine_derives(changes: dict[str, object], limit: int, longest: int) -> None:
    found = architecture(**changes)

    assert (found.max_model_len, found.longest_model_len) == (limit, longest)


@pytest.mark.parametrize(("version", "length"), [("0.29.0", 32768), ("0.30.0", 8192)])
def test_until_0_30_a_yarn_factor_lengthens_the_context(version: str, length: int) -> None:
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
    found, profile = architecture(rope_scaling=yarn), load_profile(version)
    flags = default_flags(profile, load_catalog().gpu("L40S"), found)
    longer = replace(flags, max_model_len=length + 1)
    gpu = load_catalog().gpu("L40S")
    started, too_long = (refusal(found, Quantization(), one, profile, gpu) for one in (flags, longer))

    assert flags.max_model_len == length
    assert started is None
    assert str(length) in str(too_long)


def test_mistral_slides_everywhere_and_qwen_only_when_it_says_so() -> None:
    mistral = architecture(architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=4096)
    qwen = architecture(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", sliding_window=4096, use_sliding_window=False
    )

    assert all(layer.attention and layer.attention.window == 4096 for layer in mistral.layers)
    assert all(layer.attention and layer.attention.window is None for layer in qwen.layers)


def test_a_text_config_inside_a_multimodal_one_is_found() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "architectures"}
    vision = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
              "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14}  # fmt: skip
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "torch_dtype": "float16",
              "text_config": {**text, "torch_dtype": "float16"}, "vision_config": vision}  # fmt: skip

    found, _ = parse_config(config, where="config.json")

    assert found.hidden_size == 4096
    assert found.torch_dtype == "float16"
    assert found.vision is not None


def test_an_encoder_keeps_no_cache() -> None:
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072,
              "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 30522, "type_vocab_size": 2,
              "max_position_embeddings": 512, "torch_dtype": "float32"}  # fmt: skip

    found, _ = parse_config(config, where="config.json")

    assert found.is_pooling
    assert found.max_model_len == 512
    assert not any(layer.attention and layer.attention.cached for layer in found.layers)


FP8 = {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False}
MXFP4 = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0", "is_dynamic": False}


def quark(*, exclude: tuple[str, ...] = ("lm_head",), **scheme: object) -> dict[str, Any]:
    return {
        "quant_method": "quark", "export": {"kv_cache_group": [], "pack_method": "reorder"}, "exclude": list(exclude),
        "global_quant_config": scheme, "layer_quant_config": {}, "layer_type_quant_config": {},
    }  # fmt: skip


def torchao(kind: str, **data: object) -> dict[str, Any]:
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": kind, "_version": 1, "_data": data}}}


@pytest.mark.parametrize(
    ("settings", "scheme", "bits", "group_size"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, "awq-int4", 4, 128),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq-int4", 4, 64),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq-int8", 8, None),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True}, "gptq-int4", 4, 128),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8, 128),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8", 8, None),
        ({"quant_method": "fbgemm_fp8"}, "fp8", 8, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, "nvfp4", 4, 16),
        ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}, "fp8", 8, None),
        ({"quant_method": "mxfp4"}, "mxfp4", 4, 32),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb-4bit", 4, 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-int8", 8, None),
        (quark(weight=FP8, input_tensors={**FP8, "is_dynamic": False}), "fp8", 8, None),
        (quark(weight=MXFP4, input_tensors={**MXFP4, "is_dynamic": True}), "mxfp4", 4, 32),
        (
            quark(weight={"dtype": "int8", "qscheme": "per_channel"}, input_tensors={"is_dynamic": True}),
            "w8a8-int8",
            8,
            None,
        ),
        (
            quark(weight={"dtype": "uint4", "qscheme": "per_group", "group_size": 128, "symmetric": False}),
            "w4a16",
            4,
            128,
        ),
        (torchao("Int4WeightOnlyConfig", group_size=64), "w4a16", 4, 64),
        (torchao("Int8WeightOnlyConfig"), "w8a16", 8, None),
        (torchao("Float8DynamicActivationFloat8WeightConfig"), "fp8", 8, None),
    ],
)
def test_quantization_formats(settings: dict[str, Any], scheme: str, bits: int, group_size: int | None) -> None:
    found = quantization(settings)

    assert (found.scheme, found.bits, found.group_size) == (scheme, bits, group_size)


def packed(kind: str, bits: int, strategy: str, *, dynamic: bool, **more: object) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, "strategy": strategy, **more}
    inputs = {"num_bits": bits, "type": kind, "dynamic": True} if dynamic else None
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"]}


@pytest.mark.parametrize(
    ("settings", "scheme"),
    [
        (packed("int", 4, "group", dynamic=False, group_size=128), "w4a16"),
        (packed("int", 8, "channel", dynamic=False), "w8a16"),
        (packed("int", 8, "channel", dynamic=True), "w8a8-int8"),
        (packed("float", 8, "channel", dynamic=True), "fp8"),
        (packed("float", 8, "tensor", dynamic=False), "fp8"),
        (packed("float", 8, "block", dynamic=True, block_structure=[128, 128]), "fp8"),
        (packed("float", 4, "tensor_group", dynamic=True, group_size=16), "nvfp4"),
    ],
)
def test_compressed_tensors_schemes(settings: dict[str, Any], scheme: str) -> None:
    assert quantization(settings).scheme == scheme


@pytest.mark.parametrize("method", ["aqlm", "quip", "hqq", "quark-next", "gguf"])
def test_an_unknown_quantization_is_refused_by_name(method: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        quantization({"quant_method": method, "bits": 4})

    assert method in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"bits": 4}, "quantization_config.quant_method"),
        ({"quant_method": "gptq"}, "quantization_config.bits"),
        ({"quant_method": "awq", "bits": 4, "group_size": 0}, "quantization_config.group_size"),
        ({"quant_method": "awq", "bits": 4, "group_size": "128"}, "quantization_config.group_size"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "quantization_config.weight_block_size"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "quantization_config.weight_block_size"),
        ({"quant_method": "compressed-tensors"}, "quantization_config.config_groups"),
        (
            {**packed("int", 4, "group", dynamic=False, group_size=128), "ignore": ["re:(unclosed"]},
            "quantization_config.ignore",
        ),
        (
            {**packed("int", 4, "group", dynamic=False, group_size=128), "ignore": ["re:(a+)+$"]},
            "quantization_config.ignore",
        ),
        (
            {**packed("int", 4, "group", dynamic=False, group_size=128), "ignore": ["re:" + "a" * 5000]},
            "quantization_config.ignore",
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"-:[": {}}}, "quantization_config.dynamic"),
    ],
)
def test_a_broken_quantization_config_names_its_field(settings: dict[str, Any], field: str) -> None:
    assert refused({"quantization_config": settings}).field == field


def test_ignored_modules_stay_unquantized() -> None:
    settings = packed("int", 4, "group", dynamic=False, group_size=128)
    settings["ignore"] = ["lm_head", "model.layers.0.mlp.down_proj", "re:.*self_attn.*"]

    found = quantization(settings)

    assert found.storage("layers.0.mlp.down_proj") is None
    assert found.storage("layers.1.mlp.down_proj") is not None
    assert found.storage("layers.1.self_attn.o_proj") is None


def test_gptq_modules_may_be_listed_or_left_out() -> None:
    listed = quantization(
        {"quant_method": "gptq", "bits": 4, "modules_in_block_to_quantize": [["self_attn.q_proj"], ["mlp.down_proj"]]}
    )
    without = quantization({"quant_method": "gptq", "bits": 4, "dynamic": {r"-:.*\.down_proj": {}}})

    assert listed.storage("layers.3.mlp.down_proj") is not None
    assert listed.storage("layers.3.mlp.up_proj") is None
    assert without.storage("layers.3.mlp.down_proj") is None
    assert without.storage("layers.3.mlp.up_proj") is not None


def test_quark_leaves_excluded_modules_alone_and_lets_layers_differ() -> None:
    settings = quark(exclude=("lm_head", "re:.*gate$", "model.layers.0.mlp.down_proj"), weight=FP8, input_tensors=FP8)
    settings["layer_quant_config"] = {
        "*self_attn.o_proj": {"weight": {**FP8, "qscheme": "per_channel"}, "input_tensors": FP8}
    }

    found = quantization(settings)

    assert found.storage("layers.0.mlp.down_proj") is None
    assert found.storage("layers.1.mlp.down_proj") is found.linear
    assert found.storage("layers.1.self_attn.o_proj") not in (None, found.linear)
    assert found.storage("layers.1.mlp.gate") is None


def test_torchao_by_module_name() -> None:
    config = {"_type": "Int8WeightOnlyConfig", "_data": {}}
    modules = {
        "_default": config,
        "model.layers.0.mlp.down_proj": None,
        "re:.*self_attn.*": {**config, "_type": "Int4WeightOnlyConfig"},
    }

    found = quantization(torchao("ModuleFqnToConfig", module_fqn_to_config=modules))

    assert found.storage("layers.0.mlp.down_proj") is None
    assert found.storage("layers.1.mlp.down_proj") == found.linear
    assert found.bits == 4


def test_a_quantized_head_is_there_although_the_embeddings_are_tied() -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    tied, plain = {**LLAMA, "tie_word_embeddings": True}, {"quantization_config": gptq}
    packed_head = 128256 * 4096 // 2 + 128256 * (4096 // 128) * 2

    with_head = weights_bytes(*parse_config({**tied, "quantization_config": {**gptq, "lm_head": True}}, where="x"))
    without = weights_bytes(*parse_config({**tied, **plain}, where="x"))

    assert 0 <= with_head - without - packed_head < 1 << 21  # the allocator rounds


@pytest.mark.parametrize(
    "settings",
    [
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {"lm_head": {"quant_algo": "NVFP4"}},
        },
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["*self_attn*"]},
    ],
)
def test_modelopt_quantizes_the_head_unless_it_is_excluded(settings: dict[str, Any]) -> None:
    head = quantization(settings).head

    assert head is not None
    assert head.bits == 4
    assert quantization({**settings, "exclude_modules": ["lm_head"]}).head is None


@pytest.mark.parametrize(
    ("excluded", "plain"),
    [
        ("model.layers.1", ["layers.1.mlp.down_proj", "layers.12.mlp.down_proj"]),
        ("model.layers.1.*", ["layers.1.mlp.down_proj"]),
        ("shared_expert", ["layers.2.mlp.shared_expert.down_proj"]),
    ],
)
def test_modelopt_excludes_by_pieces_of_paths(excluded: str, plain: list[str]) -> None:
    paths = [f"layers.{end}.down_proj" for end in ("1.mlp", "12.mlp", "2.mlp", "2.mlp.shared_expert")]

    found = quantization({"quant_method": "modelopt", "quant_algo": "FP8", "exclude_modules": [excluded]})

    assert [path for path in paths if found.storage(path) is None] == plain


def test_errors_are_one_line_with_a_hint_at_most() -> None:
    with pytest.raises(PlannerError) as caught:
        architecture(num_hidden_layers=1 << 60)

    assert str(caught.value) == f"config.json: num_hidden_layers: {1 << 60} is out of range (1 to 2048)"
