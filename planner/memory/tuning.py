"""A start that compiles the model: what tuning the kernels holds besides the weights, while memory is profiled.

Inductor may join kernels that do not depend on one another, and times them on random copies of their inputs to see
whether that pays. The kernel that looks up the token embedding reads the whole table. A later start finds the result in
the compile cache.
"""

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.memory.lora import embedding_slot_bytes
from planner.tensors.parameters import embedding
from planner.units import ceil_div

# What the lookup writes beside what it reads: the embedded batch, and the batch after the first norm.
_OUTPUTS = 2


class Tuning(Struct, frozen=True, kw_only=True):
    """What timing the embedding's kernel takes: ``peak_bytes`` in all, of which ``copy_bytes`` copy its tables."""

    peak_bytes: int
    copy_bytes: int


NO_TUNING = Tuning(peak_bytes=0, copy_bytes=0)


def tuning(architecture: Architecture, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int) -> Tuning:
    """Return what the first pipeline stage holds while its embedding is tuned, nothing where the model is not compiled.

    Models that take images look tokens up outside the compiled graph. Source:
    ``torch/_inductor/scheduler.py:speedup_by_combo_kernel`` and ``codegen/triton.py:codegen_kernel_benchmark`` 2.13,
    switched on by ``benchmark_combo_kernel`` in ``config/compilation.py`` 0.12.0 to 0.33.0; measured within 0.01 GiB:
    1.18 GiB for Qwen3-8B, 0.74 for Qwen3-4B, 0.59 for Qwen3-1.7B (0.27.1, RTX 4090), 1.10 for the first of two stages
    of Llama-3.1-8B and 2.21 in float32 (0.19.0, H100, llm-d-planner#205).
    """
    if flags.enforce_eager or architecture.vision or not profile.compile_copies_embedding:
        return NO_TUNING
    table = embedding(architecture)
    rows = ceil_div(ceil_div(table.rows, table.padding) * table.padding, flags.tensor_parallel_size)
    copy = rows * table.width * dtype_bytes + embedding_slot_bytes(architecture, flags, dtype_bytes, profile)
    written = _OUTPUTS * flags.max_num_batched_tokens * architecture.hidden_size * dtype_bytes
    return Tuning(peak_bytes=copy + written, copy_bytes=copy)
