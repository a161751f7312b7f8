"""Weight bytes of one rank: what the engine prints as "Model loading took"."""

import functools
from collections.abc import Iterable, Iterator
from typing import TypedDict

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Experts, Linear, Part, Vision, Vocabulary
from planner.facts.quantization import Quantization, Storage
from planner.tensors.allocator import allocated_bytes, pinned_bytes
from planner.tensors.identity import Same
from planner.tensors.parameters import embedding, last_parts, layer_parts
from planner.tensors.pipeline import stage_layers
from planner.tensors.weight_rules import NEWEST, WeightRules, expert_sizes, expert_tensors, on_device
from planner.units import ceil_div

_UNQUANTIZED = Quantization()
# Heads that draft tokens are quantized like the rest in published FP8 checkpoints alone; others leave them out.
_HEADS_STORED = "fp8"


class Rank(Struct, frozen=True, kw_only=True):
    """One rank's place: its tensor-parallel group, its pipeline stage, and how experts are shared out.

    ``expert_ranks`` ranks share out whole experts; ``expert_tensor_ranks`` share out each expert's intermediate size.
    A ``whole_shared`` expert is not shared out. ``batched_tokens`` sizes buffers that models set up with their weights.
    """

    tensor_ranks: int = 1
    expert_ranks: int = 1
    expert_tensor_ranks: int = 1
    whole_shared: bool = False
    dtype_bytes: int = 2
    batched_tokens: int = 0
    rules: WeightRules = NEWEST


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
    max_num_batched_tokens: int = 0,
    rules: WeightRules = NEWEST,
    backed_up: bool = False,
) -> int:
    """Return the bytes of parameters and buffers on one rank after loading.

    This is the sum the engine measures as "Model loading took" (torch allocations before and after loading). The
    sizes must be valid for the model: see ``planner.memory.validity``. ``backed_up`` asks for what a copy of them takes
    of the machine's memory instead.
    """
    rank = Rank(
        **expert_shares(architecture, tensor_parallel_size, data_parallel_size, rules, expert_parallel=expert_parallel),
        dtype_bytes=dtype_bytes,
        batched_tokens=max_num_batched_tokens
        if any(_buffers_per_token(Same(architecture), tensor_parallel_size))
        else 0,
        rules=rules,
    )
    size = _backup_bytes if backed_up else _rank_bytes
    return size(Same(architecture), Same(quantization), rank, pipeline_parallel_size, pipeline_rank)


class Shares(TypedDict):
    """How ranks share out a model, as fields of ``Rank``."""

    tensor_ranks: int
    expert_ranks: int
    expert_tensor_ranks: int
    whole_shared: bool


def expert_shares(
    architecture: Architecture, tensor_ranks: int, data_ranks: int, rules: WeightRules, *, expert_parallel: bool
) -> Shares:
    """Return how the ranks of one server share out a model.

    Ranks of data parallelism hold all but the experts whole. The ranks of all of them share out experts: whole ones
    with expert parallelism, otherwise the intermediate size of each (``FusedMoEParallelConfig.make`` in
    ``model_executor/layers/fused_moe/config.py``, 0.10.2 to 0.33.0). Where the tokens of a rank are dealt out to its
    tensor ranks before experts run, some classes keep the shared expert whole on each (``use_sequence_parallel_moe``
    in ``config/parallel.py``, 0.11.0 to 0.33.0).
    """
    ranks = tensor_ranks * data_ranks
    dealt_out = expert_parallel and tensor_ranks > 1 and data_ranks > 1
    return {
        "tensor_ranks": tensor_ranks,
        "expert_ranks": ranks if expert_parallel else 1,
        "expert_tensor_ranks": 1 if expert_parallel else ranks,
        "whole_shared": dealt_out and architecture.name in rules.whole_shared,
    }


@functools.lru_cache(maxsize=4096)
def _rank_bytes(
    architecture: Same[Architecture], quantization: Same[Quantization], rank: Rank, stages: int, stage: int
) -> int:
    """Return the bytes on one rank; a plan asks for the same checkpoint with hundreds of flags that do not matter."""
    groups = _groups(architecture.value, quantization.value, rank, stages, stage)
    return allocated_bytes(groups, rank.rules.split_limit)


def layers_bytes(
    architecture: Architecture,
    quantization: Quantization,
    *,
    dtype_bytes: int = 2,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    pipeline_rank: int = 0,
    data_parallel_size: int = 1,
    expert_parallel: bool = False,
    rules: WeightRules = NEWEST,
) -> int:
    """Return the bytes of the parameters of one stage's decoder layers on one rank, as tensors and no more.

    Layers that draft tokens are not among them: they are not made by ``make_layers`` (models/*_mtp.py 0.33.0).
    """
    rank = Rank(
        **expert_shares(architecture, tensor_parallel_size, data_parallel_size, rules, expert_parallel=expert_parallel),
        dtype_bytes=dtype_bytes,
        rules=rules,
    )
    return _layers_bytes(Same(architecture), Same(quantization), rank, pipeline_parallel_size, pipeline_rank)


@functools.lru_cache(maxsize=4096)
def _layers_bytes(
    architecture: Same[Architecture], quantization: Same[Quantization], rank: Rank, stages: int, stage: int
) -> int:
    whole = architecture.value
    first, last = stage_layers(whole.num_layers, stages, stage)
    return sum(
        size
        for index, layer in enumerate(whole.own_layers[first:last], first)
        for part in layer_parts(layer, whole.hidden_size, whole_shared=rank.whole_shared)
        for size in part_tensors(part, f"layers.{index}.", quantization.value, rank)
    )


@functools.lru_cache(maxsize=4096)
def _backup_bytes(
    architecture: Same[Architecture], quantization: Same[Quantization], rank: Rank, stages: int, stage: int
) -> int:
    groups = _groups(architecture.value, quantization.value, rank, stages, stage)
    return pinned_bytes(groups, rank.rules.split_limit)


def parameter_bytes(architecture: Architecture, quantization: Quantization, rank: Rank) -> int:
    """Return the bytes of all parameters and buffers of a model without pipeline stages, as tensors and no more."""
    return sum(map(sum, _groups(architecture, quantization, rank, 1, 0)))


def rotary_bytes(architecture: Architecture, rank: Rank) -> int:
    """Return the bytes of the rotary tables, one per distinct rope of the model."""
    return sum(_tables(architecture, rank))


def _groups(
    architecture: Architecture, quantization: Quantization, rank: Rank, stages: int, stage: int
) -> Iterator[tuple[int, ...]]:
    """Yield the bytes of the tensors of one pipeline stage, in the order the engine creates them, layer by layer."""
    yield from _parameters(Same(architecture), Same(quantization), replace(rank, batched_tokens=0), stages, stage)
    yield tuple(_buffers(architecture, rank))
    if stage == stages - 1 and architecture.drafter:
        yield from _groups(architecture.drafter, _UNQUANTIZED, rank, 1, 0)


@functools.lru_cache(maxsize=1024)
def _parameters(
    of: Same[Architecture], quantized: Same[Quantization], rank: Rank, stages: int, stage: int
) -> tuple[tuple[int, ...], ...]:
    """Return the tensors of one pipeline stage that are as large whatever the batch, in their order."""
    architecture, quantization = of.value, quantized.value
    first, last = stage_layers(architecture.num_layers, stages, stage)
    is_first, is_last = stage == 0, stage == stages - 1
    found: list[tuple[int, ...]] = []

    def tensors(parts: Iterable[Part], prefix: str, stored: Quantization) -> tuple[int, ...]:
        return tuple(size for part in parts for size in part_tensors(part, prefix, stored, rank))

    if is_first and architecture.vision:  # encoders stay in the model's dtype in published checkpoints
        found.append(_encoder(Same(architecture.vision), rank))
    before: list[Part] = []
    if is_first or (is_last and architecture.tie_word_embeddings):
        before.append(embedding(architecture))
    if is_first:
        before += architecture.first
    found.append(tensors(before, "", quantization))
    made: dict[int, tuple[Part, ...]] = {}  # by identity: layers alike are one object in most architectures
    known: dict[tuple[int, bool, tuple[Storage | None, ...]], tuple[int, ...]] = {}
    told_apart = quantization.tells_layers_apart
    for index in range(first, last):
        layer, prefix = architecture.layers[index], f"layers.{index}."
        drafts = index >= architecture.num_layers - architecture.drafted and quantization.method != _HEADS_STORED
        if id(layer) not in made:
            made[id(layer)] = layer_parts(layer, architecture.hidden_size, whole_shared=rank.whole_shared)
        parts = made[id(layer)]
        key = id(layer), drafts, _stored(parts, prefix, quantization) if told_apart and not drafts else ()
        if key not in known:
            known[key] = tensors(parts, prefix, _UNQUANTIZED if drafts else quantization)
        found.append(known[key])
        if index == first:
            found.append(tuple(_tables(architecture, rank)))
    if is_last:
        found.append(tensors(last_parts(architecture, quantized_head=quantization.head is not None), "", quantization))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _encoder(vision: Same[Vision], rank: Rank) -> tuple[int, ...]:
    return tuple(size for part in vision.value.parts for size in part_tensors(part, "", _UNQUANTIZED, rank))


def _buffers(architecture: Architecture, rank: Rank) -> Iterator[int]:
    """Yield what models set aside per batched token while they load.

    Source: models/qwen3_vl.py (deepstack inputs) and models/deepseek_v2.py (chosen tokens;
    blocks, per head, in models/minimax_m3), vLLM 0.11.0 to 0.33.0.
    """
    levels, chosen = _buffers_per_token(Same(architecture), rank.tensor_ranks)
    for _ in range(levels):
        yield rank.batched_tokens * architecture.hidden_size * rank.dtype_bytes
    for _ in range(1 + architecture.drafted):
        yield rank.batched_tokens * chosen * 4


@functools.lru_cache(maxsize=4096)
def _buffers_per_token(of: Same[Architecture], tensor_ranks: int) -> tuple[int, int]:
    """Return the hidden vectors and the token indices that are set aside per batched token."""
    levels = of.value.vision.stacked_levels if of.value.vision else 0
    attentions = [layer.attention for layer in of.value.layers if layer.attention]
    tokens = [facts.index_topk for it in attentions if (facts := it.latent or it.compressed)]
    blocks = [max(1, it.index.heads // tensor_ranks) * it.index.topk_blocks for it in attentions if it.index]
    return levels, max((*tokens, *blocks), default=0)


def _tables(architecture: Architecture, rank: Rank) -> Iterator[int]:
    if architecture.name in rank.rules.without_rotary:
        return
    for table in architecture.rotaries:
        positions = table.positions * (rank.rules.multimodal_rope_factor if table.older_factor > 1 else 1)
        single = rank.rules.latent_rope_bytes if table.single_precision else None
        yield positions * table.width * (table.dtype_bytes or single or rank.dtype_bytes)


def part_tensors(part: Part, prefix: str, quantization: Quantization, rank: Rank) -> Iterator[int]:
    """Yield the bytes of the tensors of one part that one rank holds."""
    if isinstance(part, Linear):
        yield from _linear(part, prefix, quantization, rank)
    elif isinstance(part, Experts):
        yield from _experts(part, prefix, quantization, rank)
    elif isinstance(part, Vocabulary):
        rows = ceil_div(part.rows, part.padding) * part.padding // (1 if part.whole else rank.tensor_ranks)
        storage = quantization.head if part.path == "lm_head" else None
        sizes = (
            storage.tensors(rows, part.width, rank.dtype_bytes) if storage else (rows * part.width * rank.dtype_bytes,)
        )
        yield from sizes
        yield rows * part.bias * rank.dtype_bytes
    else:
        elements = part.elements // rank.tensor_ranks if part.split else part.elements
        if part.replicated:
            elements = max(1, elements)
        yield elements * part.each * (part.dtype_bytes or rank.dtype_bytes)


def _stored(parts: Iterable[Part], prefix: str, quantization: Quantization) -> tuple[Storage | None, ...]:
    """Return how the modules of a layer are stored, each of its matrices in its place."""
    found: list[Storage | None] = []
    for part in parts:
        if isinstance(part, Linear) and part.quantizable:
            found += [stored_as(Same(quantization), prefix + column.path) for column in part.columns]
        elif isinstance(part, Experts):
            found.append(stored_as(Same(quantization), prefix + part.path, expert=True))
    return tuple(found)


@functools.lru_cache(maxsize=1 << 16)
def stored_as(quantization: Same[Quantization], path: str, *, expert: bool = False) -> Storage | None:
    """Return how a module is stored; what says so is read once for all ways to share a model out."""
    return quantization.value.storage(path, expert=expert)


def _linear(part: Linear, prefix: str, quantization: Quantization, rank: Rank) -> Iterator[int]:
    """Yield the tensors of a linear layer; matrices stored alike are fused into one."""
    dtype_bytes = part.dtype_bytes or rank.dtype_bytes
    ranks = 1 if part.heads % rank.tensor_ranks else rank.tensor_ranks
    inputs = part.inputs // ranks if part.split == "row" else part.inputs
    rows_by_storage: dict[Storage | None, int] = {}
    for column in part.columns:
        units = column.units
        if part.split == "column":
            units = max(1, units // ranks) if column.replicated else units // ranks
        storage = stored_as(Same(quantization), prefix + column.path) if part.quantizable else None
        storage = on_device(storage, rank.rules) if storage else None
        rows_by_storage[storage] = rows_by_storage.get(storage, 0) + units * column.size
    for storage, rows in rows_by_storage.items():
        yield from storage.tensors(rows, inputs, dtype_bytes) if storage else (rows * inputs * dtype_bytes,)
        if storage and part.dequantized_copy:
            yield rows * inputs * dtype_bytes
    if part.bias:
        yield sum(rows_by_storage.values()) * dtype_bytes


def _experts(part: Experts, prefix: str, quantization: Quantization, rank: Rank) -> Iterator[int]:
    """Yield the tensors of the routed experts: gate and up fused, down, each over all experts of the rank."""
    count = ceil_div(part.count, rank.expert_ranks)
    storage = stored_as(Same(quantization), prefix + part.path, expert=True)
    storage = on_device(storage, rank.rules, expert=True) if storage else None
    inner = ceil_div(part.intermediate_size, rank.expert_tensor_ranks)
    hidden, inner = expert_sizes(storage, part.hidden_size, inner, rank.rules, bias=part.bias)
    for rows, columns in ((inner * (2 if part.gated else 1), hidden), (hidden, inner)):
        sizes = expert_tensors(storage, rows, columns, rank.rules, rank.dtype_bytes, bias=part.bias)
        yield from (count * size for size in sizes)
