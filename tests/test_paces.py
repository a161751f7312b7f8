"""Objectives that count speed: the most tokens, the shortest requests, the cheapest tokens."""

import functools
import itertools
import json
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner.check import check
from planner.errors import InputError
from planner.explain import headline
from planner.explain.words import stage_value
from planner.options.paces import LEFT_OUT, price_per_mtok, settled
from planner.options.replicas import Load
from planner.plan import GPU_HOURS, Plan
from planner.solve import solve

CHAT: dict[str, Any] = {
    "name": "chat",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "h100-sxm-80gb", "price_per_hour": 2.5},
    "roles": {
        "chat": {
            "task": "general",
            "models": ["Qwen/Qwen3-8B", "Qwen/Qwen3-8B-FP8"],
            "context": "4k",
            "concurrency": {"min": 2, "target": 24},
            "request": {"prompt_tokens": 1000, "output_tokens": 300},
        }
    },
}
SMALL = {"task": "general", "models": ["Qwen/Qwen3-0.6B"], "context": "2k", "optional": True,
         "request": {"prompt_tokens": 500, "output_tokens": 100}}  # fmt: skip
Edit = tuple[str, Any]


def document(*edits: Edit) -> dict[str, Any]:
    found = CHAT
    for path, value in edits:
        found = changed(found, path, value)
    return found


@functools.cache
def _solved(text: str) -> Plan:
    found = fleet(json.loads(text))
    answer = solve(found, catalog())
    assert isinstance(answer, Plan)
    assert check(answer, found, catalog()) == []
    return answer


def solved(objective: object, *edits: Edit) -> Plan:
    return _solved(json.dumps(document(("objective", objective), *edits)))


def first(plan: Plan) -> int:
    return plan.proof.stages[0].value


def request_us(plan: Plan) -> int:
    (server,) = plan.servers
    assert server.speed and server.speed.tpot_us and server.speed.ttft_us
    return server.speed.ttft_us.high + (server.output_tokens - 1) * server.speed.tpot_us.high


def output(plan: Plan) -> int:
    return sum(
        server.speed.output_millitokens_per_second.low
        for server in plan.servers
        if server.speed and server.speed.output_millitokens_per_second
    )


def test_what_is_counted_is_what_the_plan_says_of_its_speed() -> None:
    fast, short, cheap = (solved(name) for name in ("throughput", "latency", "cost_per_mtok"))

    assert first(fast) == output(fast)
    assert first(short) == -request_us(short)
    assert first(cheap) == -price_per_mtok(2_500_000, output(cheap))
    assert request_us(short) < request_us(fast)
    assert output(short) < output(fast)
    assert short.servers[0].max_num_seqs == 2, "the fewest that the role asks for"


@pytest.mark.parametrize("objective", ["throughput", "latency", "cost_per_mtok"])
@pytest.mark.parametrize("pin", [("schemes", ["bf16"]), ("kv_cache_dtype", "auto"), ("concurrency", 7)])
def test_no_pinned_plan_is_better(objective: str, pin: tuple[str, Any]) -> None:
    free, pinned = solved(objective), solved(objective, (f"roles.chat.{pin[0]}", pin[1]))

    assert first(pinned) <= first(free)


def test_two_cards_share_the_work_only_where_that_pays() -> None:
    two = [("gpu.count", 2), ("roles.chat.replicas", "auto")]
    wide, cheap = solved("throughput", *two), solved("cost_per_mtok", *two)

    assert sum(len(server.gpus) for server in wide.servers) == 2
    assert first(wide) > first(solved("throughput"))
    assert first(cheap) >= first(solved("cost_per_mtok"))


@pytest.mark.parametrize("objective", ["latency", "cost_per_mtok"])
def test_a_wish_for_speed_is_no_reason_for_no_plan(objective: str) -> None:
    """What is left of the card holds the least that is required with a smaller batch than the engine's own alone."""
    pool = ("gpu", {"name": "h100-sxm-80gb", "price_per_hour": 2.5, "memory_in_use": "61.25GiB"})
    models = ("roles.chat.models", ["Qwen/Qwen3-8B"]), ("roles.chat.schemes", ["bf16"])
    free, tight = solved(objective, *models), solved(objective, pool, *models)

    assert solved("balanced", pool, *models).servers
    assert tight.servers[0].max_num_batched_tokens < free.servers[0].max_num_batched_tokens
    assert first(tight) <= first(free)


def test_speed_breaks_ties_of_what_comes_before() -> None:
    exact = solved(["accuracy", "throughput"])
    loose = solved("accuracy")

    assert first(exact) == first(loose)
    assert output(exact) >= output(loose)


def test_an_optional_role_is_served_and_one_left_out_counts_an_hour() -> None:
    both = solved("latency", ("roles.small", SMALL))
    alone = solved("latency", ("roles.small", SMALL), ("roles.small.concurrency", 4000))

    assert {server.role for server in both.servers} == {"chat", "small"}
    assert [server.role for server in alone.servers] == ["chat"]
    assert first(alone) < -LEFT_OUT["latency"] < first(both)


def test_without_prices_tokens_cost_hours_of_gpus() -> None:
    edits = [("gpu.name", "RTX 5090"), ("gpu.price_per_hour", None)]
    plan = solved("cost_per_mtok", *edits)

    assert plan.title("cost_per_mtok") == GPU_HOURS
    assert stage_value(GPU_HOURS, first(plan)).endswith("GPU h/M tokens")
    assert [price.microdollars_per_gpu_hour for price in solved("cost_per_mtok").prices] == [2_500_000]


def test_servers_of_unknown_speed_come_last() -> None:
    plan = solved("throughput", ("gpu.name", "L40S"), ("gpu.count", 2))

    assert [server.tensor_parallel_size for server in plan.servers] == [1], "over PCIe nothing is said"
    assert "throughput" in headline(plan)


def test_a_proof_names_the_roles_of_whose_speed_nothing_is_said() -> None:
    plan = solved("cost_per_mtok", ("gpu.name", "T4"), ("roles.chat.models", ["Qwen/Qwen3-0.6B"]))

    assert headline(plan).startswith(
        "chat: proven best for cost_per_mtok as far as speed is known, of chat nothing is, on 1 × T4"
    )
    assert "as far as" not in headline(solved("cost_per_mtok"))


def test_the_check_recomputes_what_was_counted() -> None:
    for name in ("throughput", "latency", "cost_per_mtok"):
        plan = solved(name)
        stages = tuple(
            replace(stage, value=stage.value + 1, bound=stage.bound + 1) if stage.name == name else stage
            for stage in plan.proof.stages
        )
        forged = replace(plan, proof=replace(plan.proof, stages=stages))
        found = check(forged, fleet(document(("objective", name))), catalog())
        assert [str(violation) for violation in found] == [
            f"stage {name}: has the value {first(plan) + 1}, recomputed {first(plan)}"
        ]


def test_an_earlier_plan_stays_where_nothing_is_faster() -> None:
    found = fleet(document(("objective", "throughput")))
    before = solved("throughput")
    again = solve(found, catalog(), previous=before)

    assert isinstance(again, Plan)
    assert again.servers == before.servers
    assert check(again, found, catalog()) == []


def test_speed_is_not_counted_without_the_length_of_a_request() -> None:
    with pytest.raises(InputError) as caught:
        fleet(document(("objective", ["balanced", "throughput"]), ("roles.chat.request", None)))
    (problem,) = caught.value.problems

    assert problem.path == "roles.chat.request"
    assert "throughput" in problem.hint


def test_numbers_of_requests_grow_by_a_quarter_at_most() -> None:
    load = Load(replicas=2, least=3, most=500, served_base=0, served=10)
    found = list(settled([load]))
    counts = [one.least for one in found]

    assert (counts[0], counts[-1]) == (3, 500)
    assert all(one.least == one.most and one.served_base == 10 * one.least for one in found)
    assert all(later <= max(earlier + 1, earlier * 5 // 4) for earlier, later in itertools.pairwise(counts))
