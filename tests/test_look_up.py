"""Models that the catalog does not list: looked up over real HTTP, kept, and found again when nobody answers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from forked import Run, forked
from hub_server import COMMIT, Hub, serving, shard
from test_catalog_add import CONFIG, PARAMETERS, hub_with, tensors

from planner.catalog import load_catalog
from planner.catalog.foreign_names import is_gguf, same_weights

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
FLEET = """\
name: small
gpu: L4
roles:
  chat:
    task: general
    models: acme/tiny
    context: 1k
"""


def planner(home: Path, *arguments: str, **environment: str) -> Run:
    """Run the planner with a home of its own, in which the shipped catalog alone was read before."""
    made = Path(os.environ["PLANNER_CACHE"]) / "made"
    made.mkdir(parents=True, exist_ok=True)
    if not (home / "cache").exists():
        (home / "cache").mkdir(parents=True)
        (home / "cache" / "made").symlink_to(made)
    base = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PLANNER_"))}
    base |= {"HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    base |= {"PLANNER_CATALOG": str(home / "own"), "PLANNER_CACHE": str(home / "cache")}
    return forked(*arguments, environment={**base, **environment})


def kept(home: Path) -> list[Path]:
    return sorted(path for path in (home / "cache").rglob("*") if path.is_file() and "hub" in path.parent.name)


def estimated(home: Path, name: str, **environment: str) -> Run:
    return planner(home, "estimate", name, "--gpu", "L4", "--json", **environment)


def test_a_model_is_looked_up_once_and_then_found_without_the_hub(tmp_path: Path) -> None:
    with serving(hub_with()) as hub:
        first = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)
        asked = len(hub.requests)
        second = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

        assert len(hub.requests) == asked > 0
    third = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

    assert first.code == 0, first.err
    assert json.loads(first.out)["starts"] is True
    assert first.out == second.out == third.out
    assert len(kept(tmp_path)) == 1


def test_a_fleet_may_name_it_and_its_commit_is_planned(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    with serving(hub_with()) as hub:
        run = planner(tmp_path, "solve", str(tmp_path / "fleet.yaml"), HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    plan = (tmp_path / "plan.yaml").read_text()
    assert f"revision: {COMMIT}" in plan
    again = planner(tmp_path, "solve", str(tmp_path / "fleet.yaml"), "--check", HF_ENDPOINT=hub.endpoint)
    assert again.code == 0, again.err
    assert (tmp_path / "plan.yaml").read_text() == plan


def test_show_says_where_the_facts_are_from(tmp_path: Path) -> None:
    hub = hub_with()
    hub.cards["acme/tiny"] = {"tags": ["license:mit"], "pipeline_tag": "text-generation"}
    with serving(hub):
        run = planner(tmp_path, "catalog", "show", "acme/tiny", "--json", HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    data = json.loads(run.out)
    assert (data["licence"], data["tasks"], data["parameters"]) == ("mit", ["general"], PARAMETERS)
    assert COMMIT in run.out


def test_a_checkpoint_has_the_scores_and_parsers_of_the_model_it_was_made_from(tmp_path: Path) -> None:
    catalog = load_catalog()
    base = catalog.find("Qwen/Qwen3-8B")[0]
    hub = hub_with()
    config = {**base.config, "quantization_config": AWQ}
    hub.files["acme/Qwen3-8B-W4"] = {"config.json": json.dumps(config).encode()}
    hub.cards["acme/Qwen3-8B-W4"] = {"tags": ["base_model:Qwen/Qwen3-8B", "base_model:quantized:Qwen/Qwen3-8B"]}
    with serving(hub):
        run = planner(tmp_path, "catalog", "show", "acme/Qwen3-8B-W4", "--json", HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    data = json.loads(run.out)
    assert data["tool_parser"] == base.tool_parser
    listed = json.loads(planner(tmp_path, "catalog", "show", "Qwen/Qwen3-8B", "--json").out)
    assert data["scores"] == listed["scores"] != []


def test_what_two_hubs_say_under_one_name_is_kept_apart(tmp_path: Path) -> None:
    larger = Hub(files={"acme/tiny": {"config.json": json.dumps({**CONFIG, "num_hidden_layers": 40}).encode()}})
    with serving(hub_with()) as hub, serving(larger):
        small, large = (
            json.loads(planner(tmp_path, "catalog", "show", "acme/tiny", "--json", HF_ENDPOINT=one.endpoint).out)
            for one in (hub, larger)
        )

    assert small["parameters"] == PARAMETERS < large["parameters"]


def test_a_kept_file_that_was_cut_is_looked_up_again(tmp_path: Path) -> None:
    with serving(hub_with()) as hub:
        first = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)
        (path,) = kept(tmp_path)
        whole = path.read_text()
        path.write_text(whole[: len(whole) // 2])
        again = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

    assert again.out == first.out
    assert path.read_text() == whole


@pytest.mark.parametrize("how", ["--offline", "HF_HUB_OFFLINE"])
def test_offline_nobody_is_asked(tmp_path: Path, how: str) -> None:
    with serving(hub_with()) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint} | ({how: "1"} if how.isupper() else {})
        options = (how,) if how.startswith("--") else ()
        run = planner(tmp_path, "estimate", "acme/tiny", "--gpu", "L4", *options, **environment)

    assert hub.requests == []
    refused(run, tmp_path, "unknown model 'acme/tiny'", "--offline")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token": "secret"}, ("no such repository", "HF_TOKEN")),
        ({"token": "secret", "gated": True}, ("is gated", "HF_TOKEN")),
        ({"files": {}}, ("no such repository", "did you mean")),
        ({"status": 401}, ("HF_TOKEN",)),
        ({"status": 429}, ("limits how often",)),
        ({"status": 500}, ("answered 500",)),
        ({"turn_in_circles": True}, ("cannot be reached", "--offline", "planner catalog add")),
        ({"wait_seconds": 6}, ("does not answer within", "--offline", "planner catalog add")),
        ({"files": {"acme/tiny": {"README.md": b"hello"}}}, ("has no config.json",)),
        ({"files": {"acme/tiny": {"model_index.json": b"{}"}}}, ("diffusion",)),
        ({"files": {"acme/tiny": {"config.json": b"{"}}}, ("not valid JSON",)),
    ],
    ids=["private", "gated", "404", "401", "429", "500", "circles", "slow", "no config", "diffusion", "broken"],
)
def test_what_stands_in_the_way_is_said_and_nothing_is_kept(
    tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    hub = hub_with()
    for key, value in change.items():
        setattr(hub, key, value)
    with serving(hub):
        run = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

    refused(run, tmp_path, *words)


def test_a_hub_that_is_down_is_named_with_the_place_in_the_fleet(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    with serving(hub_with()) as hub:
        pass
    run = planner(tmp_path, "solve", str(tmp_path / "fleet.yaml"), HF_ENDPOINT=hub.endpoint)

    refused(run, tmp_path, "fleet.yaml:6:13: roles.chat.models: unknown model", "cannot be reached", "--offline")
    assert not (tmp_path / "plan.yaml").exists()


def test_an_architecture_that_only_its_own_code_knows_is_refused_by_name(tmp_path: Path) -> None:
    config = {**CONFIG, "architectures": ["NovelForCausalLM"], "auto_map": {"AutoModelForCausalLM": "novel.Novel"}}
    with serving(hub_with(config__json=json.dumps(config).encode())) as hub:
        run = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

    refused(run, tmp_path, "NovelForCausalLM", "not supported")


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    hub = hub_with()
    hub.files["acme/tiny"]["model.safetensors"] = (1 << 62).to_bytes(8, "little") + b"{}"
    with serving(hub):
        run = estimated(tmp_path, "acme/tiny", HF_ENDPOINT=hub.endpoint)

    refused(run, tmp_path, "header", "cannot hold")


def test_many_shards_are_read_together(tmp_path: Path) -> None:
    names = sorted(tensors())
    hub = hub_with()
    del hub.files["acme/tiny"]["model.safetensors"]
    weight_map = {}
    for number, name in enumerate(names):
        file = f"model-{number:05}.safetensors"
        hub.files["acme/tiny"][file], hub.pad[file] = shard({name: tensors()[name]})
        weight_map[name] = file
    hub.files["acme/tiny"]["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    with serving(hub):
        run = planner(tmp_path, "catalog", "show", "acme/tiny", "--json", HF_ENDPOINT=hub.endpoint)

    assert run.code == 0, run.err
    assert json.loads(run.out)["variants"][0]["published_bytes"] == 2 * PARAMETERS


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("llama3.1:70b", "meta-llama/Llama-3.1-70B-Instruct"),
        ("qwen2.5-coder:32b-instruct-q4_K_M", "Qwen/Qwen2.5-Coder-32B-Instruct"),
        ("phi4:14b", "microsoft/phi-4"),
        ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "meta-llama/Llama-3.1-8B-Instruct"),
        ("hf.co/unsloth/Qwen3-32B-GGUF:Q4_K_M", "Qwen/Qwen3-32B"),
        ("Qwen3-32B-Q4_K_M.gguf", "Qwen/Qwen3-32B"),
    ],
)
def test_names_of_llama_cpp_lead_to_the_same_weights(name: str, first: str) -> None:
    assert is_gguf(name)
    assert same_weights(name, load_catalog().models)[0] == first


def test_a_gguf_name_is_answered_in_one_line(tmp_path: Path) -> None:
    run = planner(tmp_path, "estimate", "llama3.1:70b", "--gpu", "L4")

    refused(run, tmp_path, "that is a GGUF for llama.cpp", "the same weights for vLLM are", "AWQ")


def refused(run: Run, home: Path, *words: str) -> None:
    assert run.code == 1, run
    assert "Traceback" not in run.err
    assert all(word in run.err for word in words), run.err
    assert kept(home) == []
