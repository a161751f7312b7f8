"""What llama-swap does with one model of a rendered file, for tests without its binary, which no package index has."""

import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml
from staged import Stage, wait_until


def swap_file(staged: Stage) -> dict[str, Any]:
    """Return what the rendered configuration says."""
    document: dict[str, Any] = yaml.safe_load((staged.folder / "llama-swap" / "config.yaml").read_text("utf-8"))
    return document


class Swap:
    """One model: its command is run, its endpoint waited for, and a signal stops it."""

    def __init__(self, staged: Stage, name: str, *, seconds: int = 60) -> None:
        model = swap_file(staged)["models"][name]
        folder = staged.folder / "llama-swap"
        environment = {**staged.environment, **dict(pair.split("=", 1) for pair in model["env"]), **places(staged)}
        self.proxy: str = model["proxy"]
        self.patience: int = model["unloadTimeout"]
        self.process = subprocess.Popen(shlex.split(model["cmd"]), cwd=folder, env=environment, start_new_session=True)
        curl = shutil.which("curl")
        assert curl
        retry = ["--retry", str(seconds), "--retry-delay", "1", "--retry-connrefused"]
        wait = [curl, "--fail", "--silent", *retry, self.proxy + model["checkEndpoint"]]
        if subprocess.run(wait, check=False).returncode:
            self.stop()
            raise AssertionError(f"{name} does not answer")
        # A server that sleeps answers before its script has begun; killed then, the script leaves it asleep.
        wait_until(f"{name} hears signals", lambda: self.process.poll() is not None or self._hears())

    def _hears(self) -> bool:
        """Whether the script has a trap for SIGTERM (proc(5), /proc/PID/status)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def stop(self) -> int:
        """Stop it as llama-swap does, which kills what has not ended after ``unloadTimeout`` seconds."""
        self.process.terminate()
        return self.process.wait(timeout=self.patience)


def places(staged: Stage) -> dict[str, str]:
    """Return what run.sh says to the commands: where they note and log what they do."""
    for place in ("run", "logs"):
        (staged.folder / place).mkdir(exist_ok=True)
    return {"PLANNER_STATE_DIR": str(staged.folder / "run"), "PLANNER_LOG_DIR": str(staged.folder / "logs")}


def end_sleepers(staged: Stage, *names: str) -> None:
    """End the servers that were left asleep, as run.sh does at its end."""
    sleeper = staged.folder / "llama-swap" / "sleeper.sh"
    for name in names if sleeper.exists() else ():
        command = ["bash", str(sleeper), "--name", name, "--stop"]
        subprocess.run(command, env=staged.environment | places(staged), check=True, timeout=120)
