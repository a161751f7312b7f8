"""Where the time of a role goes, and what one step up in GPU, in GPUs per server or in scheme buys."""

import functools
import json
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from test_paces import CHAT

from planner.explain.account_text import account as told
from planner.plain_data import as_dict
from planner.plan import Plan
from planner.plan.account import Account, RoleSpeed
from planner.solve import solve
from planner.solve.account import account

BF16 = changed(changed(CHAT, "gpu.count", 2), "roles.chat.schemes", ["bf16", "fp8"])
RANKS = changed(changed(BF16, "roles.chat.models", ["Qwen/Qwen3-30B-A3B"]), "roles.chat.data_parallel", 2)


@functools.cache
def _explained(text: str) -> Account:
    found = account(fleet(json.loads(text)), catalog())
    assert isinstance(found, Account)
    return found


def explained(document: dict[str, Any]) -> tuple[Account, RoleSpeed]:
    found = _explained(json.dumps(document))
    (speed,) = found.speeds
    return found, speed


@pytest.mark.parametrize("document", [BF16, RANKS], ids=["one rank", "ranks of data parallelism"])
def test_the_parts_of_a_token_are_all_of_it(document: dict[str, Any]) -> None:
    found, speed = explained(document)
    (server,) = found.plan.servers
    assert server.speed and server.speed.tpot_us and server.speed.ttft_us

    assert abs(speed.parts.token_us - server.speed.tpot_us.value) <= 6, "six parts, each rounded"
    assert abs(speed.parts.own_prompt_us + speed.parts.waiting_us - server.speed.ttft_us.value) <= 2
    assert speed.parts.binds in told(found)


def test_what_binds_changes_with_the_load() -> None:
    one = explained(changed(BF16, "roles.chat.concurrency", 1))[1].parts
    many = explained(changed(BF16, "roles.chat.concurrency", 24))[1].parts

    assert (one.binds, one.first_binds, one.waiting_us) == ("bandwidth", "its own prompt", 0)
    assert many.first_binds == "the queue"
    assert many.prompts_us > one.prompts_us == 0


def test_every_step_up_is_what_a_plan_with_it_has() -> None:
    found, speed = explained(changed(BF16, "roles.chat.tensor_parallel", [1, 2]))
    steps = {step.what: step for step in speed.steps}
    (server,) = found.plan.servers
    assert server.speed and server.speed.tpot_us

    assert set(steps) >= {"gpu", "tensor_parallel"}
    assert steps["tensor_parallel"].tpot_us < server.speed.tpot_us.value
    pinned = changed(changed(BF16, "roles.chat.tensor_parallel", 2), "roles.chat.variant", server.repository)
    wide = solve(fleet(pinned), catalog())
    assert isinstance(wide, Plan)
    (other,) = wide.servers
    assert other.speed and other.speed.tpot_us
    assert other.max_num_seqs == server.max_num_seqs
    assert other.speed.tpot_us.value == steps["tensor_parallel"].tpot_us
    assert f"split over 2 GPUs instead of 1 it would write {1e6 / other.speed.tpot_us.value:.1f} tokens/s" in told(
        found
    )


def test_a_gpu_of_more_bandwidth_is_named_where_the_role_is_faster_on_it() -> None:
    """One with a little more may multiply slower, or have no products of the scheme."""
    found, speed = explained(changed(changed(CHAT, "gpu", "L40S"), "roles.chat.models", ["Qwen/Qwen3-8B-FP8"]))
    (step,) = [step for step in speed.steps if step.what == "gpu"]
    (server,) = found.plan.servers
    assert server.speed and server.speed.output_millitokens_per_second

    assert step.output_millitokens_per_second > server.speed.output_millitokens_per_second.value


def test_a_role_without_the_length_of_a_request_has_none() -> None:
    found = _explained(json.dumps(changed(CHAT, "roles.chat.request", None)))

    assert found.speeds == ()
    assert "a token takes" not in told(found)
    assert as_dict(found)["speeds"] == ()
