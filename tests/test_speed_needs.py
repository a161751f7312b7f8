"""Speed as a requirement of a role: what a plan then has, why there may be none, and what would help."""

import functools
import json
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner import explain
from planner.check import check
from planner.errors import InputError
from planner.plan import NoPlan, Plan
from planner.solve import solve

CHAT: dict[str, Any] = {
    "name": "chat",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "h100-sxm-80gb"},
    "roles": {
        "chat": {
            "task": "general",
            "models": ["Qwen/Qwen3-32B-FP8"],
            "context": "4k",
            "concurrency": {"min": 1, "target": 64},
            "request": {"prompt_tokens": 2000, "output_tokens": 500},
        }
    },
}


def _solved(*edits: tuple[str, Any]) -> Plan | NoPlan:
    document = CHAT
    for path, value in edits:
        document = changed(document, path, value)
    return _solved_once(json.dumps(document))


@functools.cache
def _solved_once(text: str) -> Plan | NoPlan:
    return solve(fleet(json.loads(text)), catalog())


def plan(*edits: tuple[str, Any]) -> Plan:
    found = _solved(*edits)
    assert isinstance(found, Plan), explain.no_plan(found)
    return found


def no_plan(*edits: tuple[str, Any]) -> tuple[NoPlan, str]:
    found = _solved(*edits)
    assert isinstance(found, NoPlan)
    return found, explain.no_plan(found)


def test_a_limit_on_time_is_a_limit_on_requests_at_once() -> None:
    free, held = plan(), plan(("roles.chat.speed.tpot", "30ms"))
    (server,) = held.servers

    assert free.servers[0].max_num_seqs == 64
    assert 1 <= server.max_num_seqs < 64
    assert server.speed and server.speed.tpot_us and server.speed.tpot_us.high <= 30_000
    (binding,) = [found for found in held.bindings if found.what == "concurrency"]
    assert binding.limit == "speed"


def test_a_higher_percentile_leaves_fewer_requests() -> None:
    half, most = (
        plan(("roles.chat.speed.ttft", "3s"), ("roles.chat.speed.percentile", share)).servers[0].max_num_seqs
        for share in (50, 99)
    )

    assert most < half


def test_a_cached_prompt_leaves_room_for_more() -> None:
    cold = plan(("roles.chat.speed.ttft", "1s")).servers[0].max_num_seqs
    warm = plan(("roles.chat.speed.ttft", "1s"), ("roles.chat.cached_prompt", 0.6)).servers[0].max_num_seqs

    assert warm > cold


def test_a_rate_is_kept_up_with_and_users_are_one() -> None:
    kept = plan(("roles.chat.rate", "1/s"))
    (server,) = kept.servers

    assert server.speed and server.speed.output_millitokens_per_second
    assert server.speed.output_millitokens_per_second.low >= 1000 * 500
    users = plan(("roles.chat.users", {"count": 30, "think_time": "30s"}))
    assert users.servers[0].max_num_seqs == server.max_num_seqs


def test_the_check_finds_a_server_that_is_too_slow_or_cannot_keep_up() -> None:
    free = plan()
    for path, value, text in (
        ("roles.chat.speed.tpot", "20ms", "slower than speed.tpot"),
        ("roles.chat.rate", "9/s", "requests/s of 9"),
    ):
        stricter = fleet(changed(CHAT, path, value))
        same = replace(free.lock, fleet_sha256=stricter.source_sha256)
        found = check(replace(free, lock=same), stricter, catalog(), objective=False)
        assert any(text in str(violation) for violation in found)


def test_the_time_that_nothing_meets_is_named_with_its_cause_and_the_nearest_that_can_be_met() -> None:
    found, text = no_plan(("roles.chat.speed.tpot", "5ms"))

    assert "speed.tpot is 5ms" in text
    assert "most of it reading weights" in text
    (conflict,) = found.conflicts
    assert {item.path for item in conflict.requirements} == {"roles.chat", "roles.chat.speed.tpot"}
    (hint,) = [change for change in found.changes if change.path == "roles.chat.speed.tpot"]
    assert isinstance(_solved(("roles.chat.speed.tpot", hint.after)), Plan)


def test_the_rate_that_nothing_keeps_up_with_is_named_with_what_would_help() -> None:
    found, text = no_plan(("roles.chat.rate", "4/s"))
    hints = {change.path: change.after for change in found.changes}

    assert "the rate is 4/s" in text
    assert "keeps up with" in text
    assert "of more requests at once nothing is said: bound by prompts, which take" in text
    assert isinstance(_solved(("roles.chat.rate", hints["roles.chat.rate"])), Plan)
    assert isinstance(_solved(("roles.chat.rate", "4/s"), ("gpu.count", int(hints["gpu.count"]))), Plan)


def test_a_rate_that_no_such_cluster_serves_and_a_time_below_the_floor_have_a_nearest_one() -> None:
    for path, field, value in (("rate", "rate", "5000/s"), ("speed.tpot", "speed.tpot", "100us")):
        found, _ = no_plan((f"roles.chat.{path}", value))
        (hint,) = [change for change in found.changes if change.path == f"roles.chat.{field}"]
        assert isinstance(_solved((f"roles.chat.{path}", hint.after)), Plan)


def test_users_beyond_what_can_be_served_are_told_how_many_can() -> None:
    found, text = no_plan(("roles.chat.users", {"count": 4000, "think_time": "30s"}))
    (hint,) = [change for change in found.changes if change.path == "roles.chat.users.count"]
    more = int(int(hint.after) * 1.06) + 1

    assert "roles.chat.users.count: 4000" in text
    assert isinstance(_solved(("roles.chat.users", {"count": int(hint.after), "think_time": "30s"})), Plan)
    assert isinstance(_solved(("roles.chat.users", {"count": more, "think_time": "30s"})), NoPlan)


def test_replicas_share_a_rate() -> None:
    found, _ = no_plan(("roles.chat.rate", "3/s"), ("gpu.count", 4), ("roles.chat.tensor_parallel", 1))
    (hint,) = [change for change in found.changes if change.path == "roles.chat.replicas"]

    kept = plan(
        ("roles.chat.rate", "3/s"),
        ("gpu.count", 4),
        ("roles.chat.tensor_parallel", 1),
        ("roles.chat.replicas", int(hint.after)),
    )
    assert len({server.gpu_indices for server in kept.servers}) == int(hint.after)


def test_speed_that_nothing_is_known_of_is_no_plan() -> None:
    one_stage = ("roles.chat.pipeline_parallel", 1)
    _, text = no_plan(("gpu.name", "RTX 4090"), ("gpu.count", 4), one_stage, ("roles.chat.speed.tpot", "1s"))

    assert "nothing is said of it" in text
    assert "peer-to-peer" in text


def test_a_neighbour_on_the_gpu_counts_as_far_as_it_is_busy() -> None:
    small = {
        "task": "general", "models": ["Qwen/Qwen3-0.6B"], "context": "4k",
        "request": {"prompt_tokens": 500, "output_tokens": 100},
    }  # fmt: skip
    alone = plan(("roles.chat.speed.tpot", "40ms")).servers[0].max_num_seqs
    busy = [
        plan(("roles.chat.speed.tpot", "40ms"), ("roles.small", small), ("roles.small.busy", share))
        for share in (0.1, 0.5)
    ]
    beside, crowded = (found.server("chat") for found in busy)

    assert alone > beside.max_num_seqs > crowded.max_num_seqs
    assert beside.speed and crowded.speed
    assert (beside.speed.busy_permille, crowded.speed.busy_permille) == (1100, 1500)


@pytest.mark.parametrize(
    ("edits", "where"),
    [
        ([("roles.chat.speed.tpot", "0ms")], "roles.chat.speed.tpot"),
        ([("roles.chat.speed.tpot", 50)], "roles.chat.speed.tpot"),
        ([("roles.chat.speed.tpot", "-5ms")], "roles.chat.speed.tpot"),
        ([("roles.chat.speed.percentile", 95)], "roles.chat.speed.percentile"),
        ([("roles.chat.rate", "0/s")], "roles.chat.rate"),
        ([("roles.chat.rate", "-1/s")], "roles.chat.rate"),
        ([("roles.chat.rate", 3)], "roles.chat.rate"),
        ([("roles.chat.cached_prompt", 60)], "roles.chat.cached_prompt"),
        ([("roles.chat.busy", -0.1)], "roles.chat.busy"),
        ([("roles.chat.users", {"count": 5})], "roles.chat.users.think_time"),
        ([("roles.chat.rate", "3/s"), ("roles.chat.users", {"count": 5, "think_time": "9s"})], "roles.chat.users"),
        ([("roles.chat.rate", "3/s"), ("roles.chat.request", None)], "roles.chat.rate"),
    ],
)
def test_speeds_that_make_no_sense_are_refused_where_they_stand(edits: list[tuple[str, Any]], where: str) -> None:
    document = CHAT
    for path, value in edits:
        document = changed(document, path, value)

    with pytest.raises(InputError) as caught:
        fleet(document)
    assert [problem.path for problem in caught.value.problems] == [where]


def test_a_rate_has_the_requests_at_once_that_it_needs_whatever_the_target() -> None:
    """The target is a wish: what is beyond it counts for nothing, and no request more than the rate needs is there."""
    rate = ("roles.chat.rate", "120/min")
    wide, narrow = plan(rate), plan(rate, ("roles.chat.concurrency", 1))
    (server,) = narrow.servers

    assert server.max_num_seqs > 1
    assert server.speed and server.speed.output_millitokens_per_second
    assert server.speed.output_millitokens_per_second.low >= 2 * 500 * 1000
    assert narrow.proof.proven
    assert wide.servers[0].max_num_seqs >= server.max_num_seqs
    assert not check(narrow, fleet(changed(changed(CHAT, *rate), "roles.chat.concurrency", 1)), catalog())
