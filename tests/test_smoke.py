"""smoke.sh and download.sh against stand-ins."""

from collections.abc import Iterator
from pathlib import Path

import plans
import pytest
from msgspec.structs import replace
from staged import Stage, amend, free_ports, stage


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    coder, embed, sorter, router = free_ports(4)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    embedder = plans.server("embed", port=embed, pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0)
    ranker = replace(embedder, name="sorter", role="sorter", task="rerank", port=sorter)
    staged = stage(plans.plan(plans.server("coder", port=coder), embedder, ranker), tmp_path, PLANNER_ROUTER="on")
    yield staged
    staged.run("launch.sh", "down")


def test_a_healthy_fleet_passes(fleet: Stage) -> None:
    assert fleet.run("launch.sh", "up").returncode == 0

    smoke = fleet.run("smoke.sh")

    assert smoke.returncode == 0, smoke.stdout
    assert "all checks passed" in smoke.stdout
    assert "FAIL" not in smoke.stdout
    for line in (
        "coder                completion of 8 tokens",
        "embed                embedding",
        "sorter               two documents ranked",
        "closed path /metrics: 404",
    ):
        assert line in smoke.stdout


def test_a_smaller_kv_cache_than_planned_fails(fleet: Stage) -> None:
    fleet.environment["FAKE_KV_TOKENS"] = "140000"
    fleet.run("launch.sh", "up")

    smoke = fleet.run("smoke.sh")

    assert smoke.returncode == 1
    assert "FAIL  coder                KV tokens: 140000, planned 149792" in smoke.stdout


def test_a_dead_server_fails(fleet: Stage) -> None:
    fleet.run("launch.sh", "up", "coder")

    smoke = fleet.run("smoke.sh")

    assert smoke.returncode == 1
    assert "FAIL  embed                health: expected 200, got 000" in smoke.stdout
    assert "ok    coder                health: 200" in smoke.stdout


def test_an_open_door_fails(fleet: Stage) -> None:
    """A router that lets every path through, as vLLM alone would."""
    amend(fleet.folder / "router" / "haproxy.cfg", "path_beg /v1/", "path_beg /")
    fleet.run("launch.sh", "up")

    smoke = fleet.run("smoke.sh")

    assert smoke.returncode == 1
    assert "FAIL  router               closed path /invocations: expected 404, got 200" in smoke.stdout


@pytest.fixture
def empty(tmp_path: Path) -> Stage:
    staged = stage(replace(plans.two_roles()), tmp_path)
    staged.environment["HF_HOME"] = str(tmp_path / "fresh")
    return staged


def test_download_fetches_exactly_the_plan_and_then_nothing(empty: Stage) -> None:
    first = empty.run("download.sh")

    assert first.returncode == 0, first.stderr
    assert "30 GiB to fetch" in first.stderr
    assert {event.split()[0] for event in empty.events()} == {
        "Qwen/Qwen2.5-Coder-7B-Instruct@c03e6d358207e414f1eca0bb1891e29f1db0e242", "Qwen/Qwen2.5-7B-Instruct@main",
    }  # fmt: skip
    count = len(empty.events())
    again = empty.run("download.sh")
    assert again.returncode == 0
    assert "0 GiB to fetch" in again.stderr
    assert len(empty.events()) == count
    assert empty.run("launch.sh", "up").returncode == 0
    empty.run("launch.sh", "down")


def test_an_interrupted_download_is_noticed_and_resumed(empty: Stage) -> None:
    empty.environment["FAKE_INTERRUPT"] = "1"
    first = empty.run("download.sh")

    assert first.returncode == 75
    assert "not complete" in first.stderr
    del empty.environment["FAKE_INTERRUPT"]
    assert empty.run("download.sh").returncode == 0


def test_a_full_disk_is_noticed_before_anything_is_fetched(tmp_path: Path) -> None:
    staged = stage(plans.plan(plans.server("coder", download_bytes=1 << 60)), tmp_path)
    staged.environment["HF_HOME"] = str(tmp_path / "fresh")

    run = staged.run("download.sh")

    assert run.returncode == 75
    assert "GiB short" in run.stderr
    assert staged.events() == []


def test_the_chat_and_the_parsers_of_the_plan_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    thinker = plans.server("thinker", task="chat", port=port, tool_parser="hermes", reasoning_parser="qwen3")
    staged = stage(plans.plan(thinker), tmp_path, PLANNER_ROUTER="on")
    try:
        assert staged.run("launch.sh", "up").returncode == 0
        smoke = staged.run("smoke.sh")
        assert smoke.returncode == 0, smoke.stdout
        assert "ok    thinker              chat" in smoke.stdout
        assert "ok    thinker              tool call" in smoke.stdout
        assert "ok    thinker              reasoning apart from the answer" in smoke.stdout

        staged.run("launch.sh", "down")
        staged.environment["FAKE_NO_PARSER"] = "1"
        staged.run("launch.sh", "up")
        smoke = staged.run("smoke.sh")
        assert smoke.returncode == 1
        assert "FAIL  thinker              no tool call" in smoke.stdout
        assert "ok    thinker              chat" in smoke.stdout
        assert "FAIL  thinker              no reasoning apart" in smoke.stdout

        staged.run("launch.sh", "down")
        staged.environment["FAKE_NO_TEMPLATE"] = "1"
        staged.run("launch.sh", "up")
        assert "FAIL  thinker              no chat" in staged.run("smoke.sh").stdout
    finally:
        staged.run("launch.sh", "down")
