"""compose.yaml on a real Docker engine, with a stand-in for vLLM and one limit less that this host may refuse."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import plans
import pytest
from proving import KEY, copy_root, prepared
from staged import FAKES

from planner.artifacts import render, write

pytestmark = pytest.mark.e2e

# memlock: a container host may not grant it. The rest tells the stand-in where to note what it does.
OVERLAY = """
services:
  coder: &engine
    ulimits: !override {nofile: 20000}
    environment: {FAKE_EVENTS: /cache/events, FAKE_START_SECONDS: "3"}
  general: *engine
  download:
    environment: {FAKE_EVENTS: /cache/downloads}
"""


@dataclass
class Docker:
    """A Docker daemon of our own, and one Compose project on it."""

    home: Path
    fleet: Path
    programs: Path
    environment: dict[str, str]
    daemon: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start the daemon; the GPU device driver registers when it finds its hook, and ours does nothing."""
        log = (self.home / "dockerd.log").open("ab")
        places = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        options = [f"{option}={self.home / name}" for option, name in places.items()]
        with log:
            self.daemon = subprocess.Popen(
                [str(self.programs / "usr/sbin/dockerd"), "-H", self.environment["DOCKER_HOST"], *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(60):
            if self.docker("version", check=False).returncode == 0:
                return
            time.sleep(0.5)
        raise AssertionError((self.home / "dockerd.log").read_text(encoding="utf-8")[-2000:])

    def shut_down(self) -> None:
        assert self.daemon is not None
        self.daemon.terminate()
        self.daemon.wait(timeout=120)

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / "usr/bin/docker"), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check)

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = self.programs / "usr/libexec/docker/cli-plugins/docker-compose"
        files = ["-f", str(self.fleet / "compose.yaml"), "-f", str(self.home / "overlay.yaml")]
        return subprocess.run(
            [program, *files, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def inspect(self, server: str, what: str) -> str:
        return self.docker("inspect", f"planner-workstation--{server}", "--format", f"{{{{{what}}}}}").stdout.strip()

    def events(self) -> list[str]:
        """What the engines did, without their places: ``start coder``, ``ready coder``, …"""
        text = self.docker("exec", "planner-workstation--router", "cat", "/cache/events", check=False).stdout
        if not text:
            text = self.docker(
                "run", "--rm", "--entrypoint=cat", "-v", "workstation_cache:/cache", "haproxy:3.0.11", "/cache/events"
            ).stdout
        return [line.split(":")[0] for line in text.splitlines()]

    def wait_until_healthy(self, *servers: str) -> None:
        for _ in range(120):
            if all(self.inspect(server, ".State.Health.Status") == "healthy" for server in servers):
                return
            time.sleep(0.5)
        raise AssertionError(self.compose("ps", "--all").stdout)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    home = tmp_path_factory.mktemp("docker")
    programs = prepared() / "docker"
    stubs = home / "stubs"
    stubs.mkdir()
    (stubs / "nvidia-container-runtime-hook").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (stubs / "nvidia-container-runtime-hook").chmod(0o755)
    write(render(plans.two_roles()), home / "fleet")
    (home / "overlay.yaml").write_text(OVERLAY, encoding="utf-8")
    environment = {
        "PATH": f"{stubs}:{programs}/usr/bin:{programs}/usr/sbin:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{home}/socket",
        "HOME": str(home),
        "VLLM_API_KEY": KEY,
    }
    docker = Docker(home, home / "fleet", programs, environment)
    docker.boot()
    try:
        image(docker)
        yield docker
    finally:
        docker.compose("down", "--volumes")
        docker.shut_down()
        subprocess.run(["umount", home / "data"], capture_output=True, check=False)  # the daemon mounts it on itself
        remove_network()


def image(docker: Docker) -> None:
    """Import the prepared root file system with the stand-ins as both images."""
    root = copy_root(docker.home / "root")
    for name in ("vllm", "nvidia-smi", "hf"):
        shutil.copy(FAKES / name, root / "usr/local/bin" / name)
    archive = docker.home / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    docker.docker("import", str(archive), "vllm/vllm-openai:v0.33.0")
    docker.docker("tag", "vllm/vllm-openai:v0.33.0", "haproxy:3.0.11")


def remove_network() -> None:
    """Take back what a daemon leaves on the host: its bridge, its firewall chains, its policy."""
    subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout.splitlines()
    kept = "".join(f"{line}\n" for line in rules if "docker" not in line.lower())
    restored = kept.replace(":FORWARD DROP", ":FORWARD ACCEPT")
    subprocess.run(["iptables-restore"], input=restored, text=True, check=True)


def test_without_weights_it_says_so_and_gives_up(host: Docker) -> None:
    up = host.compose("up", "--detach", "--wait")

    assert up.returncode != 0
    for _ in range(60):
        if host.inspect("coder", ".State.Status") == "exited":
            break
        time.sleep(0.5)
    assert (host.inspect("coder", ".State.ExitCode"), host.inspect("coder", ".RestartCount")) == ("78", "3")
    assert "are missing in /models" in host.compose("logs", "coder").stdout
    assert host.inspect("general", ".State.Status") == "created", "the next server was never started"
    host.compose("down")


def test_download_then_start_in_order(host: Docker) -> None:
    download = host.compose("run", "--rm", "download")
    assert "all checkpoints are complete" in download.stderr + download.stdout

    up = host.compose("up", "--detach", "--wait")

    assert up.returncode == 0, up.stderr
    assert host.events() == ["start coder", "ready coder", "start general", "ready general"]
    (request,) = json.loads(host.inspect("coder", "json .HostConfig.DeviceRequests"))
    assert (request["Driver"], request["DeviceIDs"], request["Capabilities"]) == ("nvidia", ["0"], [["gpu"]])
    assert host.inspect("coder", ".Config.User") == "2000:0"
    smoke = subprocess.run(
        ["bash", host.fleet / "smoke.sh"], env=host.environment, capture_output=True, text=True, check=False
    )
    assert smoke.returncode == 0, smoke.stdout


@pytest.mark.parametrize("way", ["orderly", "power cut"])
def test_after_a_reboot_all_come_back_one_after_another(host: Docker, way: str) -> None:
    host.wait_until_healthy("coder", "general")
    before = len(host.events())
    if way == "orderly":
        host.shut_down()
    else:
        cut_power(host)
    host.boot()
    host.wait_until_healthy("coder", "general")

    events = [event for event in host.events()[before:] if not event.startswith("stop")]
    assert sorted(events) == ["ready coder", "ready general", "start coder", "start general"]
    assert [event.split()[0] for event in events] == ["start", "ready", "start", "ready"], "one after the other"


def cut_power(host: Docker) -> None:
    """Kill the daemon and everything below it at once."""
    assert host.daemon is not None
    doomed = descendants(host.daemon.pid)
    exec_root = str(host.home / "exec")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "containerd-shim" in command and exec_root in command:
            doomed |= descendants(int(entry.name))
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    host.daemon.wait(timeout=10)
    time.sleep(2)
    (host.home / "pid").unlink(missing_ok=True)


def descendants(pid: int) -> set[int]:
    found = {pid}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="utf-8").split():
            found |= descendants(int(child))
    return found


def test_a_crashing_server_is_restarted_a_few_times_and_harms_no_other(host: Docker) -> None:
    host.wait_until_healthy("coder", "general")
    engine = "grep -aq vllm $p/cmdline && grep -aq python3 $p/cmdline"
    kill = f"for p in /proc/[0-9]*; do {engine} && kill -9 ${{p#/proc/}}; done"
    healthy = ("exec", "planner-workstation--coder", "curl", "-fs", "http://127.0.0.1:8001/health")
    for _ in range(4):
        host.docker("exec", "--user=2000", "planner-workstation--coder", "sh", "-c", kill, check=False)
        for _ in range(60):
            time.sleep(0.5)
            if host.inspect("coder", ".State.Status") == "exited":
                break
            if host.docker(*healthy, check=False).returncode == 0:
                break

    assert (host.inspect("coder", ".State.Status"), host.inspect("coder", ".RestartCount")) == ("exited", "3")
    assert (host.inspect("general", ".State.Status"), host.inspect("general", ".RestartCount")) == ("running", "0")
