"""launch.sh, smoke.sh and the router with the real vLLM on CPU and not one option changed."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import plans
import pytest
from fleets import catalog, fleet
from msgspec.structs import replace
from proving import ENGINE_VERSION, in_order, prepared, real_stage, tiny, tiny_fleet
from staged import KEY, Stage, free_ports

from planner.plan import Plan
from planner.solve import solve_and_check

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    first, second, router = free_ports(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.artifacts.router.ROUTER_PORT", router)
        staged = real_stage(
            tiny_fleet(prepared() / "models", first, second), tmp_path_factory.mktemp("real"), PLANNER_ROUTER="on"
        )
    staged.environment["ROUTER"] = f"http://127.0.0.1:{router}"
    result = staged.run("launch.sh", "up", timeout=900)
    try:
        assert result.returncode == 0, result.stderr
        in_order(result.stderr, "starting coder", "coder is healthy", "starting general", "general is healthy", "is up")
        yield staged
    finally:
        staged.run("launch.sh", "down", timeout=200)


def post(staged: Stage, body: bytes, path: str = "/v1/completions", key: str = KEY) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(staged.environment["ROUTER"] + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_smoke_test_is_green(up: Stage) -> None:
    smoke = up.run("smoke.sh", timeout=300)

    assert smoke.returncode == 0, smoke.stdout
    assert "KV tokens: 131072, planned 131072" in smoke.stdout


def test_the_load_test_holds_the_plan(up: Stage) -> None:
    """Both servers at the same time, at the planned concurrency and lengths, with the engine's own benchmark."""
    load = up.run("load.sh", timeout=900)

    assert load.returncode == 0, load.stdout + load.stderr
    for name in ("coder", "general"):
        assert f"ok    {name:20} 24 requests of 512 + 1024 tokens, 8 at once, all answered" in load.stdout
        assert f"ok    {name:20} requests at once: 8, planned 8" in load.stdout
    assert "measured: " in load.stdout


def test_the_router_serves_the_real_engine(up: Stage) -> None:
    long = json.dumps({"prompt": "x " * 700, "max_tokens": 4, "user": "u" * 100_000, "model": "general"}).encode()
    status, body = post(up, long)
    assert (status, json.loads(body)["model"]) == (200, "general")
    assert post(up, b'{"model": "nobody", "prompt": "x"}')[0] == 404
    assert post(up, b'{"model": "coder", "prompt": "x"}', key="wrong")[0] == 401
    assert post(up, b'{"model": "coder", "prompt": "x"}', path="/invocations")[0] == 404


def test_a_stream_arrives_in_pieces(up: Stage) -> None:
    body = json.dumps({"model": "coder", "prompt": "a", "max_tokens": 999, "ignore_eos": True, "stream": True}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(up.environment["ROUTER"] + "/v1/completions", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        arrivals = [time.monotonic() for line in answer if line.startswith(b"data:")]

    assert len(arrivals) > 100
    assert arrivals[-1] - arrivals[0] > 0.1


def test_a_stop_lets_answers_finish(up: Stage) -> None:
    """A server that is told to stop ends the stream it is at; the other one is not touched."""
    asked = {"model": "general", "prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True}
    body = json.dumps({**asked, "stream_options": {"include_usage": True}}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(up.environment["ROUTER"] + "/v1/completions", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        lines = [answer.readline() for _ in range(20)]
        stop = up.start("launch.sh", "down", "general")
        lines += list(answer)
    assert up.finish(stop) == 0
    assert b'"completion_tokens":1500' in lines[-4].replace(b" ", b"")
    assert b"data: [DONE]\n" in lines
    assert up.run("launch.sh", "status").stdout.count("stopped") == 1
    assert post(up, b'{"model": "coder", "prompt": "x", "max_tokens": 2}')[0] == 200
    again = up.run("launch.sh", "up", timeout=900)
    assert again.returncode == 0, again.stderr


def test_killing_one_leaves_the_other_and_down_leaves_nothing(up: Stage) -> None:
    """Runs last: it stops the fleet."""
    groups = [up.pid("coder"), up.pid("general"), up.pid("router")]
    os.kill(up.pid("coder"), signal.SIGKILL)
    time.sleep(2)
    assert post(up, b'{"model": "general", "prompt": "x", "max_tokens": 2}')[0] == 200
    for _ in range(20):
        status = post(up, b'{"model": "coder", "prompt": "x", "max_tokens": 2}')[0]
        if status == 503:
            break
        time.sleep(1)
    assert status == 503

    again = up.run("launch.sh", "up", timeout=900)
    assert again.returncode == 0, again.stderr
    assert "starting general" not in again.stderr
    assert up.run("smoke.sh", timeout=300).returncode == 0

    down = up.run("launch.sh", "down", timeout=200)
    assert down.returncode == 0, down.stderr
    left = subprocess.run(["ps", "-eo", "pgid="], capture_output=True, text=True, check=True).stdout.split()
    assert not set(map(str, groups)) & set(left)


def test_an_embedder_answers_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    embedder = tiny(
        "embed", prepared() / "models", port, pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0, task="embedding"
    )
    staged = real_stage(plans.plan(embedder, engine_version=ENGINE_VERSION), tmp_path, PLANNER_ROUTER="on")
    try:
        result = staged.run("launch.sh", "up", timeout=600)
        assert result.returncode == 0, result.stderr
        smoke = staged.run("smoke.sh", timeout=200)
        assert smoke.returncode == 0, smoke.stdout
        assert "embedding" in smoke.stdout
        load = staged.run("load.sh", timeout=300)
        assert load.returncode == 0, load.stdout + load.stderr
        assert "24 requests of 1536 + 0 tokens, 8 at once, all answered" in load.stdout
    finally:
        staged.run("launch.sh", "down", timeout=200)


def test_a_recording_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of silence through the real engine's own door for sound and the router's, and the cache as planned."""
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    ear = {
        "task": "transcription",
        "models": [str(prepared() / "models" / "tiny ear")],
        "context": 448,
        "concurrency": 4,
        "block_size": 128,  # the CPU's own; a GPU has smaller ones
    }
    engine = {"name": "vllm", "version": ENGINE_VERSION}
    plan = solve_and_check(fleet({"name": "ears", "engine": engine, "gpu": "L4", "roles": {"ear": ear}}), catalog())
    assert isinstance(plan, Plan)
    heard = replace(plan, servers=tuple(replace(server, port=port) for server in plan.servers))
    staged = real_stage(heard, tmp_path, PLANNER_ROUTER="on", FAKE_GPU_NAME=plan.gpus[0].product)
    try:
        result = staged.run("launch.sh", "up", timeout=1800)
        assert result.returncode == 0, result.stderr
        smoke = staged.run("smoke.sh", timeout=300)
        assert smoke.returncode == 0, smoke.stdout
        tokens = plan.server("ear").kv_cache_tokens
        assert f"KV tokens: {tokens}, planned {tokens}" in smoke.stdout
        assert f"{'ear':20} transcription" in smoke.stdout
        assert f"{'router':20} transcription" in smoke.stdout
    finally:
        staged.run("launch.sh", "down", timeout=200)
