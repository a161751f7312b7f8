"""The settings of LiteLLM: known to its own parser, true to the plan, without a secret."""

import json
from pathlib import Path
from typing import Any

import parsed
import plans
import pytest
from hypothesis import given, settings
from test_artifacts import NAMES, PLANS

from planner.artifacts import render
from planner.artifacts.context import build_context
from planner.plan import Plan

KNOWN = json.loads((Path(__file__).parent / "data" / "litellm-settings.json").read_text(encoding="utf-8"))


def read(plan: Plan, name: str = "config.yaml") -> dict[str, Any]:
    document: dict[str, Any] = parsed.one(render(plan, targets=("litellm",))[f"litellm/{name}"].text)
    return document


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", ["config.yaml", "config-compose.yaml"])
def test_every_setting_is_one_that_litellm_knows(plan: Plan, name: str) -> None:
    """LiteLLM itself ignores a setting that it does not know."""
    config = read(plan, name)

    assert config.keys() <= set(KNOWN["ConfigYAML"])
    for section in ("router_settings", "litellm_settings", "general_settings"):
        assert config[section].keys() <= set(KNOWN[section]), section
    assert config["router_settings"]["routing_strategy"] in KNOWN["routing_strategy"]
    for deployment in config["model_list"]:
        assert deployment.keys() == {"model_name", "litellm_params", "model_info"}
        assert deployment["litellm_params"].keys() <= set(KNOWN["litellm_params"])
        # Beyond its own fields model_info takes those of the price list; "mode" chooses the endpoint of a health check.
        assert deployment["model_info"].keys() - {"mode", "max_input_tokens"} <= set(KNOWN["model_info"])


def test_the_version_is_the_one_whose_settings_are_recorded() -> None:
    built = build_context(plans.two_roles())
    run = (Path(__file__).parent / "e2e" / "run").read_text(encoding="utf-8")

    assert built.litellm.version == KNOWN["version"]
    assert f"litellm_version={KNOWN['version']}\n" in run
    assert (
        f"litellm:main-v{KNOWN['version']}}}"
        in render(plans.two_roles(), targets=("litellm",))["litellm/compose.yaml"].text
    )


def test_every_replica_is_a_deployment_of_its_role() -> None:
    found = [
        (one["model_name"], one["litellm_params"]["api_base"], one["model_info"]["id"], one["model_info"]["mode"])
        for one in read(plans.many_roles())["model_list"]
    ]

    assert found == [
        ("big", "http://127.0.0.1:8001/v1", "big", "chat"),
        ("embed", "http://127.0.0.1:8002/v1", "embed", "embedding"),
        ("chat", "http://127.0.0.1:8003/v1", "chat-1", "chat"),
        ("chat", "http://127.0.0.1:8004/v1", "chat-2", "chat"),
    ]


def test_the_key_is_only_ever_named() -> None:
    config = read(plans.two_roles())

    assert config["general_settings"] == {"master_key": "os.environ/VLLM_API_KEY"}
    assert {one["litellm_params"]["api_key"] for one in config["model_list"]} == {"os.environ/VLLM_API_KEY"}


def test_in_compose_only_the_router_is_published() -> None:
    files = render(plans.two_roles(), targets=("compose", "litellm"))
    base, over = (parsed.one(files[path].text) for path in ("compose.yaml", "litellm/compose.yaml"))
    overlay = over["services"]
    hosts = {one["litellm_params"]["api_base"] for one in read(plans.two_roles(), "config-compose.yaml")["model_list"]}

    assert hosts == {"http://coder:8001/v1", "http://general:8002/v1"}
    assert "ports" not in overlay["litellm"]
    assert overlay["router"]["command"][-1].endswith("/litellm-compose.cfg")
    assert "server litellm litellm:4000\n" in files["router/litellm-compose.cfg"].text
    assert base["name"] == over["name"]
    assert base["services"].keys() >= overlay.keys() - {"litellm"}


def test_a_role_called_litellm_keeps_its_name() -> None:
    files = render(plans.plan(plans.server("litellm", port=4000)), targets=("compose", "litellm"))

    assert set(parsed.one(files["litellm/compose.yaml"].text)["services"]) == {"litellm_", "router"}
    assert "server litellm litellm_:4001\n" in files["router/litellm-compose.cfg"].text


@settings(max_examples=50, deadline=None)
@given(role=NAMES)
def test_any_name_is_a_plain_value(role: str) -> None:
    (deployment,) = read(plans.plan(plans.server("one", role=role)))["model_list"]

    assert deployment["model_name"] == role
    assert deployment["litellm_params"]["model"] == f"hosted_vllm/{role}"
