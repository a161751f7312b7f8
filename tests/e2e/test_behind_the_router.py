"""The real LiteLLM between the router and the real vLLM on CPU, started by the rendered script."""

import http.client
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import plans
import pytest
from msgspec.structs import replace
from proving import ENGINE_VERSION, KEY, KV_CACHE_TOKENS, prepared, tiny
from staged import Stage, free_ports, stage

from planner.artifacts import render, write

pytestmark = pytest.mark.e2e


@dataclass
class Door:
    """A fleet of two replicas and an embedder with LiteLLM before them, and the log of both proxies."""

    staged: Stage
    url: str
    log: Path
    replicas: list[int]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    *ports, router = free_ports(4)
    models, folder = prepared() / "models", tmp_path_factory.mktemp("litellm")
    plain = tiny("coder", models, ports[0])
    replicas = [replace(plain, name=f"coder-{number}", port=port) for number, port in enumerate(ports[:2], 1)]
    embedder = tiny(
        "embed", models, ports[2], pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0, task="embedding"
    )
    plan = plans.plan(*replicas, embedder, engine_version=ENGINE_VERSION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.artifacts.router.ROUTER_PORT", router)
        staged = stage(plan, folder, PLANNER_ROUTER="off", VLLM_API_KEY=KEY)
        write(render(plan, targets=("script", "litellm")), staged.folder, force=True)
    staged.environment["PATH"] = f"{prepared() / 'vllm/bin'}:{prepared() / 'litellm/bin'}:{staged.environment['PATH']}"
    with ExitStack() as stack:
        stack.callback(staged.run, "launch.sh", "down", timeout=200)
        assert staged.run("launch.sh", "up", timeout=900).returncode == 0
        log = stack.enter_context((folder / "proxies.log").open("wb"))
        proxies = subprocess.Popen(
            ["bash", staged.folder / "litellm/run.sh"],
            env=staged.environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        stack.callback(proxies.kill)
        yield Door(staged, f"http://127.0.0.1:{router}", folder / "proxies.log", ports[:2])
        proxies.send_signal(signal.SIGTERM)
        assert proxies.wait(timeout=60) == 143


def test_the_smoke_test_is_green(door: Door) -> None:
    door.staged.environment["PLANNER_ROUTER"] = "on"
    for _ in range(60):
        smoke = door.staged.run("smoke.sh", timeout=300)
        if smoke.returncode == 0:
            break
        time.sleep(2)

    assert smoke.returncode == 0, smoke.stdout + door.log.read_text(encoding="utf-8")[-3000:]
    assert f"KV tokens: {KV_CACHE_TOKENS}" in smoke.stdout


def test_a_stream_arrives_in_pieces_and_replicas_share(door: Door) -> None:
    """A request while another is answered goes to the other replica, which the engines' own counters show."""
    streams = [stream(door) for _ in range(2)]
    for answer in streams:
        with answer:
            arrivals = [time.monotonic() for line in answer if line.startswith(b"data:")]
        assert len(arrivals) > 100
    assert all(count > 0 for count in map(answered, door.replicas))


def test_nothing_is_fetched_and_the_key_is_in_no_log(door: Door) -> None:
    log = door.log.read_text(encoding="utf-8")

    assert KEY not in log
    assert "model_prices_and_context_window" not in log


def stream(door: Door) -> http.client.HTTPResponse:
    """Ask for a long answer and return it while it comes."""
    body = {"model": "coder", "prompt": "a", "max_tokens": 400, "stream": True, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{door.url}/v1/completions", json.dumps(body).encode(), headers)
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=120)
    return answer


def answered(port: int) -> float:
    """Return how many tokens a replica has written so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:generation_tokens_total"))
