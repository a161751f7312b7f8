"""What this machine says of a server's process: its command line, and the memory it holds of each GPU."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

_PROC = Path("/proc")


class Process(Struct, frozen=True):
    """A process and those below it; ``words`` are its command line from the model on."""

    pid: int
    words: tuple[str, ...]
    below: frozenset[int]


def process_of(port: int, proc: Path = _PROC) -> Process | None:
    """Return the process that serves on a port, by its command line; None where none is seen."""
    parents: dict[int, int] = {}
    found: tuple[int, tuple[str, ...]] | None = None
    for folder in proc.iterdir() if proc.is_dir() else ():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            pid = int(folder.name)
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (served := _served(words)) and _port(served) == port:
                found = (pid, tuple(served))
    return Process(*found, _below(found[0], parents)) if found else None


def held_bytes(process: Process, gpus: Iterable[int]) -> dict[int, int] | None:
    """Return what a process and those below it hold of some GPUs, as NVML counts; None where there is no NVML."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return {index: _held(pynvml, index, process) for index in gpus}
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _held(nvml: Any, index: int, process: Process) -> int:  # noqa: ANN401 - the module of NVML
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    running = nvml.nvmlDeviceGetComputeRunningProcesses(device)
    return sum(one.usedGpuMemory or 0 for one in running if one.pid in process.below)


def _served(words: Sequence[str]) -> list[str]:
    """Return the words after ``vllm serve``; nothing where it is another command."""
    for index, word in enumerate(words[:-1]):
        if word.rsplit("/", 1)[-1] == "vllm" and words[index + 1] == "serve":
            return list(words[index + 2 :])
    return []


def _port(words: Sequence[str]) -> int:
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        value = value or "".join(words[index + 1 : index + 2])
        if name == "--port" and value.isdigit():
            return int(value)
    return 8000


def _below(pid: int, parents: dict[int, int]) -> frozenset[int]:
    found = {pid}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return frozenset(found)
