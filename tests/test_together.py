"""Servers that share a GPU in one container: started in order, each watched and started again, stopped together."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parsed
import plans
import pytest
from msgspec.structs import replace
from staged import FAKES, KEY, Stage, amend, cache, free_ports, interpreter, program, wait_until

from planner.adopt.files import read_files
from planner.artifacts import render, write
from planner.plan import Plan


@dataclass
class Pod:
    """The one container of a pod, run as the manifest says with the folders of this machine."""

    staged: Stage
    command: list[str]
    ready: list[str]
    ports: dict[str, int]
    process: subprocess.Popen[bytes]

    def engines(self, name: str) -> list[int]:
        """The stand-ins of the engine that are this server."""
        words = f"{FAKES}/vllm serve .*--port={self.ports[name]} "
        found = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def lines(self, text: str) -> list[str]:
        return [line for line in self.staged.output.read_text(encoding="utf-8").splitlines() if text in line]

    def until(self, done: Callable[[], bool]) -> None:
        wait_until("what the pod does", done)

    def says_ready(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.ready, capture_output=True, text=True, env=self.staged.environment, check=False)


def container_of(plan: Plan, folder: Path) -> dict[str, Any]:
    write(render(plan, targets=("kubernetes",)), folder)
    text = (folder / "kubernetes" / "fleet" / "servers.yaml").read_text(encoding="utf-8")
    (deployment,) = [one for one in parsed.every(text) if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


@contextmanager
def running(tmp_path: Path, *options: str, **environment: str) -> Iterator[Pod]:
    """Start the container of two servers on one GPU, at ports of this machine."""
    ports = free_ports(2)
    fleet = plans.two_roles()
    moved = {server.name: port for server, port in zip(fleet.servers, ports, strict=True)}
    fleet = replace(fleet, servers=tuple(replace(one, port=moved[one.name]) for one in fleet.servers))
    container = container_of(fleet, tmp_path)
    fleet_folder = tmp_path / "kubernetes" / "fleet"
    for script in ("together.sh", "gate.sh"):
        amend(fleet_folder / script, "sleep 1 ", "sleep 0.1 ")
    amend(fleet_folder / "together.sh", "--max-time 15", "--max-time 1")
    (fleet_folder / "gpu-0").touch()
    for server in fleet.servers:
        cache(tmp_path / "hf", server.repository, server.revision)

    def placed(words: list[str]) -> list[str]:
        return [str(word).replace("/opt/planner", str(fleet_folder)) for word in words]

    state = ["--state", str(tmp_path / "state")]
    command = [*placed(container["command"]), *state, *options, *placed(container["args"])]
    probe = placed(container["readinessProbe"]["exec"]["command"])
    staged = Stage(fleet_folder, {
        "PATH": f"{FAKES}:{interpreter(tmp_path / 'interpreter')}:{os.environ['PATH']}",
        "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"),
        "VLLM_API_KEY": KEY, "FAKE_EVENTS": str(tmp_path / "events"), "FAKE_START_SECONDS": "0.2", **environment,
    })  # fmt: skip
    staged.output.touch()
    with staged.output.open("ab") as output:
        process = subprocess.Popen(command, env=staged.environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Pod(staged, command, [*probe[:2], *state, *probe[2:]], moved, process)
    finally:
        process.terminate()
        process.wait(timeout=300)


def starts(pod: Pod, name: str) -> int:
    return sum(event.startswith(f"start {name}") for event in pod.staged.events())


def test_servers_of_one_container_start_in_order_and_stop_together(tmp_path: Path) -> None:
    with running(tmp_path) as pod:
        pod.until(lambda: pod.says_ready().returncode == 0)
        order = [event.split(":")[0].split()[:2] for event in pod.staged.events()]
        assert [" ".join(words) for words in order] == ["start coder", "ready coder", "start general", "ready general"]
        pod.process.send_signal(signal.SIGTERM)
        assert pod.process.wait(timeout=300) == 143
        assert not pod.engines("coder")
        assert not pod.engines("general")


def test_a_server_that_dies_comes_back_and_the_other_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "--again", "0") as pod:
        pod.until(lambda: pod.says_ready().returncode == 0)
        (other,) = pod.engines("general")
        for pid in pod.engines("coder"):
            os.kill(pid, signal.SIGKILL)
        pod.until(lambda: pod.says_ready().returncode != 0)
        assert "coder does not answer" in pod.says_ready().stdout
        pod.until(lambda: starts(pod, "coder") == 2 and pod.says_ready().returncode == 0)
        assert pod.engines("general") == [other]
        assert starts(pod, "general") == 1


def test_a_server_that_never_starts_keeps_no_other_from_it(tmp_path: Path) -> None:
    with running(tmp_path, "--again", "0", FAKE_FAIL="coder") as pod:
        pod.until(lambda: starts(pod, "coder") > 1 and pod.says_ready().stdout == "coder does not answer\n")
        health = f"http://127.0.0.1:{pod.ports['general']}/health"
        assert urllib.request.urlopen(health, timeout=5).status == 200
        assert pod.lines("coder | ValueError: No available memory"), "a line of the log says whose it is"
        assert starts(pod, "general") == 1


def test_a_server_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path, "--again", "0", "--every", "1", "--patience", "1", "--stop", "1") as pod:
        pod.until(lambda: pod.says_ready().returncode == 0)
        (hung,), (other,) = pod.engines("coder"), pod.engines("general")
        os.kill(hung, signal.SIGSTOP)
        pod.until(lambda: starts(pod, "coder") == 2)
        assert hung not in pod.engines("coder")
        assert pod.engines("general") == [other]


def test_mistakes_are_usage_errors(tmp_path: Path) -> None:
    container_of(plans.two_roles(), tmp_path)
    script = tmp_path / "kubernetes" / "fleet" / "together.sh"
    wrong = subprocess.run(["bash", script, "--surplus", "1"], capture_output=True, text=True, check=False)

    assert (wrong.returncode, wrong.stderr) == (64, "together: unknown option --surplus\n")


@pytest.mark.parametrize("tool", [["shellcheck", "--shell=bash", "--severity=style", "--enable=all"],
                                  ["shfmt", "-d", "-i", "2", "-ci", "-bn"]], ids=["shellcheck", "shfmt"])  # fmt: skip
def test_the_script_is_clean(tool: list[str], tmp_path: Path) -> None:
    container_of(plans.two_roles(), tmp_path)
    checked = subprocess.run(
        [program(tool[0]), *tool[1:], tmp_path / "kubernetes" / "fleet" / "together.sh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_check_reads_every_server_of_one_container(tmp_path: Path) -> None:
    container_of(plans.two_roles(), tmp_path)
    found = read_files([tmp_path / "kubernetes" / "fleet" / "servers.yaml"]).servers

    assert [(one.model, one.flags["port"], one.unknown_flags) for one in found] == [
        ("Qwen/Qwen2.5-Coder-7B-Instruct", 8001, ()),
        ("Qwen/Qwen2.5-7B-Instruct", 8002, ()),
    ]
