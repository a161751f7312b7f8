"""What a role without ``models`` may be given from the shipped catalog."""

from pathlib import Path

import pytest

from planner.catalog import Catalog, load_catalog
from planner.errors import InputError
from planner.fleet import Role, load_fleet

FLEET = """
name: any
gpu: RTX PRO 6000 Blackwell Workstation
roles:
  work:
    task: {task}
    context: 8k
    {more}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def role(catalog: Catalog, folder: Path, task: str, more: str = "") -> Role:
    path = folder / "fleet.yaml"
    path.write_text(FLEET.format(task=task, more=more), encoding="utf-8")
    return load_fleet(path, catalog).role("work")


@pytest.mark.parametrize("task", ["code", "general", "reasoning", "chat", "math", "long-context", "agent", "embedding"])
def test_nobody_gets_by_surprise_what_cannot_answer_or_may_not_be_used(
    task: str, catalog: Catalog, tmp_path: Path
) -> None:
    try:
        models = role(catalog, tmp_path, task).models
    except InputError as error:
        assert "has no model for the task" in str(error)
        return

    assert models
    assert not [model.name for model in models if model.pretrained or model.non_commercial]


def test_all_round_models_are_candidates_for_a_chat_whether_scored_or_not(catalog: Catalog, tmp_path: Path) -> None:
    names = {model.name for model in role(catalog, tmp_path, "chat").models}

    assert {"Qwen3.5-9B", "gemma-4-31B-it"} <= names
    assert not {"Qwen3-30B-A3B-Thinking-2507", "Qwen2.5-Coder-32B-Instruct"} & names


def test_a_makers_own_checkpoint_goes_before_those_of_others_and_keeps_what_they_measured(
    catalog: Catalog, tmp_path: Path
) -> None:
    models = {model.name: model for model in role(catalog, tmp_path, "general").models}
    model = models["Qwen3.5-35B-A3B"]
    (own,) = [variant for variant in model.variants if variant.scheme_class == "fp8-w8a8"]
    whole = catalog.find(model.repository)[0]

    assert own.repository == "Qwen/Qwen3.5-35B-A3B-FP8"
    assert [variant.repository for variant in model.others] == ["RedHatAI/Qwen3.5-35B-A3B-FP8-dynamic"]
    assert catalog.accuracy.of(model, own, "general") == catalog.accuracy.of(whole, own, "general")
    assert catalog.accuracy.of(model, own, "general").label == "transferred"


@pytest.mark.parametrize("name", ["Qwen2.5-14B", "Codestral-22B-v0.1"])
def test_they_serve_when_they_are_named(name: str, catalog: Catalog, tmp_path: Path) -> None:
    assert [model.name for model in role(catalog, tmp_path, "code", f"models: {name}").models] == [name]


def test_a_figure_for_a_model_that_is_no_candidate_is_a_mistake(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Qwen2\.5-14B is not a candidate of this role\n  hint: name it under models"):
        role(catalog, tmp_path, "general", "accuracy: {figures: {Qwen2.5-14B: {score: 90}}}")


def test_the_catalog_says_which_models_are_only_pretrained(catalog: Catalog) -> None:
    names = {model.name for model in catalog.models if model.pretrained}

    assert {"Llama-3.1-8B", "Qwen2.5-7B", "Mistral-7B-v0.3", "starcoder2-15b"} <= names
    assert not [name for name in names if "instruct" in name.casefold() or "chat" in name.casefold()]
