"""Unified memory: what an estimate says of a GPU that shares its memory with the operating system."""

import math
from collections.abc import Iterator

from planner.facts.gpu import GPU
from planner.units import format_gib

_STEPS = 100


def unified_notes(gpu: GPU, requested_bytes: int) -> Iterator[str]:
    """Say what the operating system holds, and whether a budget of ``requested_bytes`` leaves it that.

    The engine takes the memory that Linux calls available for free memory (``MemorySnapshot.measure`` in
    ``utils/mem_utils.py``, 0.12.0 to 0.33.0), so that its own check passes where the machine may still freeze.
    """
    if not gpu.integrated:
        return
    if not gpu.system_memory_bytes:
        yield f"{gpu.name} shares its memory with the operating system, whose part is not known: leave it room"
        return
    usable = gpu.memory_bytes - gpu.system_memory_bytes
    share = math.floor(usable * _STEPS / gpu.memory_bytes) / _STEPS
    text = f"the operating system holds up to {format_gib(gpu.system_memory_bytes)} of this memory"
    if requested_bytes > usable:
        text += (
            f", and the budget takes {format_gib(requested_bytes - usable)} of that: the machine may freeze; a "
            f"gpu_memory_utilization of {share:g} leaves it alone"
        )
    yield f"{text} ({gpu.system_memory_source})"
