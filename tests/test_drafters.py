"""EAGLE-3 heads: sized as published, planned beside their model, refused beside others."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import run, solved
from fleets import catalog, changed
from test_features import CHAT

from benchmarks.engine_oracle.drafts import LLAMA_HEAD, QWEN_HEAD
from planner.config_json import parse_config
from planner.engine.profile import load_profile
from planner.engine.speculation import Speculation
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization
from planner.memory.features import feature_reasons
from planner.memory.started import started
from planner.tensors.weights import Rank, parameter_bytes, rotary_bytes

FITTING = {**LLAMA_HEAD, "vocab_size": 151936, "intermediate_size": 12288}
"""A head of the shape that Qwen3-8B would have."""


def head_folder(folder: Path, config: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def test_a_head_has_the_parameters_that_are_published() -> None:
    """Those of RedHatAI/Qwen3-32B-speculator.eagle3, by the hub: 32,000 and 151,936 of them say what it drafts."""
    architecture, _ = parse_config(QWEN_HEAD, where="head")
    plain = parameter_bytes(architecture, Quantization(), Rank()) - rotary_bytes(architecture, Rank())

    assert (plain - 8 * 32_000) // 2 + 32_000 + 151_936 == 1_560_616_576
    assert architecture.target_hidden_size == 5120


def test_a_role_drafts_with_a_head_and_pays_for_it(tmp_path: Path) -> None:
    folder = head_folder(tmp_path / "head", FITTING)
    drafts = {"method": "eagle3", "tokens": 3, "model": folder}
    (without,) = solved(tmp_path / "without", CHAT).servers
    (server,) = solved(tmp_path / "with", changed(CHAT, "roles.chat.speculative", drafts)).servers
    architecture, _ = parse_config(FITTING, where="head")

    assert server.settings.speculative == Speculation(method="eagle3", tokens=3, model=folder)
    added = server.ledger.weights_bytes - without.ledger.weights_bytes
    assert added >= parameter_bytes(architecture, Quantization(), Rank())
    assert server.ledger.activation_bytes > without.ledger.activation_bytes
    assert f'"model":"{folder}"' in (tmp_path / "with" / "artifacts" / "launch.sh").read_text(encoding="utf-8")
    assert run("verify", str(tmp_path / "with"))[0] == 0


def test_a_head_alone_is_served_by_nobody(tmp_path: Path) -> None:
    config = {**FITTING, "max_position_embeddings": 32768}
    fleet = changed(CHAT, "roles.chat.models", [head_folder(tmp_path / "head", config)])
    (tmp_path / "fleet.yaml").write_text(
        json.dumps(changed(fleet, "roles.chat.schemes", ["bf16", "fp16"])), encoding="utf-8"
    )
    code, output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))

    assert code == 3
    assert "drafts tokens for another model" in output


def beside(model: str, version: str, method: str, config: dict[str, Any]) -> list[str]:
    """The rules by which an engine version refuses a model with a drafter."""
    profile, wanted = load_profile(version), Speculation(method=method, tokens=3, model="org/head")
    found, variant = catalog().find(model)
    plain, _ = parse_config(found.config_for(variant), where=model)
    drafter, _ = parse_config(config, where="head")
    built = started(plain, {"speculative": wanted}, profile, drafter)
    flags = {"speculative": wanted, "max_num_batched_tokens": 8192, "max_num_seqs": 8}
    return [one.rule for one in feature_reasons(built, _flags(flags), profile)]


def _flags(given: dict[str, Any]) -> Any:  # noqa: ANN401 - the few flags that are asked
    plain = {"max_loras": 0, "pipeline_parallel_size": 1, "max_lora_rank": 0}
    return SimpleNamespace(**plain, **given)


@pytest.mark.parametrize(
    ("rules", "model", "version", "method", "config"),
    [
        ([], "Qwen3-8B", "0.33.0", "eagle3", FITTING),
        ([], "meta-llama/Llama-3.1-8B-Instruct", "0.19.0", "eagle3", LLAMA_HEAD),
        (["drafts-vocabulary"], "Qwen3-8B", "0.33.0", "eagle3", LLAMA_HEAD),
        (["drafts-states"], "Qwen3-32B", "0.33.0", "eagle3", FITTING),
        (["drafts-model"], "Qwen3-8B", "0.33.0", "draft_model", FITTING),
        (["drafts-model"], "Qwen3-8B", "0.33.0", "eagle3", dict(catalog().find("Qwen3-0.6B")[0].config)),
        # Its class gives its states, but until 0.21 the model type had to be on a list too.
        (["drafts-class"], "mistralai/Mistral-7B-Instruct-v0.3", "0.19.0", "eagle3", {**FITTING, "vocab_size": 32768}),
        ([], "mistralai/Mistral-7B-Instruct-v0.3", "0.33.0", "eagle3", {**FITTING, "vocab_size": 32768}),
    ],
)
def test_a_head_goes_with_its_model_alone(
    rules: list[str], model: str, version: str, method: str, config: dict[str, Any]
) -> None:
    assert beside(model, version, method, config) == rules


def test_heads_of_other_layers_are_refused_by_name() -> None:
    other = {**QWEN_HEAD, "transformer_layer_config": {**QWEN_HEAD["transformer_layer_config"], "model_type": "phi3"}}  # type: ignore[dict-item]

    with pytest.raises(UnsupportedModel, match="layers of phi3"):
        parse_config(other, where="head")
    with pytest.raises(UnsupportedModel, match="draft model Eagle3DeepseekV2ForCausalLM"):
        parse_config({**LLAMA_HEAD, "architectures": ["Eagle3DeepseekV2ForCausalLM"]}, where="head")
