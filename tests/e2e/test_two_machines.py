"""One server in two pipeline stages on two machines, both of them here: the real engine, no option changed.

There is no GPU to ask, so nvidia-smi is missing and the gate says so. CPU processes bind themselves to cores, and two
of them would want the same, so that is switched off.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import plans
import pytest
from proving import ENGINE_VERSION, KV_CACHE_TOKENS, prepared, tiny
from staged import FAKES, Stage, free_ports, stage

from planner.artifacts.nodes import on_nodes
from planner.plan import GPUGroup, Plan

pytestmark = pytest.mark.e2e


def two_stages(models: Path, port: int, master_port: int) -> Plan:
    """Return one server with a stage on each machine; each has half the layers and the whole cache in bytes."""
    server = tiny(
        "coder", models, port, node="rack-1", pipeline_parallel_size=2, master_port=master_port,
        later_stages=(GPUGroup(node="rack-2", gpu_indices=(0,)),), kv_cache_tokens=2 * KV_CACHE_TOKENS,
    )  # fmt: skip
    return plans.plan(server, engine_version=ENGINE_VERSION)


@pytest.fixture
def racks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Stage]]:
    port, master_port, router = free_ports(3)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    plan = two_stages(prepared() / "models", port, master_port)
    shares = dict(on_nodes(plan))
    staged = [stage(shares[node], tmp_path / node, PLANNER_ROUTER="on") for node in ("rack-1", "rack-2")]
    for one in staged:
        path = one.environment["PATH"].removeprefix(f"{FAKES}:")
        one.environment |= {
            "PATH": f"{prepared() / 'vllm' / 'bin'}:{path}",
            "PLANNER_NODE_RACK_1": "127.0.0.1",
            "PLANNER_NODE_RACK_2": "127.0.0.1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    yield staged[0], staged[1]
    for one in staged:
        one.run("launch.sh", "down", timeout=200)


def test_both_parts_serve_together_and_come_back_together(racks: tuple[Stage, Stage]) -> None:
    head, other = racks
    start(head, other)
    smoke = head.run("smoke.sh", timeout=300)
    assert smoke.returncode == 0, smoke.stdout
    assert f"KV tokens: {2 * KV_CACHE_TOKENS}, planned {2 * KV_CACHE_TOKENS}" in smoke.stdout

    whole = head.pid("coder")
    subprocess.run(["pkill", "-KILL", "-g", str(other.pid("coder"))], check=True)
    assert ended(whole), "without its other part the engine stays green and answers nothing"

    start(head, other)
    assert head.run("smoke.sh", timeout=300).returncode == 0
    part = other.pid("coder")
    subprocess.run(["pkill", "-KILL", "-g", str(head.pid("coder"))], check=True)
    assert ended(part), "a part without its head stays for ever"


def start(head: Stage, other: Stage) -> None:
    waiting = head.start("launch.sh", "up")
    try:
        assert other.run("launch.sh", "up", timeout=600).returncode == 0
        assert waiting.wait(timeout=900) == 0, head.output.read_text(encoding="utf-8")
    finally:
        waiting.kill()
        waiting.wait()


def ended(pid: int) -> bool:
    for _ in range(90):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if " Z " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"):
            return True
        time.sleep(1)
    return False
