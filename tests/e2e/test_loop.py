"""The loop with the real engine on CPU: solve, launch, ask, read the logs, learn from them, solve again."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from proving import ENGINE_VERSION, prepared, real_stage
from staged import KEY, free_ports

from planner.cli import main
from planner.plan import plan_from_yaml

pytestmark = pytest.mark.e2e

GPU = "RTX 4090"
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "2"}


def planner(*arguments: str | Path, exits: int = 0, **environment: str) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)
    assert result.exit_code == exits, result.output
    return result.stdout


def fleet(folder: Path) -> Path:
    ports = free_ports(2)
    role: dict[str, Any] = {
        "task": "general",
        "context": "2k",
        "request": {"prompt_tokens": 512, "output_tokens": 512},
        "concurrency": {"min": 4, "target": 4},
    }
    roles = {
        name: role | {"models": [str(prepared() / "models" / f"tiny {name}")], "port": port}
        for name, port in zip(("coder", "general"), ports, strict=True)
    }
    document = {
        "name": "loop",
        "engine": {"name": "vllm", "version": ENGINE_VERSION},
        "gpu": {"name": GPU, "count": 1},
        "roles": roles,
    }
    path = folder / "fleet.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def served(log: Path, *words: str | Path, until: str = "", seconds: int = 300, **environment: str) -> None:
    """Run the real engine until it ends, or until its log has some words; then stop it."""
    command = [prepared() / "vllm" / "bin" / "vllm", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, **environment},
            start_new_session=True,
        )
    try:
        for _ in range(2 * seconds):
            if process.poll() is not None or (until and until in log.read_text(errors="replace")):
                break
            time.sleep(0.5)
        else:
            pytest.fail(f"nothing after {seconds} s; the end of the log:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def cause(log: Path) -> tuple[str, str]:
    found: Mapping[str, Any] = json.loads(planner("diagnose", log, "--json"))
    return found["cause"], found["line"]


def test_the_loop_closes_and_changes_only_what_was_learnt(tmp_path: Path) -> None:
    file, catalog = fleet(tmp_path), tmp_path / "catalog"
    catalog.mkdir()
    options = ("--catalog", catalog, "--force")
    planner("solve", file, *options)
    first = plan_from_yaml(tmp_path / "plan.yaml")
    staged = real_stage(first, tmp_path / "run", FAKE_GPU_NAME="NVIDIA GeForce RTX 4090")
    up = staged.run("launch.sh", "up", timeout=900)
    try:
        assert up.returncode == 0, up.stderr
        smoke = staged.run("smoke.sh", timeout=300)
        assert smoke.returncode == 0, smoke.stdout
        live = json.loads(planner("verify", tmp_path, "--live", "--json", VLLM_API_KEY=KEY))
    finally:
        staged.run("launch.sh", "down", timeout=200)
    logs = sorted((staged.folder / "logs").glob("[cg]*.log"))

    assert live["as_planned"], live
    assert {one["what"] for one in live["findings"]} >= {
        "engine version",
        "models",
        "context",
        "KV cache tokens",
        "options",
    }
    assert [cause(log)[0] for log in logs] == ["started", "started"]

    # The planner's own servers are given the size of their KV cache, and a CPU says nothing of its weights.
    planner("calibrate", *logs, "--gpu", GPU, "--write", *options[:2])
    planner("solve", file, *options)
    assert plan_from_yaml(tmp_path / "plan.yaml") == first

    own = tmp_path / "own.log"
    model = prepared() / "models" / "tiny coder"
    up_and_ready = "Application startup complete"
    size = ("--max-model-len", "2048", "--gpu-memory-utilization", "0.1", "--port", str(free_ports(1)[0]))
    served(own, "serve", model, *size, until=up_and_ready)
    planner("calibrate", own, "--gpu", GPU, "--write", *options[:2])
    planner("solve", file, *options)
    second = plan_from_yaml(tmp_path / "plan.yaml")

    assert (catalog / "measured").is_dir()
    assert second.server("general") == first.server("general")
    changed = second.server("coder").ledger.margin_bytes, first.server("coder").ledger.margin_bytes
    assert changed[0] != changed[1]


@pytest.mark.parametrize(
    ("expected", "changes", "environment", "words"),
    [
        ("flag_rejected", {}, {}, ["--no-such-flag"]),
        ("context_exceeds_model", {}, {}, ["--max-model-len", "99999"]),
        ("parallel_size_invalid", {}, {}, ["--tensor-parallel-size", "3"]),
        ("quantization_unsupported", {}, {}, ["--quantization", "awq"]),
        ("architecture_unsupported", {"architectures": ["NeverHeardForCausalLM"]}, {}, []),
        ("weights_missing", None, {}, []),
        ("free_memory_below_wanted", {}, {"VLLM_CPU_KVCACHE_SPACE": "9999"}, []),
    ],
)
def test_a_forced_crash_is_told_right(
    tmp_path: Path, expected: str, changes: dict[str, Any] | None, environment: dict[str, str], words: list[str]
) -> None:
    model, log = tmp_path / "model", tmp_path / "a.log"
    model.mkdir()
    for path in (prepared() / "models" / "tiny coder").iterdir():
        if changes is not None or path.suffix != ".safetensors":
            (model / path.name).symlink_to(path)
    if changes:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        (model / "config.json").unlink()
        (model / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    own = words if "--max-model-len" in words else [*words, "--max-model-len", "2048"]

    served(log, "serve", model, "--enforce-eager", "--port", str(free_ports(1)[0]), *own, **environment)

    assert cause(log)[0] == expected, log.read_text(errors="replace")[-3000:]


def test_a_port_that_is_taken_is_told_with_its_number(tmp_path: Path) -> None:
    model, log = prepared() / "models" / "tiny coder", tmp_path / "a.log"
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        served(log, "serve", model, "--enforce-eager", "--max-model-len", "2048", "--port", str(port))

    assert cause(log)[0] == "port_in_use"
    assert json.loads(planner("diagnose", log, "--json"))["figures"]["port"] == port
