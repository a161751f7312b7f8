"""launch.sh against stand-ins of the engine: order, failure, signals, and what it refuses."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import plans
import pytest
from msgspec.structs import replace
from staged import Stage, amend, free_ports, stage, wait_until

from planner.artifacts import render, write
from planner.plan import Plan


def on_free_ports(plan: Plan) -> Plan:
    ports = free_ports(len(plan.servers))
    return replace(plan, servers=tuple(replace(one, port=port) for one, port in zip(plan.servers, ports, strict=True)))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Stage]:
    staged = stage(on_free_ports(plans.two_roles()), tmp_path)
    yield staged
    staged.run("launch.sh", "down")


def names(events: list[str]) -> list[str]:
    """``start coder:8001 gpus=0`` -> ``start coder``."""
    return [event.split(":")[0] for event in events]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_servers_start_one_after_another_and_stop_in_reverse(two: Stage) -> None:
    up = two.run("launch.sh", "up")

    assert up.returncode == 0, up.stderr
    assert names(two.events()) == ["start coder", "ready coder", "start general", "ready general"]
    pids = [two.pid("coder"), two.pid("general")]
    status = two.run("launch.sh", "status")
    assert status.returncode == 0
    assert status.stdout.count("healthy") == 2

    down = two.run("launch.sh", "down")

    assert down.returncode == 0, down.stderr
    assert names(two.events())[4:] == ["stop general", "stop coder"]
    assert not any(alive(pid) for pid in pids)
    assert two.run("launch.sh", "status").returncode == 3


def test_a_server_of_another_plan_is_not_taken_for_this_one(two: Stage) -> None:
    """The folder was exchanged while the fleet ran: going back to the last plan must not leave a mixture."""
    assert two.run("launch.sh", "up").returncode == 0
    amend(two.folder / "launch.sh", "--max-num-seqs 8", "--max-num-seqs 9")

    again = two.run("launch.sh", "up")
    assert again.returncode == 75
    assert "coder runs as another plan says: launch.sh down coder, then up" in again.stderr
    assert len(two.events()) == 4, "nothing was started or stopped"

    assert two.run("launch.sh", "down").returncode == 0
    assert two.run("launch.sh", "up").returncode == 0


def test_a_server_that_the_plan_no_longer_has_is_stopped_too(tmp_path: Path) -> None:
    before = on_free_ports(plans.two_roles())
    two = stage(before, tmp_path)
    try:
        assert two.run("launch.sh", "up").returncode == 0
        pid = two.pid("general")
        write(render(plans.plan(before.server("coder"))), two.folder, force=True)

        up = two.run("launch.sh", "up")
        assert up.returncode == 75
        assert "servers of another plan are here: general; launch.sh down, then up" in up.stderr
    finally:
        down = two.run("launch.sh", "down")
    assert down.returncode == 0
    assert not alive(pid)
    assert list((two.folder / "run").glob("*.pid")) == []


def test_servers_of_different_gpus_start_together(tmp_path: Path) -> None:
    apart = on_free_ports(plans.plan(plans.server("a"), plans.server("b", gpu_indices=(1,)), plans.server("c")))
    staged = stage(apart, tmp_path, FAKE_START_SECONDS="2")
    try:
        assert staged.run("launch.sh", "up").returncode == 0
        events = names(staged.events())

        assert set(events[:2]) == {"start a", "start b"}
        assert events.index("start c") > events.index("ready a")
        assert any(event.endswith("gpus=1") for event in staged.events())
    finally:
        staged.run("launch.sh", "down")


def test_a_failing_server_stops_the_ones_before_it(two: Stage) -> None:
    two.environment["FAKE_FAIL"] = "general"

    up = two.run("launch.sh", "up")

    assert up.returncode == 1
    assert "general stopped before it was healthy" in up.stderr
    assert "No available memory for the cache blocks" in up.stderr, "the end of the log is shown"
    assert names(two.events()) == ["start coder", "ready coder", "start general", "stop coder"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_starting_stops_everything(two: Stage, number: int) -> None:
    two.environment["FAKE_LOADS"] = "general"
    up = two.start("launch.sh", "up")
    wait_until("the second server starts", lambda: "start general" in names(two.events()))
    pids = [two.pid("coder"), two.pid("general")]

    assert two.finish(up, number) == 1
    assert "interrupted" in two.output.read_text(encoding="utf-8")
    assert not any(alive(pid) for pid in pids)


def test_run_stays_and_stops_all_when_one_dies(two: Stage) -> None:
    run = two.start("launch.sh", "run")
    wait_until("the fleet is up", lambda: "fleet workstation is up" in two.output.read_text(encoding="utf-8"))
    coder = two.pid("coder")
    os.kill(two.pid("general"), signal.SIGKILL)

    assert two.finish(run) == 1
    assert "general is dead" in two.output.read_text(encoding="utf-8")
    assert not alive(coder)


def test_after_a_death_the_other_lives_and_up_starts_only_the_dead_one(two: Stage) -> None:
    two.run("launch.sh", "up")
    coder = two.pid("coder")
    os.kill(two.pid("general"), signal.SIGKILL)
    wait_until("the server is dead", lambda: not alive(two.pid("general")))
    status = two.run("launch.sh", "status")

    assert status.returncode == 3
    assert "dead" in status.stdout
    assert alive(coder)
    assert two.run("launch.sh", "up").returncode == 0
    assert two.pid("coder") == coder
    assert names(two.events()).count("start coder") == 1
    assert names(two.events()).count("start general") == 2


def test_workers_of_a_killed_server_are_cleared_before_it_starts_again(two: Stage) -> None:
    two.environment["FAKE_WORKER"] = "1"
    two.run("launch.sh", "up", "coder")
    (worker,) = [int(event.split()[1]) for event in two.events() if event.startswith("worker")]
    os.kill(two.pid("coder"), signal.SIGKILL)
    wait_until("the server is dead", lambda: not alive(two.pid("coder")))
    assert alive(worker)

    two.run("launch.sh", "up", "coder")

    assert not alive(worker)
    two.run("launch.sh", "down")
    workers = [int(event.split()[1]) for event in two.events() if event.startswith("worker")]
    assert len(workers) == 2
    assert not any(alive(one) for one in workers)


def test_a_server_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    staged = stage(on_free_ports(plans.two_roles()), tmp_path, FAKE_IGNORE_TERM="general")
    amend(staged.folder / "launch.sh", "readonly stop_seconds=60", "readonly stop_seconds=2")
    staged.run("launch.sh", "up")
    pid = staged.pid("general")

    assert staged.run("launch.sh", "down").returncode == 0
    assert not alive(pid)


def test_one_server_can_be_stopped_and_started(two: Stage) -> None:
    two.run("launch.sh", "up", "general")

    assert names(two.events()) == ["start general", "ready general"]
    assert two.run("launch.sh", "down", "general").returncode == 0
    assert two.run("launch.sh", "up", "nobody").returncode == 64


REFUSALS = [
    ({"FAKE_VERSION": "0.32.0"}, 78, "the plan is for vLLM 0.33.0, but vllm on PATH is 0.32.0"),
    ({"FAKE_GPU_NAME": "NVIDIA L4"}, 78, "but GPU 0 is NVIDIA L4"),
    ({"FAKE_GPU_FREE_MIB": "50000"}, 75, "but only 50000 MiB are free"),
    ({"VLLM_API_KEY": ""}, 78, "VLLM_API_KEY is not set"),
    ({"VLLM_API_KEY": "two words"}, 78, "spaces"),
    ({"HF_HOME": "/nonexistent"}, 78, "fetch them first"),
    ({"PATH": "/usr/bin:/bin"}, 78, "vllm is not on PATH"),
]


@pytest.mark.parametrize(
    ("change", "code", "sentence"), REFUSALS, ids=[next(iter(change)) + str(code) for change, code, _ in REFUSALS]
)
def test_the_preflight_refuses(two: Stage, change: dict[str, str], code: int, sentence: str) -> None:
    amend(two.folder / "gate.sh", "memory_wait=60", "memory_wait=1")
    two.environment.update(change)

    up = two.run("launch.sh", "up")

    assert up.returncode == code, up.stderr
    assert sentence in up.stderr
    assert two.events() == []


def test_a_busy_port_is_refused(two: Stage) -> None:
    two.run("launch.sh", "up")
    other = stage(plans.two_roles(), two.folder / "other")
    (other.folder / "launch.sh").write_text((two.folder / "launch.sh").read_text(encoding="utf-8"), encoding="utf-8")

    up = other.run("launch.sh", "up")

    assert up.returncode == 75
    assert "is taken by another program" in up.stderr


def test_missing_shards_are_refused(two: Stage, tmp_path: Path) -> None:
    (index,) = (tmp_path / "hf" / "hub").glob("*Coder*/snapshots/*/config.json")
    shards = '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    index.with_name("model.safetensors.index.json").write_text(shards, encoding="utf-8")

    up = two.run("launch.sh", "up")

    assert up.returncode == 78
    assert "model-00001-of-00002.safetensors is missing" in up.stderr


def test_a_pinned_gpu_reaches_the_engine(two: Stage) -> None:
    two.environment["PLANNER_GPU_0"] = "GPU-0"
    (two.folder / ".env").write_text("# comment\nFAKE_START_SECONDS=0.1\n", encoding="utf-8")

    assert two.run("launch.sh", "up").returncode == 0
    assert two.events()[0].endswith("gpus=GPU-0")


def test_a_plan_without_the_planned_router_says_so(two: Stage) -> None:
    assert "no router" in two.run("launch.sh", "up").stderr


def test_show_prints_the_commands(two: Stage) -> None:
    shown = two.run("launch.sh", "show", "general").stdout

    assert shown.startswith(
        "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0 VLLM_ENGINE_READY_TIMEOUT_S=2340 "
        "vllm serve Qwen/Qwen2.5-7B-Instruct "
    )
    assert "--kv-cache-memory-bytes 8589934592" in shown


def test_usage(two: Stage) -> None:
    usage = two.run("launch.sh")

    assert usage.returncode == 64
    assert "launch.sh up" in usage.stderr
