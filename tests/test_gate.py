"""gate.sh alone: one start at a time, locks that die with their holder, signals, readiness."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import plans
import pytest
from staged import Stage, free_ports, stage, wait_until

MODEL = "Qwen/Qwen2.5-7B-Instruct"


@pytest.fixture
def gate(tmp_path: Path) -> Stage:
    return stage(plans.two_roles(), tmp_path)


def engine(staged: Stage, name: str, port: int, *options: str) -> subprocess.Popen[bytes]:
    lock = str(staged.folder / "locks" / "gpu-0")
    health = f"http://127.0.0.1:{port}/health"
    serve = ("vllm", "serve", MODEL, "--served-model-name", name, "--port", str(port), "--host", "127.0.0.1")
    return staged.start("gate.sh", "--lock", lock, "--health", health, *options, "--", *serve, "--max-model-len", "1")


def wait_for(staged: Stage, event: str) -> None:
    wait_until(event, lambda: any(line.startswith(event) for line in staged.events()))


def waits(staged: Stage) -> None:
    """Wait until a gate has found the lock taken."""
    said = "waiting for another server that is starting on this GPU"
    wait_until("a gate waits", lambda: said in staged.output.read_text(encoding="utf-8"))


def stop(staged: Stage, *processes: subprocess.Popen[bytes]) -> list[int]:
    for process in processes:
        process.terminate()
    return [staged.finish(process) for process in processes]


def names(staged: Stage) -> list[str]:
    return [event.split(":")[0] for event in staged.events()]


def test_simultaneous_starts_do_not_overlap(gate: Stage) -> None:
    processes = [engine(gate, f"s{port}", port) for port in free_ports(3)]
    try:
        wait_until("all are ready", lambda: len(gate.events()) == 6)
        order = [event.split()[0] for event in names(gate)]
        assert order == ["start", "ready"] * 3
    finally:
        assert stop(gate, *processes) == [143, 143, 143]


def test_a_server_that_dies_while_loading_gives_the_lock_back(gate: Stage) -> None:
    first_port, second_port = free_ports(2)
    gate.environment |= {"FAKE_LOADS": "first"}
    first = engine(gate, "first", first_port)
    wait_for(gate, "start first")
    second = engine(gate, "second", second_port)
    waits(gate)
    assert "start second" not in names(gate)
    orphan = child_of(first.pid)
    os.kill(first.pid, signal.SIGKILL)

    wait_for(gate, "ready second")
    os.kill(orphan, signal.SIGKILL)
    gate.finish(first)
    stop(gate, second)


def test_the_code_of_the_command_is_the_code_of_the_gate(gate: Stage) -> None:
    assert gate.run("gate.sh", "--", "bash", "-c", "exit 7").returncode == 7
    assert gate.run("gate.sh", "--", "true").returncode == 0


def test_a_signal_reaches_the_server_and_the_waiting(gate: Stage) -> None:
    port, other = free_ports(2)
    gate.environment["FAKE_LOADS"] = "first"
    first = engine(gate, "first", port)
    wait_for(gate, "start first")
    waiting = engine(gate, "waiting", other)
    waits(gate)

    assert stop(gate, waiting) == [143], "one that waits for the lock stops at once"
    assert stop(gate, first) == [143]
    assert names(gate)[-1] == "stop first"


def test_a_server_that_misses_the_signal_while_it_loads_is_told_again(gate: Stage) -> None:
    (port,) = free_ports(1)
    deaf = 'trap "((++heard > 1)) && exit 0" TERM; echo loads; while :; do sleep 0.1; done'
    health = f"http://127.0.0.1:{port}/health"
    process = gate.start("gate.sh", "--health", health, "--", "bash", "-c", deaf)
    wait_until("it loads", lambda: "loads" in gate.output.read_text(encoding="utf-8"))

    assert stop(gate, process) == [143]


def test_a_server_that_never_answers_is_stopped(gate: Stage) -> None:
    (port,) = free_ports(1)
    gate.environment["FAKE_LOADS"] = "mute"
    process = engine(gate, "mute", port, "--timeout", "5")

    assert gate.finish(process) == 75
    assert "no answer from" in gate.output.read_text(encoding="utf-8")
    assert names(gate)[-1] == "stop mute"


def test_readiness_is_reported_when_health_answers(gate: Stage, tmp_path: Path) -> None:
    """The gate is what systemd's Type=notify waits for; the engine must not inherit the socket."""
    address = str(tmp_path / "notify")
    messages: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(300)

        def receive() -> None:
            while b"READY=1" not in b"".join(messages):
                messages.append(listener.recv(4096))

        thread = threading.Thread(target=receive)
        thread.start()
        (port,) = free_ports(1)
        gate.environment["NOTIFY_SOCKET"] = address
        process = engine(gate, "notified", port)
        wait_for(gate, "start notified")
        assert messages == []
        thread.join(timeout=300)
        assert not thread.is_alive()
        assert "ready notified" in names(gate)
        environment = Path(f"/proc/{child_of(process.pid)}/environ").read_text(encoding="utf-8")
        assert "NOTIFY_SOCKET" not in environment
        stop(gate, process)


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return int(children[0])


def test_the_key_may_come_as_a_credential(gate: Stage, tmp_path: Path) -> None:
    (tmp_path / "vllm_api_key").write_text("from-a-file", encoding="utf-8")
    gate.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    del gate.environment["VLLM_API_KEY"]

    assert gate.run("gate.sh", "--", "printenv", "VLLM_API_KEY").stdout == "from-a-file\n"


def test_the_engine_waits_as_long_as_the_gate(gate: Stage) -> None:
    told = gate.run("gate.sh", "--timeout", "2340", "--", "printenv", "VLLM_ENGINE_READY_TIMEOUT_S")

    assert told.stdout == "2340\n"


def test_mistakes_are_usage_errors(gate: Stage) -> None:
    assert gate.run("gate.sh", "--nonsense", "1").returncode == 64
    assert gate.run("gate.sh", "--port").returncode == 64
    assert gate.run("gate.sh", "--").returncode == 64
    assert gate.run("gate.sh", "--lock", "/nonexistent", "--", "true").returncode == 78


def test_weights_that_the_server_may_not_read_are_refused(gate: Stage) -> None:
    """A service runs as its own user; the engine would fail in the middle of every start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(gate.folder / "gate.sh", folder / "gate.sh")
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "model.safetensors").chmod(0o600 if os.geteuid() == 0 else 0)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        run = subprocess.run(
            [*other, "bash", folder / "gate.sh", "--check", "--weights", name],
            env={"PATH": "/usr/bin:/bin", "VLLM_API_KEY": "x"}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run.returncode == 78
    assert "model.safetensors cannot be read by the user of this server" in run.stderr


CARD = "NVIDIA A100-SXM4-80GB"
SMALL, LARGE = "MIG-1c0a8e5e-0000-5de3-91c7-45d71c87eb3f", "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
DIVIDED = f"""GPU 0: {CARD} (UUID: GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f)
  MIG 1g.10gb+me  Device  0: (UUID: {SMALL})
  MIG 3g.40gb     Device  1: (UUID: {LARGE})"""
ONE = "\n".join(line for line in DIVIDED.splitlines() if SMALL not in line)
NO_SLICES = DIVIDED.splitlines()[0]


def slice_check(gate: Stage, listed: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Check for a 3g.40gb slice; of the card nvidia-smi tells only the name."""
    gate.environment |= {"FAKE_SLICES": listed, "FAKE_GPU_NAME": CARD, "FAKE_GPU_FREE_MIB": "[N/A]"}
    gate.environment |= {"FAKE_MIG_MODE": "Enabled", **environment}
    return gate.run("gate.sh", "--check", "--gpu-name", f"{CARD} MIG 3g.40gb", "--memory", str(30 << 30), *options)


@pytest.mark.parametrize(
    ("listed", "options", "environment"),
    [
        (ONE, (), {}),
        (ONE, ("--gpu", "0"), {}),
        (DIVIDED, ("--gpu", "0"), {"PLANNER_GPU_0": LARGE}),
        (DIVIDED, (), {"NVIDIA_VISIBLE_DEVICES": LARGE}),
        (NO_SLICES, (), {}),
        (NO_SLICES, (), {"NVIDIA_VISIBLE_DEVICES": LARGE}),
    ],
    ids=["container", "host", "uuid", "container-of-several", "not-listed", "not-listed-by-uuid"],
)
def test_the_right_slice_is_never_refused(
    gate: Stage, listed: str, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    checked = slice_check(gate, listed, *options, **environment)

    assert checked.returncode == 0, checked.stderr
    assert ("so the profile is not checked" in checked.stderr) == (listed == NO_SLICES)


@pytest.mark.parametrize(
    ("listed", "options", "environment", "sentence"),
    [
        (DIVIDED, (), {}, f"but {SMALL} is {CARD} MIG 1g.10gb"),
        (DIVIDED, ("--gpu", "0"), {"PLANNER_GPU_0": SMALL}, f"but {SMALL} is {CARD} MIG 1g.10gb"),
        (DIVIDED, ("--gpu", "0"), {"PLANNER_GPU_0": "MIG-gone"}, "lists no slice MIG-gone"),
        (ONE, ("--gpu", "1"), {}, "write the UUID of each slice"),
        (ONE.replace("A100", "H100"), (), {}, "is NVIDIA H100-SXM4-80GB MIG 3g.40gb"),
        (NO_SLICES, (), {"FAKE_GPU_NAME": "NVIDIA L4"}, "is NVIDIA L4"),
        (NO_SLICES, ("--gpu", "0"), {"FAKE_MIG_MODE": "Disabled"}, "is not divided into slices"),
    ],
    ids=["container", "uuid", "no-such-uuid", "no-such-gpu", "card", "card-not-listed", "whole-card"],
)
def test_another_slice_is_refused(
    gate: Stage, listed: str, options: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    checked = slice_check(gate, listed, *options, **environment)

    assert checked.returncode == 78
    assert sentence in checked.stderr


def unified_check(gate: Stage, kind: str, *, free_gib: int, available_gib: int) -> subprocess.CompletedProcess[str]:
    """Check for 90 GiB on a GPU without memory of its own."""
    meminfo = gate.folder / "meminfo"
    lines = (f"{key}: {gib << 20} kB" for key, gib in (("MemFree", free_gib), ("MemAvailable", available_gib)))
    meminfo.write_text("\n".join(lines), encoding="utf-8")
    gate.environment |= {"FAKE_GPU_NAME": "NVIDIA GB10", "FAKE_GPU_FREE_MIB": "[N/A]"}
    return gate.run(
        "gate.sh", "--check", "--gpu-name", "NVIDIA GB10", "--memory", str(90 << 30), "--memory-wait", "0",
        "--unified", kind, "--meminfo", str(meminfo),
    )  # fmt: skip


def test_unified_memory_counts_as_the_engine_counts_it(gate: Stage) -> None:
    """A download of 60 GiB left 41 GiB free and 103 available; the newer engine starts there, the older does not."""
    fresh = unified_check(gate, "available", free_gib=100, available_gib=103)
    newer = unified_check(gate, "available", free_gib=41, available_gib=103)
    older = unified_check(gate, "free", free_gib=41, available_gib=103)
    full = unified_check(gate, "available", free_gib=20, available_gib=60)

    assert (fresh.returncode, fresh.stderr) == (0, "")
    assert newer.returncode == 0
    assert "63488 MiB of the free memory are page cache" in newer.stderr
    assert older.returncode == 75
    assert "or drop the 63488 MiB of page cache: sync && echo 1 | sudo tee /proc/sys/vm/drop_caches" in older.stderr
    assert full.returncode == 75
    assert "only 61440 MiB are free: stop what else uses it (nvidia-smi lists the processes)\n" in full.stderr
