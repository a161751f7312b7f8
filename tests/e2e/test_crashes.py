"""Logs of the real engine on CPU, brought to fail in the ways that a CPU can, are told right."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hub_server import Hub, serving
from proving import prepared
from staged import free_ports

from planner.cli import main

pytestmark = pytest.mark.e2e

QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "2"}


def planner(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def served(log: Path, *words: str | Path, kill: str = "", shell: bool = False, **environment: str) -> None:
    """Run the real engine until it ends; ``kill`` names the process of it that is killed as soon as it logs a line."""
    command = [prepared() / "vllm" / "bin" / "vllm", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, ["bash", "-c", '"$@"; exit', "bash", *command] if shell else command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, **environment},
            start_new_session=True,
        )
    try:
        for _ in range(600):
            if process.poll() is not None:
                break
            if kill and (found := re.search(rf"\({kill} pid=(\d+)\)", log.read_text(errors="replace"))):
                os.kill(int(found[1]), signal.SIGKILL)
                kill = ""
            time.sleep(0.5)
        else:
            pytest.fail(f"nothing after 5 minutes; the end of the log:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
        with suppress(ProcessLookupError):  # what a killed server left behind
            os.killpg(process.pid, signal.SIGKILL)


def cause(log: Path) -> tuple[str, str]:
    found: Mapping[str, Any] = json.loads(planner("diagnose", log, "--json"))
    return found["cause"], found["line"]


@pytest.mark.parametrize(
    ("expected", "changes", "words"),
    [
        ("flag_rejected", {}, ["--no-such-flag"]),
        ("context_exceeds_model", {}, ["--max-model-len", "99999"]),
        ("parallel_size_invalid", {}, ["--tensor-parallel-size", "3"]),
        ("quantization_unsupported", {}, ["--quantization", "awq"]),
        ("architecture_unsupported", {"architectures": ["NeverHeardForCausalLM"]}, []),
        ("weights_missing", None, []),
        ("context_exceeds_cache", {}, ["--kv-cache-memory-bytes", "2097152"]),
        ("free_memory_below_wanted", {}, ["--kv-cache-memory-bytes", "10000000000000"]),
    ],
)
def test_a_forced_crash_is_told_right(
    tmp_path: Path, expected: str, changes: dict[str, Any] | None, words: list[str]
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

    served(log, "serve", model, "--enforce-eager", "--port", str(free_ports(1)[0]), *own)

    assert cause(log)[0] == expected, log.read_text(errors="replace")[-3000:]


def test_a_port_that_is_taken_is_told_with_its_number(tmp_path: Path) -> None:
    model, log = prepared() / "models" / "tiny coder", tmp_path / "a.log"
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        served(log, "serve", model, "--enforce-eager", "--max-model-len", "2048", "--port", str(port))

    assert cause(log)[0] == "port_in_use"
    assert json.loads(planner("diagnose", log, "--json"))["figures"]["port"] == port


def test_a_model_that_is_gated_is_told(tmp_path: Path) -> None:
    """The hub is a stand-in; who asks it is the engine."""
    log = tmp_path / "a.log"
    with serving(Hub(token="somebody's", gated=True)) as hub:
        words = ("serve", "someone/gated", "--max-model-len", "2048", "--port", str(free_ports(1)[0]))
        served(log, *words, HF_HUB_OFFLINE="0", HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path))

    assert cause(log)[0] == "gated_or_unauthorized", log.read_text(errors="replace")[-3000:]


def test_a_server_that_is_killed_under_a_shell_is_told(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    served(log, *small(), kill="APIServer", shell=True)

    assert cause(log)[0] == "killed", log.read_text(errors="replace")[-3000:]


def test_an_engine_core_that_is_killed_is_told_where_the_engine_says_so_and_not_guessed_where_not(
    tmp_path: Path,
) -> None:
    """The engine looks for the exit code the moment the process is gone, and often finds none to write down."""
    log = tmp_path / "a.log"
    served(log, *small(), kill="EngineCore")

    text = log.read_text(errors="replace")
    said = re.search(r"Failed core proc\(s\): (.*)", text)
    assert said, text[-3000:]
    assert cause(log)[0] == {"{'EngineCore': -9}": "killed", "{}": "unknown"}[said[1]], text[-3000:]


def small() -> list[str | Path]:
    model = prepared() / "models" / "tiny coder"
    sizes = ["--max-model-len", "2048", "--kv-cache-memory-bytes", str(16 << 20)]
    return ["serve", model, "--enforce-eager", "--port", str(free_ports(1)[0]), *sizes]
