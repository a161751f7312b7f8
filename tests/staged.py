"""A rendered fleet in a folder, on a PATH where `vllm`, `nvidia-smi` and `hf` are stand-ins that note what happens."""

import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from planner.artifacts import render, write
from planner.plan import Plan

FAKES = Path(__file__).resolve().parent / "fakes"
KEY = "sk-test-0123456789"


# Below the ports that the kernel gives to outgoing connections: one of these could take a port before its server does.
_PORTS = itertools.cycle(range(20_000, 32_000))
_SKIPPED = os.getpid() * 97 % 12_000


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now, others for each process of a run."""
    if next(_PORTS) == 20_000:
        next(itertools.islice(_PORTS, _SKIPPED, _SKIPPED), None)
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        if not listens(port):
            found.append(port)
    return found


def listens(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def program(name: str) -> str:
    """Return the path of a validator; a missing one is a failure, because a check that did not run proves nothing."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is not installed; see CONTRIBUTING for the packages that the tests need"
    return found


_CLEAN: set[str] = set()


def shellcheck(*scripts: Path, exclude: str = "SC9999") -> None:
    """Let ShellCheck read scripts; the text of one in which it has found nothing is not read again."""
    new = {path.read_text(encoding="utf-8"): path for path in scripts}
    paths = [path for text, path in new.items() if text not in _CLEAN]
    options = ("--shell=bash", "--severity=style", "--enable=all", f"--exclude={exclude}")
    found = subprocess.run([program("shellcheck"), *options, *paths], capture_output=True, text=True, check=False)
    assert found.returncode == 0 or not paths, found.stdout + found.stderr
    if exclude == "SC9999":
        _CLEAN.update(new)


def wait_until(what: str, true: Callable[[], object]) -> None:
    """Wait until something is true, however busy the machine is."""
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.05)


@dataclass
class Stage:
    """The folder, the environment of every script in it, and the log of the stand-ins."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.folder / script), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a script without waiting for it; ``finish`` collects it."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                ["bash", str(self.folder / script), *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def finish(self, process: subprocess.Popen[bytes], number: int | None = None) -> int:
        """Send a signal if one is given, wait for the end, and return the exit code."""
        if number is not None:
            process.send_signal(number)
        return process.wait(timeout=300)

    @property
    def output(self) -> Path:
        """What the scripts that were started wrote."""
        return self.folder.parent / "output"

    def events(self) -> list[str]:
        path = Path(self.environment["FAKE_EVENTS"])
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def pid(self, name: str) -> int:
        return int((self.folder / "run" / f"{name}.pid").read_text(encoding="utf-8").split()[0])


def stage(plan: Plan, folder: Path, **environment: str) -> Stage:
    """Render a plan into ``folder/fleet`` and give its models a complete cache."""
    write(render(plan), folder / "fleet")
    for script in ("launch.sh", "gate.sh"):
        amend(folder / "fleet" / script, "sleep 1 ", "sleep 0.1 ")
    home = folder / "hf"
    for server in plan.servers:
        if not server.local:
            cache(home, server.repository, server.revision)
    values = {
        "PATH": f"{FAKES}:{interpreter(folder / 'interpreter')}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HF_HOME": str(home),
        "VLLM_API_KEY": KEY,
        "FAKE_EVENTS": str(folder / "events"),
        "PLANNER_ROUTER": "off",
        "PLANNER_METRICS": f"127.0.0.1:{free_ports(1)[0]}",
        **environment,
    }
    return Stage(folder / "fleet", values)


def interpreter(folder: Path) -> Path:
    """Return a folder where `python3` is the interpreter, not the script of a version manager that looks for it."""
    folder.mkdir(exist_ok=True)
    if not (folder / "python3").exists():
        (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return folder


def amend(path: Path, old: str, new: str) -> None:
    """Change a constant in a rendered script, so that a test need not wait for it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def cache(home: Path, repository: str, revision: str) -> None:
    """Make the Hugging Face cache hold a checkpoint."""
    base = home / "hub" / f"models--{repository.replace('/', '--')}"
    commit = revision or "0123456789abcdef0123456789abcdef01234567"
    (base / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    (base / "snapshots" / commit / "config.json").write_text("{}", encoding="utf-8")
    (base / "snapshots" / commit / "model.safetensors").write_bytes(b"")
    if not revision:
        (base / "refs").mkdir(exist_ok=True)
        (base / "refs" / "main").write_text(commit, encoding="utf-8")
