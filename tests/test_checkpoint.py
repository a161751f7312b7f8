"""Reading a model folder: what is there is read exactly, what lies is refused by file and field."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from planner.checkpoint import read_config, read_folder
from planner.errors import InvalidConfig, PlannerError

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16", "tie_word_embeddings": True,
}  # fmt: skip
BITS = {"BF16": 16, "F32": 32, "I32": 32, "F8_E4M3": 8}


def safetensors(tensors: dict[str, tuple[str, list[int]]], length: int | None = None) -> bytes:
    """A safetensors file of zeros; ``length`` is what its prefix claims instead of the truth."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, size = end, BITS[dtype] // 8
        for side in shape:
            size *= side
        end = start + size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(end)


def folder(path: Path, config: dict[str, Any] | None = None, **files: bytes | dict[str, Any]) -> Path:
    """A model folder; keyword names stand for file names with ``__`` for dots."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / name.replace("__", ".")).write_bytes(data)
    return path


def refused(path: Path) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        read_folder(path)
    return caught.value


def test_a_folder_is_read_without_weights(tmp_path: Path) -> None:
    checkpoint = read_folder(folder(tmp_path / "small"))

    assert checkpoint.name == "small"
    assert checkpoint.architecture.num_layers == 2
    assert checkpoint.tensors is None
    assert checkpoint.stored_bytes is None


def test_tensors_come_from_the_headers(tmp_path: Path) -> None:
    file = safetensors({"a.weight": ("BF16", [3, 5]), "b.weight": ("F32", [2])})

    checkpoint = read_folder(folder(tmp_path, model__safetensors=file))

    assert checkpoint.stored_bytes == 3 * 5 * 2 + 2 * 4
    assert checkpoint.tensors is not None
    assert checkpoint.tensors["a.weight"].shape == (3, 5)


def test_an_index_without_its_shards_still_tells_the_size(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 12345}, "weight_map": {"a.weight": "model-00001-of-00001.safetensors"}}

    assert read_folder(folder(tmp_path, model__safetensors__index__json=index)).stored_bytes == 12345


def test_a_shard_that_is_missing_among_others_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    path = folder(tmp_path, model__safetensors__index__json=index, one__safetensors=safetensors({}))

    error = refused(path)

    assert error.field == "weight_map"
    assert "two.safetensors is missing" in error.message


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/../../b", "..\\b", "", "a\0b"])
def test_a_shard_name_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    index = {"weight_map": {"a": name}}

    error = refused(folder(tmp_path, model__safetensors__index__json=index))

    assert error.field == "weight_map"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "hf_quant_config.json"])
def test_a_link_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(json.dumps(CONFIG).encode())
    path = folder(tmp_path / "model")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(outside)

    assert "leads out of the folder" in refused(path).message


def test_a_hub_cache_is_followed_into_its_blobs(tmp_path: Path) -> None:
    home = tmp_path / "models--org--name"
    blobs, snapshot = home / "blobs", home / "snapshots" / "0123abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "c0ffee").write_text(json.dumps(CONFIG))
    (snapshot / "config.json").symlink_to(Path("..") / ".." / "blobs" / "c0ffee")

    assert read_folder(snapshot).architecture.hidden_size == 64


@pytest.mark.parametrize("length", [1 << 62, 10_000_000, 2**64 - 1])
def test_a_header_that_lies_about_its_length_is_not_believed(tmp_path: Path, length: int) -> None:
    file = safetensors({"a.weight": ("BF16", [2, 2])}, length)

    error = refused(folder(tmp_path, model__safetensors=file))

    assert error.field == "header"
    assert str(length) in error.message


def test_a_header_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = safetensors({"a.weight": ("BF16", [2, 2])})
    cut = (20).to_bytes(8, "little") + whole[8:28]

    assert refused(folder(tmp_path, model__safetensors=cut)).field == "header"


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 4]},
        {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 0]},
        {"dtype": "BF16", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [-2, 2], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [1] * 100, "data_offsets": [0, 2]},
        {"dtype": "BF17", "shape": [2, 2], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": "2x2", "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [2, 2]},
        "BF16",
    ],
)
def test_a_tensor_the_file_cannot_hold_is_refused_by_name(tmp_path: Path, entry: object) -> None:
    text = json.dumps({"layer.weight": entry}).encode()
    file = len(text).to_bytes(8, "little") + text + bytes(8)

    assert refused(folder(tmp_path, model__safetensors=file)).field.startswith("layer.weight")


def test_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    entry = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    text = json.dumps({"a.weight": entry, "b.weight": entry}).encode()

    error = refused(folder(tmp_path, model__safetensors=len(text).to_bytes(8, "little") + text + bytes(8)))

    assert error.field == "header"


@pytest.mark.parametrize(
    "text", ['{"architectures": ["Qwen2ForCausalLM"]', "[]", "", "\x00", "9" * 5000, "[" * 100_000, '{"a": NaN']
)
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    assert refused(tmp_path).where.endswith("config.json")


def test_a_huge_config_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)

    assert "too large" in refused(tmp_path).message


def test_no_config_and_no_file_are_said_plainly(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path).message
    os.mkfifo(tmp_path / "config.json")
    assert "not a file" in refused(tmp_path).message


def test_modelopt_settings_beside_the_config_count(tmp_path: Path) -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}

    checkpoint = read_folder(folder(tmp_path, hf_quant_config__json=beside))

    assert checkpoint.quantization.scheme == "fp8"
    assert checkpoint.quantization.kv_cache_dtype == "fp8"


def test_sentence_transformers_files_make_a_decoder_pool(tmp_path: Path) -> None:
    modules = b'[{"idx": 0, "type": "sentence_transformers.models.Transformer"},' + (
        b'{"idx": 1, "type": "sentence_transformers.models.Pooling"}]'
    )

    assert not read_folder(folder(tmp_path)).architecture.is_pooling
    assert read_folder(folder(tmp_path, modules__json=modules)).architecture.is_pooling


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_modules_the_headers_show_unquantized_are_left_alone(tmp_path: Path, method: str) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": method, "bits": 4, "group_size": 32}}
    tensors = {
        "model.embed_tokens.weight": ("BF16", [256, 64]),
        "model.layers.0.mlp.up_proj.qweight": ("I32", [64, 16]),
        "model.layers.0.input_layernorm.weight": ("BF16", [64]),
        "model.layers.1.mlp.up_proj.weight": ("BF16", [128, 64]),
        "visual.blocks.0.attn.qkv.weight": ("BF16", [192, 64]),
        "visual.blocks.1.attn.qkv.weight": ("BF16", [192, 64]),
    }
    path = folder(tmp_path, config, model__safetensors=safetensors(tensors))

    quantization = read_folder(path).quantization

    assert quantization.storage("layers.0.mlp.up_proj") is not None
    assert quantization.storage("layers.1.mlp.up_proj") is None
    assert quantization.storage("visual.blocks.1.attn.qkv") is None
    assert read_config(path)["quantization_config"]["quant_method"] == method


def test_what_the_config_says_about_modules_stands(tmp_path: Path) -> None:
    settings = {"quant_method": "awq", "bits": 4, "group_size": 32, "modules_to_not_convert": ["layers.0"]}
    tensors = {
        "model.layers.0.mlp.up_proj.qweight": ("I32", [64, 16]),
        "model.layers.1.mlp.up_proj.weight": ("BF16", [128, 64]),
    }
    config = {**CONFIG, "quantization_config": settings}

    quantization = read_folder(folder(tmp_path, config, model__safetensors=safetensors(tensors))).quantization

    assert quantization.storage("layers.0.mlp.up_proj") is None
    assert quantization.storage("layers.1.mlp.up_proj") is not None


def test_every_error_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(PlannerError) as caught:
        read_folder(folder(tmp_path, {**CONFIG, "hidden_size": "wide"}))

    assert str(caught.value) == f"{tmp_path / 'config.json'}: hidden_size: expected a whole number, not 'wide'"
