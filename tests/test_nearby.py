"""The nearest alternatives of ``planner explain``: which they are, and that solving them says the same."""

from typing import Any

import pytest
from fleets import catalog, changed, fleet

from planner.explain.account_text import account as told
from planner.explain.nearby_text import nearby_lines
from planner.plan import Plan
from planner.plan.account import Account
from planner.plan.nearby import HEAVIER, LARGER, LIGHTER, MORE_GPUS, OFFICIAL, SMALLER, Nearby
from planner.solve import solve
from planner.solve.account import account

CODER: dict[str, Any] = {
    "name": "desk",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": "L40S",
    "roles": {
        "coder": {
            "task": "code",
            "models": ["Qwen/Qwen2.5-Coder-14B-Instruct"],
            "variant": "Qwen/Qwen2.5-Coder-14B-Instruct-GPTQ-Int8",
            "context": "16k",
            "concurrency": {"min": 1, "target": 16},
            "request": {"prompt_tokens": 500, "output_tokens": 1000},
        }
    },
}


@pytest.fixture(scope="module")
def found() -> Account:
    answer = account(fleet(CODER), catalog())
    assert isinstance(answer, Account)
    return answer


def of(answer: Account, kind: str) -> Nearby:
    (item,) = [item for item in answer.nearby if item.kind == kind]
    return item


def served(plan: Plan) -> tuple[int, float, float]:
    """Return the requests, the tokens per second of one of them, and the dollars per hour of a plan with one role."""
    (server,) = plan.servers
    assert server.speed and server.speed.tpot_us and plan.price
    return server.requests, 1e6 / server.speed.tpot_us.value, plan.price.per_hour


def test_they_are_what_a_person_has_in_mind(found: Account) -> None:
    assert [(item.kind, item.wanted) for item in found.nearby] == [
        (LIGHTER, "4 bits"),
        (HEAVIER, "16 bits"),
        (SMALLER, "Qwen2.5-Coder-7B-Instruct"),
        (LARGER, "Qwen2.5-Coder-32B-Instruct"),
        (MORE_GPUS, "2 × L40S"),
    ]
    assert of(found, HEAVIER).repository == "Qwen/Qwen2.5-Coder-14B-Instruct"


@pytest.mark.parametrize("kind", [LIGHTER, HEAVIER, SMALLER, LARGER])
def test_solving_the_fleet_with_one_says_the_same(found: Account, kind: str) -> None:
    item = of(found, kind)
    other = changed(CODER, "roles.coder", {**CODER["roles"]["coder"], "variant": item.repository})
    plan = solve(fleet(changed(other, "roles.coder.models", [item.repository])), catalog())

    assert isinstance(plan, Plan)
    assert item.change
    now, then = served(found.plan), served(plan)
    assert (item.requests, item.change.requests) == (then[0], then[0] - now[0])
    assert item.change.millitokens_per_second == pytest.approx(1000 * (then[1] - now[1]), abs=1)
    assert item.change.microdollars_per_hour == 0
    assert plan.servers[0].accuracy.score is not None
    assert found.plan.servers[0].accuracy.score is not None
    assert item.change.scale == "bigcodebench"
    assert item.change.accuracy == plan.servers[0].accuracy.score - found.plan.servers[0].accuracy.score


def test_more_gpus_cost_what_such_an_instance_does(found: Account) -> None:
    item, two = of(found, MORE_GPUS), fleet(changed(CODER, "gpu", {"name": "L40S", "count": 2}))
    price = two.pools[0].microdollars_per_hour

    assert item.change
    assert found.plan.price
    assert price
    assert item.price_basis == two.pools[0].price_source
    assert item.change.microdollars_per_hour == price - round(found.plan.price.per_hour * 1_000_000)
    assert item.change.gpus == 0, "all requests fit one of the two, but the instance is paid whole"


def test_one_that_does_not_fit_says_why() -> None:
    answer = account(fleet(changed(CODER, "gpu", {"name": "RTX 4090"})), catalog())
    assert isinstance(answer, Account)
    item = of(answer, LARGER)
    (line,) = [line for line in nearby_lines(answer.nearby, paced=True) if "next size up" in line]

    assert (item.change, item.found, item.rejection and item.rejection.reason) == (None, True, "memory")
    assert line.startswith("  next size up, Qwen2.5-Coder-32B-Instruct: no plan; too large for the GPUs: ")
    assert line.endswith(" GiB of the 23.52 GiB of a GPU")


def test_another_publisher_has_the_makers_own_beside_it() -> None:
    name = "RedHatAI/Qwen2.5-7B-Instruct-quantized.w8a8"
    role = {"task": "general", "models": [name], "context": "4k"}
    answer = account(fleet(changed(CODER, "roles", {"chat": role})), catalog())
    assert isinstance(answer, Account)
    item = of(answer, OFFICIAL)

    assert item.wanted == "by Qwen"
    assert item.repository.startswith("Qwen/Qwen2.5-7B-Instruct")


def test_each_is_told_in_one_line(found: Account) -> None:
    lines = [line for line in told(found).splitlines() if line.startswith("    ")][-len(found.nearby) :]

    assert [line.split(", ")[0].strip() for line in lines] == [
        "in 4 bits", "in 16 bits", "next size down", "next size up", "more GPUs"
    ]  # fmt: skip
    assert all(" points on bigcodebench, " in line and " tokens/s each, the same price" in line for line in lines[:4])
    assert "2 × L40S, with " in lines[4]
    assert "+2.71 $/h (nebius gpu-l40s-d_2gpu-64vcpu-384gb, on demand in eu-north1, undated)" in lines[4]
