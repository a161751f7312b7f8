"""Logs of the real engine on CPU, brought to fail in the ways that a CPU can, are told right."""

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
from proving import prepared
from staged import free_ports

from planner.cli import main

pytestmark = pytest.mark.e2e

QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "2"}


def planner(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def served(log: Path, *words: str | Path, seconds: int = 300) -> None:
    """Run the real engine until it ends."""
    command = [prepared() / "vllm" / "bin" / "vllm", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET},
            start_new_session=True,
        )
    try:
        for _ in range(2 * seconds):
            if process.poll() is not None:
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


@pytest.mark.parametrize(
    ("expected", "changes", "words"),
    [
        ("flag_rejected", {}, ["--no-such-flag"]),
        ("context_exceeds_model", {}, ["--max-model-len", "99999"]),
        ("parallel_size_invalid", {}, ["--tensor-parallel-size", "3"]),
        ("quantization_unsupported", {}, ["--quantization", "awq"]),
        ("architecture_unsupported", {"architectures": ["NeverHeardForCausalLM"]}, []),
        ("weights_missing", None, []),
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
