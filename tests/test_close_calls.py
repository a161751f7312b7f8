"""Close calls: who leads by less than the error of a score, and who would be chosen instead."""

from typing import Any

import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner.catalog import Catalog, load_catalog
from planner.engine.profile import load_profile
from planner.explain import reasons
from planner.explain.account_text import account as told
from planner.facts.accuracy import score_error
from planner.options import prepare
from planner.options.limits import parser_refusal
from planner.plan import Plan
from planner.plan.account import Account
from planner.solve import solve
from planner.solve.account import account

NEAR: dict[str, Any] = {
    "name": "near",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": "H100 SXM 80GB",
    "roles": {
        "general": {
            "task": "general",
            "models": ["Qwen/Qwen3.5-35B-A3B-FP8", "Qwen/Qwen3.6-27B-FP8", "Qwen/Qwen3.5-4B"],
            "context": "8k",
            "concurrency": {"min": 4, "target": 16},
        }
    },
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    answer = solve(fleet(NEAR), catalog())
    assert isinstance(answer, Plan)
    return answer


def test_who_leads_by_less_than_the_error_is_named_with_who_would_come_instead(plan: Plan) -> None:
    (server,), (call,) = plan.servers, plan.close_calls
    scores: dict[str, int | None] = {"Qwen/Qwen3.6-27B-FP8": None, "Qwen/Qwen3.5-35B-A3B-FP8": None}
    for name in scores:
        other = solve(fleet(changed(NEAR, "roles.general.models", [name, "Qwen/Qwen3.5-4B"])), catalog())
        assert isinstance(other, Plan)
        scores[name] = other.servers[0].accuracy.score

    assert {server.repository, call.repository} == set(scores)
    assert call.lead == (scores[server.repository] or 0) - (scores[call.repository] or 0)
    assert (call.scale, call.error, call.requests) == ("mmlu-pro", 100, 16)
    assert abs(call.lead) < call.error
    assert f"general: {call.repository} has {abs(call.lead) / 100:.1f} points" in reasons(plan)
    assert (
        "on mmlu-pro, within the error of such a score, ±1.0; with it the role would have 16 requests too"
        in reasons(plan)
    )


def test_a_clear_lead_and_checkpoints_of_one_model_are_no_close_calls() -> None:
    for models in (["Qwen/Qwen3.6-27B-FP8", "Qwen/Qwen3.5-4B"], ["Qwen/Qwen3.6-27B-FP8", "Qwen/Qwen3.6-27B"]):
        answer = solve(fleet(changed(NEAR, "roles.general.models", models)), catalog())
        assert isinstance(answer, Plan)
        assert answer.close_calls == ()


def test_explain_says_it_too(plan: Plan) -> None:
    answer = account(fleet(NEAR), catalog())
    assert isinstance(answer, Account)

    assert answer.plan == replace(plan, runner_up=None)
    assert f"close call: {plan.close_calls[0].repository} has " in told(answer)


def test_fewer_questions_are_a_larger_error() -> None:
    assert score_error(5000, 198) == 355, "the square root of 0.25 / 198 is 3.55 %"
    assert score_error(9700, 500) == 100, "never less than a point"
    assert score_error(5000, None) == 100


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


def test_an_engine_that_cannot_parse_a_models_thoughts_or_calls_is_not_given_it(shipped: Catalog) -> None:
    old, new = load_profile("0.8.5"), load_profile("0.33.0")
    qwen, llama = shipped.find("Qwen3-4B")[0], shipped.find("Llama-3.3-70B-Instruct")[0]

    assert parser_refusal(qwen, "chat", old) == (
        "vLLM 0.8.5 has no --reasoning-parser qwen3, and the role names no models"
    )
    assert parser_refusal(qwen, "chat", new) == parser_refusal(llama, "agent", old) == ""
    lacking = replace(qwen, reasoning_parser="none_such")
    for named, count in ((True, 0), (False, 1)):
        role = fleet(changed(NEAR, "roles.general.models", ["Qwen/Qwen3-4B"])).roles[0]
        role = replace(role, named=named, models=(replace(lacking, variants=lacking.variants[:1]),))
        found = replace(fleet(NEAR), roles=(role,))
        refused = prepare(found, shipped, load_profile("0.11.0")).roles[0].rejections
        assert len([item for item in refused if "no --reasoning-parser none_such" in item.detail]) == count


def test_figures_of_your_own_decide_who_would_come_instead() -> None:
    scores = {"Llama-3.1-8B-Instruct": 60.5, "Llama-3.2-3B-Instruct": 60, "Qwen2.5-1.5B-Instruct": 60.4}
    figures = {name: {"score": score, "source": "us"} for name, score in scores.items()}
    role = {"task": "general", "models": list(scores), "schemes": "bf16", "context": "2k"}
    answer = solve(
        fleet({"name": "own", "gpu": "L40S", "roles": {"chat": {**role, "accuracy": {"figures": figures}}}}), catalog()
    )

    assert isinstance(answer, Plan)
    (call,) = answer.close_calls
    assert (call.repository, call.lead) == ("Qwen/Qwen2.5-1.5B-Instruct", 10)


def test_other_roles_may_have_less_with_who_would_come_instead() -> None:
    """The first role's smaller options were beaten by another checkpoint, which it does not take here."""
    roles: dict[str, Any] = {
        "first": {
            "task": "general",
            "models": ["Llama-3.2-3B-Instruct", "Qwen2.5-1.5B-Instruct"],
            "schemes": ["fp8", "w8a8-int8"],
            "context": {"min": "4k", "wish": "6k"},
            "concurrency": {"min": 1, "target": 6},
            "request": {"prompt_tokens": 1500, "output_tokens": 500},
            "pipeline_parallel": 2,
        },
        "second": {
            "task": "chat",
            "models": ["Llama-3.2-3B-Instruct", "Qwen2.5-7B-Instruct", "gemma-2-9b-it"],
            "schemes": ["awq-int4", "bf16", "fp8", "gptq-int8"],
            "context": "4k",
            "concurrency": {"min": 3, "target": 5},
            "weight": 2,
            "tensor_parallel": 1,
            "pipeline_parallel": 1,
        },
    }
    answer = solve(fleet({"name": "less", "gpu": {"name": "RTX 4060 Ti 16GB", "count": 2}, "roles": roles}), catalog())

    assert isinstance(answer, Plan)
    (call,) = answer.close_calls
    assert (call.role, call.repository, call.requests) == ("second", "RedHatAI/Qwen2.5-7B-Instruct-FP8-dynamic", 3)
