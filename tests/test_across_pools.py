"""Servers of one role in several pools: each pool with settings of its own, and one role to clients."""

from collections import Counter
from pathlib import Path
from typing import Any

import plans
import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from benchmarks.second_opinion.__main__ import compare_across
from planner.artifacts import render
from planner.artifacts.read_routes import wrong_routes
from planner.check import check
from planner.conflict.sizing import Sizing
from planner.engine.profile import load_profile
from planner.explain import difference, no_plan
from planner.fleet import Fleet
from planner.plan import NoPlan, Plan, differences
from planner.search.problem import Candidate, PoolProblem, Problem, RoleProblem, Team
from planner.search.teams import sound, wasted
from planner.solve.frontier import Unlike, pareto
from planner.solve.whole import Solved, whole

MIXED: dict[str, Any] = {
    "name": "mixed",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "nodes": {"big": {"gpu": "L40S"}, "small": {"gpu": "RTX 4090"}},
    "roles": {
        "chat": {
            "task": "general",
            "models": ["Qwen2.5-7B-Instruct"],
            "schemes": ["bf16"],
            "context": {"min": "32k"},
            "concurrency": {"min": 1, "target": 40},
            "replicas": "auto",
            "across_pools": True,
        }
    },
}
"""One card holds fifteen requests of this length, the other one three."""


def solved(document: dict[str, Any]) -> tuple[Fleet, Plan]:
    read = fleet(document)
    found = whole(read, catalog(), 60)
    assert isinstance(found, Solved)
    return read, found.plan


@pytest.fixture(scope="module")
def mixed() -> tuple[Fleet, Plan]:
    return solved(MIXED)


def requests(plan: Plan) -> int:
    return sum(server.requests for server in plan.servers)


def test_each_pool_has_settings_of_its_own(mixed: tuple[Fleet, Plan]) -> None:
    read, plan = mixed
    _, in_one = solved(changed(MIXED, "roles.chat.across_pools", None))
    big, small = plan.servers

    assert (big.node, small.node) == ("big", "small")
    assert big.max_num_seqs > small.max_num_seqs
    assert (big.repository, big.max_model_len) == (small.repository, small.max_model_len)
    assert requests(plan) > requests(in_one)
    assert plan.proof.proven
    assert check(plan, read, catalog()) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("max_model_len", 9216, "differs from chat-1 in more than what servers in different pools may"),
        ("concurrency_request", 1, "promises 1 requests"),
        ("max_num_seqs", 1, "the KV cache"),
    ],
)
def test_the_check_compares_what_clients_see(
    mixed: tuple[Fleet, Plan],
    field: str,
    value: Any,  # noqa: ANN401 - any field of ServerPlan
    said: str,
) -> None:
    read, plan = mixed
    first, second = plan.servers
    forged = replace(plan, servers=(first, replace(second, **{field: value})))

    assert any(said in str(violation) for violation in check(forged, read, catalog()))


def test_a_frontier_of_speed_is_refused() -> None:
    request = {"prompt_tokens": 2000, "output_tokens": 500}
    read = fleet(changed(MIXED, "roles.chat.request", request))

    with pytest.raises(Unlike, match="servers that are all alike"):
        pareto(read, "accuracy", "tpot", catalog())


def test_unlike_servers_need_the_key(mixed: tuple[Fleet, Plan]) -> None:
    _, plan = mixed
    read = fleet(changed(MIXED, "roles.chat.across_pools", None))

    assert any("differs from" in str(violation) for violation in check(plan, read, catalog()))


def test_a_number_of_replicas_is_that_of_all_pools() -> None:
    document = changed(changed(MIXED, "roles.chat.replicas", 2), "roles.chat.spread", "gpu")
    read, plan = solved(document)

    assert [server.node for server in plan.servers] == ["big", "small"]
    assert check(plan, read, catalog()) == []


def test_what_fits_no_pool_alone_is_offered() -> None:
    document = changed(changed(MIXED, "roles.chat.across_pools", None), "roles.chat.concurrency", {"min": 17})
    found = whole(fleet(document), catalog(), 60)

    assert isinstance(found, NoPlan)
    offered = [change for change in found.changes if change.path == "roles.chat.across_pools"]
    assert [(change.before, change.after) for change in offered] == [("false", "true")]
    assert "across_pools" in no_plan(found)


@pytest.mark.parametrize(("least", "fits"), [(18, True), (19, False)])
def test_what_all_pools_hold_together_is_what_fits(least: int, fits: bool) -> None:
    read = fleet(changed(MIXED, "roles.chat.concurrency", {"min": least}))

    assert Sizing(catalog(), load_profile("0.33.0")).fits(read) is fits


def test_a_plan_follows_the_one_before(mixed: tuple[Fleet, Plan]) -> None:
    read, plan = mixed
    again = whole(read, catalog(), 60, plan)

    assert isinstance(again, Solved)
    assert again.plan.servers == plan.servers


def test_a_difference_names_the_pool_that_changed(mixed: tuple[Fleet, Plan]) -> None:
    _, plan = mixed
    first, second = plan.servers
    less = replace(plan, servers=(first, replace(second, max_num_seqs=second.max_num_seqs - 1)))

    assert second.name in difference(differences(plan, less))


def test_routers_share_out_requests_by_what_servers_take(tmp_path: Path) -> None:
    plan = plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,), max_num_seqs=40),
        plans.server("chat-2", role="chat", gpu_indices=(1,), port=8002, max_num_seqs=10),
    )
    files = {name: file.text for name, file in render(plan, targets=("kubernetes", "litellm")).items()}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    for name in ("router/haproxy.cfg", "router/compose.cfg", "kubernetes/fleet/haproxy.cfg"):
        weights = [line.rsplit(" ", 2)[1:] for line in files[name].splitlines() if line.startswith("  server chat")]
        assert weights == [["weight", "256"], ["weight", "64"]]
    assert "simple-shuffle" in files["litellm/config.yaml"]
    assert [line.strip() for line in files["litellm/config.yaml"].splitlines() if "  weight: " in line] == [
        "weight: 40",
        "weight: 10",
    ]
    assert set(map(tuple, wrong_routes(plan, tmp_path).values())) == {()}


def test_routers_of_equal_servers_weigh_nothing() -> None:
    plan = plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,)), plans.server("chat-2", role="chat", gpu_indices=(1,))
    )

    texts = [file.text for file in render(plan, targets=("litellm",)).values()]

    assert not any("weight 256" in text or "      weight:" in text for text in texts)


SEEDS = (41, 42, 46, 47, 50, 55)


def test_brute_force_finds_no_better_plan() -> None:
    counts: Counter[str] = Counter()
    said = [text for seed in SEEDS for text in compare_across(seed, catalog(), counts)]

    assert said == []
    assert counts["in several pools"] > 2
    assert counts["undecided"] == 0


def candidate(pool: int, kin: int, rank: int, blocks: int = 1) -> Candidate:
    return Candidate(
        pool=pool, blocks=blocks, fixed=1, per_sequence=1, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0,
        peak_per_sequence=0, least=1, most=9, worth=((0, 10),), ranks=blocks, kin=kin, rank=rank,
    )  # fmt: skip


TEAM = Problem(
    roles=(
        RoleProblem(name="a", candidates=(candidate(0, 1, 4), candidate(1, 1, 5, blocks=2), candidate(1, 2, 6))),
        RoleProblem(name="a@1", candidates=(candidate(1, 1, 5, blocks=2), candidate(1, 2, 6)), optional=True),
    ),
    pools=(PoolProblem(capacity=100), PoolProblem(capacity=100, width=2)),
    stages=("concurrency",),
    teams=(Team(roles=(0, 1), least=4, most=10, servers=3, worth=(10,)),),
)


@pytest.mark.parametrize(
    ("decided", "keeps"),
    [
        ([(0, 2), (0, 1)], True),  # 2 + 2 × 1 requests on 1 + 2 servers
        ([(0, 1), (0, 1)], False),  # too few requests
        ([(0, 4), None], False),  # too few servers
        ([(0, 4), (1, 4)], False),  # another checkpoint
        ([(1, 2), (0, 2)], False),  # both in one pool
        ([None, (0, 4)], False),  # nothing leads
    ],
)
def test_servers_go_together(decided: list[tuple[int, int] | None], keeps: bool) -> None:
    assert sound(TEAM, decided) is keeps


def test_requests_beyond_the_target_count_nothing() -> None:
    assert wasted(TEAM, [(0, 5), (0, 4)]) == (30,)
    assert wasted(TEAM, [(0, 2), (0, 1)]) == (0,)
