"""Kinds of repositories that the catalog does not list: each sized, or refused for the right reason."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, serving, shard
from test_catalog_add import CONFIG, PARAMETERS, tensors
from test_hub_faults import home as home

from planner.catalog import load_catalog
from planner.catalog.stored import stored
from planner.errors import PlannerError
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.tensors.weights import Rank, parameter_bytes

NVFP4 = {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}
MIXED = {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"model.layers.0.mlp.down_proj": {"quant_algo": "FP8"}}}
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
ANSWERED = {"siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]}


def files(config: object = CONFIG, **others: object) -> dict[str, bytes]:
    """Return a repository of JSON files; ``_`` in a name is a dot."""
    named = {name.replace("__", "."): content for name, content in others.items()}
    return {name: json.dumps(content).encode() for name, content in {"config.json": config, **named}.items()}


def config_of(repository: str, **changes: object) -> dict[str, Any]:
    return {**load_catalog().find(repository)[0].config, **changes}


def look_up(
    monkeypatch: pytest.MonkeyPatch, content: Mapping[str, bytes], card: object = None, pad: Mapping[str, int] = {}
) -> tuple[Model, Variant]:
    import huggingface_hub.constants as constants

    hub = Hub(files={"acme/m": dict(content)}, pad=dict(pad))
    if card is not None:
        hub.cards = {"acme/m": card}  # type: ignore[dict-item]
    with serving(hub):
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        return load_catalog().find("acme/m")


def weights(found: tuple[Model, Variant]) -> tuple[Quantization, int]:
    architecture, quantization = stored(*found)
    return quantization, parameter_bytes(architecture, quantization, Rank())


@pytest.mark.parametrize(
    ("content", "scheme"),
    [
        (files(hf_quant_config__json={"producer": {"name": "modelopt"}, "quantization": NVFP4}), "nvfp4"),
        (
            files({**CONFIG, "quantization_config": {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}},
                  hf_quant_config__json={"producer": {"name": "modelopt"}, "quantization": MIXED}), "mixed",
        ),
        (files({**CONFIG, "compression_config": BLOCKS}), "fp8"),
    ],
    ids=["NVFP4 beside", "layers beside", "the older key"],
)  # fmt: skip
def test_a_scheme_is_read_from_where_the_engine_reads_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: Mapping[str, bytes], scheme: str
) -> None:
    found = look_up(monkeypatch, content)

    assert found[1].scheme == scheme
    assert weights(found)[1] < parameter_bytes(stored(*found)[0], Quantization(), Rank())


def test_the_scheme_of_a_wrapper_may_stand_with_its_language_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("Qwen/Qwen3-VL-2B-Instruct")
    inside = {**config, "text_config": {**config["text_config"], "quantization_config": BLOCKS}}
    above = {**config, "quantization_config": BLOCKS}

    assert weights(look_up(monkeypatch, files(inside))) == weights(look_up(monkeypatch, files(above)))


def test_experts_of_deepseek_v4_are_those_that_its_config_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_catalog().find("deepseek-ai/DeepSeek-V4-Flash")
    settings = {**(base[1].quantization_config or {}), "moe_quant_algo": "NVFP4"}
    architecture, published = stored(*base)
    found = look_up(monkeypatch, files(config_of("deepseek-ai/DeepSeek-V4-Flash", quantization_config=settings)))
    as_nvfp4 = stored(*found)[1]

    # One byte of scale for each 16 instead of 32 inputs, beside 16 bytes of codes for each 32.
    whole, more = (parameter_bytes(architecture, one, Rank()) for one in (published, as_nvfp4))
    assert (as_nvfp4.experts and as_nvfp4.experts.name) == "nvfp4"
    assert 1 + 0.9 / 17 < more / whole < 1 + 1.1 / 17


@pytest.mark.parametrize(
    ("config", "card", "tasks", "parameters"),
    [
        (config_of("Qwen/Qwen3-VL-8B-Instruct"), {"pipeline_tag": "image-text-to-text"}, "general vision", 8767123696),
        (config_of("Qwen/Qwen3-30B-A3B"), {"pipeline_tag": "text-generation"}, "general", 30532122624),
        (
            config_of("Qwen/Qwen3-0.6B", architectures=["Qwen3ForSequenceClassification"], num_labels=1),
            {"pipeline_tag": "text-ranking"}, "rerank", 595776512,
        ),
        (config_of("BAAI/bge-base-en-v1.5"), {"pipeline_tag": "feature-extraction"}, "embedding", 109482752),
        (
            config_of("openai/whisper-small"), {"pipeline_tag": "automatic-speech-recognition"},
            "transcription", 241734912,
        ),
        ({**CONFIG, "auto_map": {"AutoModelForCausalLM": "own.Llama"}}, None, "general", PARAMETERS),
        (CONFIG, {"pipeline_tag": ["x"], "tags": "no", "siblings": {"a": 1}}, "general", PARAMETERS),
    ],
    ids=["images", "experts", "reranker", "encoder", "speech", "own code beside a known class", "card of nonsense"],
)  # fmt: skip
def test_what_a_model_is_for_follows_from_its_card_and_class(
    home: Path, monkeypatch: pytest.MonkeyPatch, config: object, card: object, tasks: str, parameters: int
) -> None:
    model, _ = look_up(monkeypatch, files(config), card)

    assert " ".join(model.tasks) == tasks
    assert model.parameters == pytest.approx(parameters, rel=0.01)


def shards(count: int, *names: str) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return files ``model-1-of-COUNT`` … of these tensors, one each, and how many bytes of data each has."""
    made = {f"model-{number}-of-{count}.safetensors": shard({name: tensors()[name]})
            for number, name in enumerate(names, start=1)}  # fmt: skip
    return {file: head for file, (head, _) in made.items()}, {file: rest for file, (_, rest) in made.items()}


def test_shards_without_an_index_are_read_as_the_engine_finds_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(tensors())
    parts, pad = shards(len(names), *names)
    card = {"siblings": [{"rfilename": name} for name in parts]}
    _, variant = look_up(monkeypatch, {**files(), **parts}, card, pad)

    assert variant.published_bytes == 2 * sum(math.prod(shape) for _, shape in tensors().values())


@pytest.mark.parametrize(
    ("content", "card", "words"),
    [
        (files(), {"siblings": [{"rfilename": "m-Q4_K_M.gguf"}, {"rfilename": "config.json"}]}, "GGUF files for llama"),
        (files(), {"siblings": [{"rfilename": "onnx/model.onnx"}]}, "no weights that vLLM loads, only .onnx"),
        (files(), {"siblings": [{"rfilename": "config.json"}]}, "no weights that vLLM loads; name a checkpoint"),
        ({"model_index.json": b"{}"}, None, "holds a diffusion pipeline"),
        ({"adapter_config.json": b"{}"}, None, "holds a LoRA adapter"),
        (files({"_class_name": "Flux"}), {"pipeline_tag": "text-to-image"}, "not supported: a model for text-to-image"),
        (
            files({"architectures": ["VitsModel"], "model_type": "vits"}), {"pipeline_tag": "text-to-speech"},
            "architecture VitsModel\n  hint: the hub lists it for text-to-speech",
        ),
        (
            files({**CONFIG, "architectures": ["NovelForCausalLM"], "auto_map": {"AutoModel": "novel.Novel"}}), None,
            "architecture NovelForCausalLM\n  hint: its class comes as code with the repository",
        ),
        ({**files(), **shards(3, *sorted(tensors())[:2])[0]},
         {"siblings": [{"rfilename": name} for name in shards(3, *sorted(tensors())[:2])[0]]}, "2 of 3 shards"),
        (files(model__safetensors__index__json={"weight_map": {"a": "model-1-of-2.safetensors"}}), ANSWERED,
         "model-1-of-2.safetensors is not there; its index names that file"),
        (files({**CONFIG, "quantization_config": {"quant_method": "hqq"}}), None, "quantization method 'hqq'"),
        (files(hf_quant_config__json=[]), None, "hf://acme/m/hf_quant_config.json: expected a JSON object"),
        (files([]), None, "hf://acme/m/config.json: expected a JSON object"),
    ],
    ids=[
        "GGUF", "ONNX", "no weights", "diffusion", "adapter", "image generation", "speech synthesis", "own code alone",
        "a shard too few", "a shard not there", "unknown scheme", "scheme of nonsense", "config of nonsense",
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_for_its_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: Mapping[str, bytes], card: object, words: str
) -> None:
    _, pad = shards(3, *sorted(tensors())[:2])
    with pytest.raises(PlannerError) as refused:
        look_up(monkeypatch, content, card, pad)

    assert words in str(refused.value)
    assert "planner-hub-" not in str(refused.value)
    assert list((home / "cache").rglob("*.yaml")) == []
