"""The real Ray Serve takes the rendered configuration and places its replicas; a stand-in is in the engine's place."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from staged import free_ports
from test_ray import chats

from planner.artifacts import render, write
from planner.artifacts.ray import RAY

pytestmark = pytest.mark.e2e
HERE = Path(__file__).parent


def test_ray_runs_as_many_replicas_as_planned_and_asks_the_right_ones(tmp_path: Path) -> None:
    write(render(chats(), targets=(RAY,)), tmp_path)
    shutil.copy(HERE / "ray-standin", tmp_path / "standin.py")
    (port,) = free_ports(1)
    python = f"{os.environ['PLANNER_E2E_DIR']}/ray/bin/python"
    command = [python, str(HERE / "ray-drive"), str(tmp_path / RAY), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=True)
    found = json.loads(run.stdout.splitlines()[-1])

    assert found["replicas"] == {
        "LLMServer:big": {"RUNNING": 1},
        "LLMServer:chat": {"RUNNING": 2},
        "Door": {"RUNNING": 1},
    }
    assert {answer["model"] for answer in found["answers"]["big"]} == {"big"}
    assert {answer["model"] for answer in found["answers"]["chat"]} == {"chat"}
    assert len({answer["replica"] for answer in found["answers"]["chat"]}) == 2
    assert set(found["answers"]["nobody"]) == {404}
    assert found["left"] == {}, "every GPU and every place for a role is taken"
