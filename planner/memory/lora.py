"""Adapters (LoRA): the buffers that hold them on every rank, sized for the largest rank and as many slots as asked for.

Every linear layer of the language model gets a pair of matrices per slot, whatever an adapter brings; towers get none.
``lora_modules`` of the flags restricts them to the layers of these names.
"""

import functools
from collections.abc import Iterator

from msgspec import Struct

from planner.architecture import Architecture, Column, Experts, Linear, Part
from planner.engine.adapters import AdapterClasses, adapter_classes, below, since
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.tensors.identity import Same
from planner.tensors.parameters import layer_parts
from planner.tensors.pipeline import stage_layers
from planner.units import ceil_div

# What the engine calls the layers that it joins, by the names their parts have in checkpoints.
_JOINED = {"q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj", "gate_proj": "gate_up_proj",
           "up_proj": "gate_up_proj"}  # fmt: skip
_ATTENTION, _FEED_FORWARD = 3, 2
# Queries, keys, values and gates of a gated delta net are four outputs of one layer (gdn/qwen_gdn_linear_attn.py).
_DELTA = ".in_proj_qkv"
_DELTA_SLICES = 4
# The indexer's keys and weights are one layer of two outputs, for which there is no wrapper.
_INDEXER = ".indexer.wk"


class _Shape(Struct, frozen=True):
    """What the buffers of a pipeline stage depend on beside the architecture."""

    version: str
    transformers: tuple[str, ...]
    ranks: int
    expert_parallel: bool
    fully_sharded: bool
    modules: tuple[str, ...]
    stage: tuple[int, int]

    def holds(self, *names: str) -> bool:
        """Whether a layer of one of these names may hold adapters."""
        return not self.modules or any(name in self.modules for name in names)


def lora_tensors(
    architecture: Architecture, flags: ServeFlags, dtype_bytes: int, profile: EngineProfile, pipeline_rank: int = 0
) -> tuple[int, ...]:
    """Return the bytes of each adapter buffer of one rank, in the order the engine makes them; none without adapters.

    Source: ``create_lora_weights`` in lora/layers/*.py, ``lora/model_manager.py:_create_lora_modules`` 0.27.0 to
    0.33.0; equal to the engine's own buffers (benchmarks/engine_oracle/adapters.csv).
    """
    if not flags.max_loras:
        return ()
    width = flags.max_loras * flags.max_lora_rank * dtype_bytes
    stages = stage_layers(architecture.num_layers, flags.pipeline_parallel_size, pipeline_rank)
    shape = _Shape(
        version=profile.version,
        transformers=profile.transformers_classes,
        ranks=flags.tensor_parallel_size,
        expert_parallel=flags.expert_parallel,
        fully_sharded=flags.fully_sharded_loras,
        modules=flags.lora_modules,
        stage=stages,
    )
    return tuple(size * width // shares for size, shares in _slot_values(Same(architecture), shape))


def embedding_slot_bytes(
    architecture: Architecture, flags: ServeFlags, dtype_bytes: int, profile: EngineProfile
) -> int:
    """Return the bytes of the adapters' own embedding tables, which are looked up beside the model's."""
    if not flags.max_loras or (flags.lora_modules and "embed_tokens" not in flags.lora_modules):
        return 0
    embeds, _ = _vocabularies(architecture, profile.version, profile.transformers_classes)
    if not embeds:
        return 0
    return flags.max_loras * architecture.vocab_size * flags.max_lora_rank * dtype_bytes


def head_takes_adapters(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> bool:
    """Whether the output head is among the layers that hold adapters."""
    _, heads = _vocabularies(architecture, profile.version, profile.transformers_classes)
    return heads and architecture.has_head and (not flags.lora_modules or "lm_head" in flags.lora_modules)


def _vocabularies(architecture: Architecture, version: str, transformers: tuple[str, ...]) -> tuple[bool, bool]:
    """Return whether the token embedding and whether the output head take adapters."""
    known = adapter_classes()
    names = {architecture.name, architecture.language or architecture.name}
    if architecture.name in transformers:
        return True, False
    embeds = any(
        since(version, known.embeddings, name)
        and (name not in known.embeddings_below or below(version, known.embeddings_below, name))
        for name in names
    )
    return embeds, embeds and not names & known.embedding_alone


Values = tuple[int, int]
"""The values of a buffer per slot and unit of rank, and over how many ranks they are shared."""


@functools.lru_cache(maxsize=512)
def _slot_values(of: Same[Architecture], shape: _Shape) -> tuple[Values, ...]:
    """Return the values of each buffer of one pipeline stage."""
    architecture = of.value
    first, last = shape.stage
    known = adapter_classes()
    embeds, heads = _vocabularies(architecture, shape.version, shape.transformers)
    embeds, heads = embeds and shape.holds("embed_tokens"), heads and shape.holds("lm_head")
    vocabulary, hidden = architecture.vocab_size, architecture.hidden_size
    found: list[Values] = []
    if embeds and first == 0:
        found += ((vocabulary, 1), (hidden, 1))
    if first == 0:
        for part in architecture.first:
            found += _part_values(part, architecture, shape, known)
    for layer in architecture.own_layers[first:last]:
        for part in layer_parts(layer, hidden):
            found += _part_values(part, architecture, shape, known)
    if last == len(architecture.layers):
        for part in architecture.last:
            found += _part_values(part, architecture, shape, known)
        if heads and architecture.has_head:
            # A tied head may be the embedding under a second name, and is wrapped again then.
            twice = below(shape.version, known.twice_below, architecture.language or architecture.name)
            if architecture.tie_word_embeddings and embeds and twice:
                found += ((vocabulary, 1), (hidden, 1))
            found += ((hidden, 1), (vocabulary, 1))
    return tuple(found)


def _part_values(part: Part, architecture: Architecture, shape: _Shape, known: AdapterClasses) -> Iterator[Values]:
    """Yield a pair per matrix: from its inputs to the rank, and from the rank to its outputs."""
    if isinstance(part, Linear):
        names = [column.path.rpartition(".")[2] for column in part.columns]
        if shape.holds(*names, *(_JOINED.get(name, name) for name in names)):
            yield from _linear_values(part, architecture, shape, known)
    elif isinstance(part, Experts) and shape.holds("experts"):
        fused = since(shape.version, known.fused_experts, architecture.name)
        yield from _expert_values(part, shape, fused=fused)


def _linear_values(part: Linear, architecture: Architecture, shape: _Shape, known: AdapterClasses) -> Iterator[Values]:
    if part.columns[0].path.endswith(_INDEXER):
        return
    ranks = shape.ranks
    sharded = ranks if shape.fully_sharded else 1
    inputs = ceil_div(part.inputs, ranks) if part.split == "row" else part.inputs
    outputs = [_outputs(column, ranks if part.split == "column" else 1) for column in part.columns]
    for _ in range(_slices(part, architecture, ranks, known)):
        yield inputs, sharded if part.split == "column" else 1
    for size in outputs:
        yield size, sharded if part.split == "row" else 1


def _outputs(column: Column, ranks: int) -> int:
    return max(1, column.units // ranks) * column.size


def _slices(part: Linear, architecture: Architecture, ranks: int, known: AdapterClasses) -> int:
    """Return the pairs of a layer, which has one for each matrix that checkpoints keep apart."""
    columns, name = part.columns, architecture.name
    if name in known.fused_delta and columns[0].path.rpartition(".")[2].startswith("in_proj_"):
        return 1
    if columns[0].path.endswith(_DELTA):
        return _DELTA_SLICES
    if len(columns) == _ATTENTION and name in known.fused_attention:
        return 1
    if len(columns) == _FEED_FORWARD and name in known.fused_feed_forward:
        return 1
    # A state-space layer whose groups are repeated over ranks is one matrix (mamba/mamba_mixer2.py).
    repeated = any(column.replicated and column.units % ranks for column in columns)
    return 1 if repeated and len({column.path for column in columns}) < len(columns) else len(columns)


def _expert_values(part: Experts, shape: _Shape, *, fused: bool) -> Iterator[Values]:
    """Yield the pairs of all experts of a rank. Source: ``lora/layers/fused_moe.py:_create_lora_a_weights`` 0.33.0."""
    ranks, expert_parallel = shape.ranks, shape.expert_parallel
    sharded = ranks if shape.fully_sharded else 1
    count = ceil_div(part.count, ranks) if expert_parallel else part.count
    inner = part.intermediate_size if expert_parallel else ceil_div(part.intermediate_size, ranks)
    gates = 2 if part.gated else 1
    for _ in range(1 if fused else gates):
        yield count * part.hidden_size, sharded
    for _ in range(gates):
        yield count * inner, 1
    yield count * inner, 1
    yield count * part.hidden_size, sharded
