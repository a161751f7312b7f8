"""``planner catalog add``: from folders and over real HTTP; what is broken is refused and nothing is written."""

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from forked import Run, forked
from hub_server import COMMIT, Hub, serving, shard

from planner.catalog import load_catalog
from planner.config_json import parse_config

LAYERS, HIDDEN, INNER, VOCABULARY = 2, 64, 128, 256
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "eos_token_id": 2,
    "transformers_version": "4.57.0",
}


def tensors() -> dict[str, tuple[str, list[int]]]:
    found = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN], "lm_head.weight": [VOCABULARY, HIDDEN]}
    found["model.norm.weight"] = [HIDDEN]
    for layer in range(LAYERS):
        here = f"model.layers.{layer}."
        found |= {here + f"self_attn.{name}_proj.weight": [HIDDEN, HIDDEN] for name in "qo"}
        found |= {here + f"self_attn.{name}_proj.weight": [HIDDEN // 2, HIDDEN] for name in "kv"}
        found |= {here + f"mlp.{name}_proj.weight": [INNER, HIDDEN] for name in ("gate", "up")}
        found |= {here + "mlp.down_proj.weight": [HIDDEN, INNER]}
        found |= {here + f"{name}_layernorm.weight": [HIDDEN] for name in ("input", "post_attention")}
    return {name: ("BF16", shape) for name, shape in found.items()}


PARAMETERS = sum(math.prod(shape) for _, shape in tensors().values())


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return tmp_path / "overlay"


def add(source: str, overlay: Path, *options: str, **environment: str) -> Run:
    base = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PLANNER_"))}
    base |= {"HF_HOME": str(overlay.parent / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "PLANNER_CATALOG": str(overlay)}
    base["PLANNER_CACHE"] = os.environ["PLANNER_CACHE"]
    return forked("catalog", "add", source, "--into", str(overlay), *options, environment={**base, **environment})


def written(overlay: Path) -> list[Path]:
    return sorted(path for path in overlay.rglob("*") if path.is_file())


def refused(run: Run, overlay: Path, *words: str) -> None:
    assert run.code == 1, run
    assert "Traceback" not in run.err
    assert all(word in run.err for word in words), run.err
    assert written(overlay) == []


def folder_with(
    path: Path, config: object = CONFIG, shards: dict[str, bytes] | None = None, index: object = None
) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    head, rest = shard(tensors())
    for name, content in ({"model.safetensors": head + bytes(rest)} if shards is None else shards).items():
        (path / name).write_bytes(content)
    if index is not None:
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def hub_with(**files: bytes) -> Hub:
    head, rest = shard(tensors())
    content = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": head}
    content |= {name.replace("__", "."): value for name, value in files.items()}
    return Hub(files={"acme/tiny": content}, pad={"model.safetensors": rest})


def content_ranges(hub: Hub) -> list[str]:
    return [asked for method, path, asked in hub.requests if method == "GET" and path.startswith("/content/")]


def test_a_folder_becomes_an_entry_that_the_planner_can_use(tmp_path: Path, overlay: Path) -> None:
    source = folder_with(tmp_path / "Tiny-Llama")
    run = add(str(source), overlay, "--task", "code", "--licence", "mit")

    assert run.code == 0, run.err
    model, variant = load_catalog(overlays=(overlay,)).find(str(source))
    assert model.parameters == PARAMETERS
    assert variant.published_bytes == 2 * PARAMETERS
    assert (model.tasks, model.licence, variant.scheme, variant.native) == (("code",), "mit", "bf16", True)
    assert "eos_token_id" not in model.config
    assert parse_config(model.config_for(variant), where="")[0].hidden_size == HIDDEN


def test_adding_twice_changes_nothing_and_a_hand_edited_entry_is_kept(tmp_path: Path, overlay: Path) -> None:
    source = folder_with(tmp_path / "tiny")
    add(str(source), overlay)
    (path,) = written(overlay)
    before = path.read_text()

    assert add(str(source), overlay).code == 0
    assert path.read_text() == before
    path.write_text(before.replace("licence: unknown", "licence: mit"))
    again = add(str(source), overlay)
    assert again.code == 1
    assert "--force" in again.err
    assert "licence: mit" in path.read_text()
    assert add(str(source), overlay, "--force").code == 0
    assert path.read_text() == before


def test_a_quantized_checkpoint_is_not_taken_for_the_model_its_scores_were_measured_on(
    tmp_path: Path, overlay: Path
) -> None:
    quantization = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
    source = folder_with(tmp_path / "tiny-gptq", {**CONFIG, "quantization_config": quantization}, shards={})
    run = add(str(source), overlay)

    assert run.code == 0, run.err
    model, variant = load_catalog(overlays=(overlay,)).find(str(source))
    assert (variant.scheme, variant.native, variant.quantization_config) == ("gptq-int4", False, quantization)
    assert model.base == "unknown"


def test_the_quantization_file_of_older_exports_is_read_from_folder_and_repository(
    tmp_path: Path, overlay: Path
) -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    source = folder_with(tmp_path / "tiny-fp8", shards={})
    (source / "hf_quant_config.json").write_text(json.dumps(beside))
    hub = hub_with()
    hub.files["acme/tiny"]["hf_quant_config.json"] = json.dumps(beside).encode()
    assert add(str(source), overlay).code == 0
    with serving(hub):
        assert add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint).code == 0

    catalog = load_catalog(overlays=(overlay,))
    assert [catalog.find(name)[1].scheme for name in (str(source), "acme/tiny")] == ["fp8", "fp8"]


def test_files_that_hold_something_else_are_reported_in_the_entry(tmp_path: Path, overlay: Path) -> None:
    head, rest = shard({**tensors(), "extra.weight": ("BF16", [1000, 1000])})
    source = folder_with(tmp_path / "odd", shards={"model.safetensors": head + bytes(rest)})
    run = add(str(source), overlay)

    assert run.code == 0
    assert "warning" in run.err
    assert yaml.safe_load(written(overlay)[0].read_text())["models"][0]["conflicts"]


def test_a_repository_is_read_by_range_requests_alone(overlay: Path) -> None:
    with serving(hub_with()) as hub:
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    model, variant = load_catalog(overlays=(overlay,)).find("acme/tiny")
    assert (model.parameters, variant.published_bytes, variant.revision) == (PARAMETERS, 2 * PARAMETERS, COMMIT)
    assert COMMIT in model.sources[0]
    assert content_ranges(hub) == ["bytes=0-65535"]
    assert hub.bytes_sent < 2 * PARAMETERS


def test_a_header_longer_than_the_first_request_is_fetched_to_its_end(overlay: Path) -> None:
    hub = hub_with()
    hub.files["acme/tiny"]["model.safetensors"], rest = shard(tensors(), pad_header=200_000)
    hub.pad["model.safetensors"] = rest
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    assert [asked.split("-")[0] for asked in content_ranges(hub)] == ["bytes=0", "bytes=65536"]


def test_sharded_repositories_are_summed_over_their_shards(overlay: Path) -> None:
    names = sorted(tensors())
    parts = {"a-00001.safetensors": names[::2], "sub/b-00002.safetensors": names[1::2]}
    hub = hub_with()
    del hub.files["acme/tiny"]["model.safetensors"]
    for file, part in parts.items():
        hub.files["acme/tiny"][file], hub.pad[file] = shard({name: tensors()[name] for name in part})
    index = {"metadata": {"total_size": 1}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    hub.files["acme/tiny"]["model.safetensors.index.json"] = json.dumps(index).encode()
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    assert load_catalog(overlays=(overlay,)).find("acme/tiny")[1].published_bytes == 2 * PARAMETERS


def test_a_server_that_ignores_ranges_does_not_make_us_download_the_weights(overlay: Path) -> None:
    hub = hub_with()
    hub.ignore_ranges = True
    hub.pad["model.safetensors"] += 64 << 20
    head, _ = shard({**tensors(), "big": ("BF16", [32 << 20])})
    hub.files["acme/tiny"]["model.safetensors"] = head
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    assert hub.bytes_sent < 16 << 20


@pytest.mark.parametrize("status", [429, 503, 0], ids=["busy", "unavailable", "dropped"])
def test_a_busy_server_or_a_dropped_connection_is_tried_again(overlay: Path, status: int) -> None:
    hub = hub_with()
    hub.fail_first, hub.fail_status = 1, status
    hub.files["acme/tiny"]["config.json"] = json.dumps(CONFIG).encode()
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token": "secret"}, ("no such repository", "HF_TOKEN")),
        ({"token": "secret", "gated": True}, ("gated", "HF_TOKEN")),
        ({"files": {}}, ("no such repository",)),
        ({"status": 429}, ("limits how often",)),
        ({"status": 403}, ("not yours to read", "HF_TOKEN")),
        ({"status": 500}, ("answered 500",)),
        ({"files": {"acme/tiny": {"README.md": b"hello"}}}, ("has no config.json",)),
    ],
    ids=["401", "gated", "404", "429", "403", "500", "no config"],
)
def test_what_the_hub_refuses_is_said_in_one_line(
    overlay: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    hub = hub_with()
    for key, value in change.items():
        setattr(hub, key, value)
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    refused(run, overlay, "hf://acme/tiny", *words)


def test_a_token_opens_a_gated_repository_and_does_not_reach_the_content_server(overlay: Path) -> None:
    hub = hub_with()
    hub.token = "secret"
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint, HF_TOKEN="secret")

    assert run.code == 0, run.err


def test_an_unknown_revision_is_refused(overlay: Path) -> None:
    with serving(hub_with()) as hub:
        run = add("acme/tiny", overlay, "--revision", "nope", HF_ENDPOINT=hub.endpoint)

    refused(run, overlay, "no such repository or revision")


def test_no_server_at_all_is_said_plainly(overlay: Path) -> None:
    with serving(hub_with()) as hub:
        endpoint = hub.endpoint
    refused(add("acme/tiny", overlay, HF_ENDPOINT=endpoint), overlay, "cannot be reached", "HF_ENDPOINT")


def test_offline_mode_asks_nobody(overlay: Path) -> None:
    with serving(hub_with()) as hub:
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE="1")

    refused(run, overlay, "not in the cache", "HF_HUB_OFFLINE")
    assert hub.requests == []


def test_a_header_that_lies_about_its_length_is_refused(tmp_path: Path, overlay: Path) -> None:
    lying = (1 << 62).to_bytes(8, "little") + b"{}"
    hub = hub_with()
    hub.files["acme/tiny"]["model.safetensors"] = lying
    with serving(hub):
        remote = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    refused(remote, overlay, "header", "cannot hold")
    refused(add(str(folder_with(tmp_path / "tiny", shards={"model.safetensors": lying})), overlay), overlay, "header")


def test_a_config_that_claims_to_be_huge_is_refused_before_it_is_fetched(overlay: Path) -> None:
    hub = hub_with()
    hub.pad["config.json"] = 1 << 30
    with serving(hub):
        run = add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint)

    refused(run, overlay, "too large")
    assert hub.bytes_sent < 1 << 20


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.safetensors", "..\\b"])
def test_shards_that_lead_out_of_the_repository_are_refused(tmp_path: Path, overlay: Path, name: str) -> None:
    index = {"weight_map": {"model.norm.weight": name}}
    hub = hub_with()
    hub.files["acme/tiny"]["model.safetensors.index.json"] = json.dumps(index).encode()
    with serving(hub):
        refused(add("acme/tiny", overlay, HF_ENDPOINT=hub.endpoint), overlay, "not a file name inside")
    assert not any("passwd" in path for _, path, _ in hub.requests)
    refused(add(str(folder_with(tmp_path / "tiny", index=index)), overlay), overlay, "not a file name inside")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, overlay: Path) -> None:
    source = folder_with(tmp_path / "tiny", shards={})
    head, rest = shard(tensors())
    (tmp_path / "elsewhere").write_bytes(head + bytes(rest))
    (source / "model.safetensors").symlink_to(tmp_path / "elsewhere")

    refused(add(str(source), overlay), overlay, "leads out of the folder")


def test_a_missing_shard_is_refused(tmp_path: Path, overlay: Path) -> None:
    head, rest = shard(tensors())
    index = {"weight_map": {"a": "there.safetensors", "b": "gone.safetensors"}}
    source = folder_with(tmp_path / "tiny", shards={"there.safetensors": head + bytes(rest)}, index=index)

    refused(add(str(source), overlay), overlay, "gone.safetensors", "missing")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], ("expected a JSON object",)),
        ({**CONFIG, "architectures": ["NovelForCausalLM"]}, ("not supported", "NovelForCausalLM")),
        ({key: value for key, value in CONFIG.items() if key != "hidden_size"}, ("hidden_size", "missing")),
        ({**CONFIG, "hidden_size": "big"}, ("hidden_size", "whole number")),
        ({**CONFIG, "quantization_config": {"quant_method": "magic"}}, ("not supported", "magic")),
    ],
    ids=["list", "architecture", "missing field", "wrong type", "quantization"],
)
def test_a_config_that_cannot_be_sized_is_refused_by_name(
    tmp_path: Path, overlay: Path, config: object, words: tuple[str, ...]
) -> None:
    refused(add(str(folder_with(tmp_path / "tiny", config)), overlay), overlay, *words)


def test_what_is_neither_a_folder_nor_a_repository_is_refused(overlay: Path) -> None:
    refused(add("no such thing", overlay), overlay, "neither a folder nor a repository")


def test_an_overlay_that_cannot_be_written_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    run = add(str(folder_with(tmp_path / "tiny")), tmp_path / "file")

    assert run.code != 0
    assert "Traceback" not in run.err


def gguf(path: Path) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.name") + struct.pack("<I", 8) + text("Tiny"),
        text("general.file_type") + struct.pack("<II", 4, 15),
        text("llama.context_length") + struct.pack("<II", 4, 4096),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
    ]
    infos = [text("token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 256, 12, 0)]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join(pairs + infos))
    return path


def test_a_gguf_file_is_listed_and_then_refused_with_the_reason(tmp_path: Path, overlay: Path) -> None:
    run = add(str(gguf(tmp_path / "tiny.gguf")), overlay)

    refused(run, overlay, "GGUF", "safetensors")
    assert run.out == ""
    assert run.err.startswith("Tiny: llama, 16,384 parameters, 4,096 tokens, Q4_K_M")


@pytest.mark.parametrize("cut", [2, 20, 60])
def test_a_gguf_file_cut_short_is_refused(tmp_path: Path, overlay: Path, cut: int) -> None:
    path = gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:cut])

    refused(add(str(path), overlay), overlay, "tiny.gguf")
