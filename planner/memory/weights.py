"""Weight bytes of one rank: what the engine prints as "Model loading took"."""

from dataclasses import dataclass

from planner.architecture import Architecture, Experts, Linear, Part, Tensor, Vocabulary
from planner.memory.parameters import embedding, head, layer_parts
from planner.memory.stages import stage_layers
from planner.quantization import Quantization
from planner.units import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One rank's place: its tensor-parallel group, its pipeline stage, and how experts are shared out.

    ``expert_ranks`` ranks share out whole experts; ``expert_tensor_ranks`` share out each expert's intermediate size.
    """

    tensor_ranks: int = 1
    expert_ranks: int = 1
    expert_tensor_ranks: int = 1
    dtype_bytes: int = 2


def weights_bytes(
    architecture: Architecture,
    quantization: Quantization,
    *,
    dtype_bytes: int = 2,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    pipeline_rank: int = 0,
    data_parallel_size: int = 1,
    expert_parallel: bool = False,
) -> int:
    """Return the bytes of parameters and buffers on one rank after loading.

    This is the sum the engine measures as "Model loading took" (torch allocations before and after loading). The
    sizes must be valid for the model: see ``planner.memory.validity``.
    """
    all_ranks = tensor_parallel_size * data_parallel_size
    rank = Rank(
        tensor_ranks=tensor_parallel_size,
        expert_ranks=all_ranks if expert_parallel else 1,
        expert_tensor_ranks=1 if expert_parallel else all_ranks,
        dtype_bytes=dtype_bytes,
    )
    first, last = stage_layers(architecture.num_layers, pipeline_parallel_size, pipeline_rank)
    is_first, is_last = pipeline_rank == 0, pipeline_rank == pipeline_parallel_size - 1
    total = 0
    for index in range(first, last):
        parts = layer_parts(architecture.layers[index], architecture.hidden_size)
        total += sum(part_bytes(part, f"layers.{index}.", quantization, rank) for part in parts)
    outer: list[Part] = []
    if is_first or (is_last and architecture.tie_word_embeddings):
        outer.append(embedding(architecture))
    if is_first:
        outer += [*architecture.extra, *architecture.tower]
    if is_last:
        norms = architecture.final_norms * (2 if architecture.final_norm_bias else 1)
        outer.append(Tensor(path="norm", elements=norms * architecture.hidden_size))
        if architecture.has_head and not architecture.tie_word_embeddings:
            outer.append(head(architecture))
    total += sum(part_bytes(part, "", quantization, rank) for part in outer)
    return total + rotary_bytes(architecture, dtype_bytes)


def rotary_bytes(architecture: Architecture, dtype_bytes: int) -> int:
    """Return the bytes of the rotary tables, one per distinct rope of the model."""
    return sum(table.positions * table.width * (table.dtype_bytes or dtype_bytes) for table in architecture.rotaries)


def part_bytes(part: Part, prefix: str, quantization: Quantization, rank: Rank) -> int:
    """Return what one rank holds of a part."""
    if isinstance(part, Linear):
        return _linear_bytes(part, prefix, quantization, rank)
    if isinstance(part, Experts):
        return _experts_bytes(part, prefix, quantization, rank)
    if isinstance(part, Vocabulary):
        rows = ceil_div(part.rows, part.padding) * part.padding // rank.tensor_ranks
        return rows * (part.width + part.bias) * rank.dtype_bytes
    elements = part.elements // rank.tensor_ranks if part.split else part.elements
    return elements * (part.dtype_bytes or rank.dtype_bytes)


def _linear_bytes(part: Linear, prefix: str, quantization: Quantization, rank: Rank) -> int:
    dtype_bytes = part.dtype_bytes or rank.dtype_bytes
    inputs = part.inputs // rank.tensor_ranks if part.split == "row" else part.inputs
    total = 0
    for column in part.columns:
        units = column.units
        if part.split == "column":
            units = max(1, units // rank.tensor_ranks) if column.replicated else units // rank.tensor_ranks
        rows = units * column.size
        storage = quantization.storage(prefix + column.path) if part.quantizable else None
        total += storage.matrix_bytes(rows, inputs, dtype_bytes) if storage else rows * inputs * dtype_bytes
        total += rows * dtype_bytes if part.bias else 0
    return total


def _experts_bytes(part: Experts, prefix: str, quantization: Quantization, rank: Rank) -> int:
    count = ceil_div(part.count, rank.expert_ranks)
    inner = part.intermediate_size // rank.expert_tensor_ranks
    storage = quantization.storage(prefix + part.path, expert=True)
    shapes = [(inner, part.hidden_size)] * (2 if part.gated else 1) + [(part.hidden_size, inner)]
    if storage:
        matrices = sum(storage.matrix_bytes(rows, columns, rank.dtype_bytes) for rows, columns in shapes)
    else:
        matrices = sum(rows * columns for rows, columns in shapes) * rank.dtype_bytes
    bias = sum(rows for rows, _ in shapes) * rank.dtype_bytes if part.bias else 0
    return count * (matrices + bias)
