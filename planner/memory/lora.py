"""Adapters (LoRA): the buffers that hold them on every rank, sized for the largest rank and as many slots as asked for.

Every linear layer of the language model gets a pair of matrices per slot, whatever an adapter brings; towers get none.
"""

import functools
from collections.abc import Iterator

from planner.architecture import Architecture, Experts, Linear, Part
from planner.engine.flags import ServeFlags
from planner.tensors.identity import Same
from planner.tensors.parameters import layer_parts
from planner.tensors.pipeline import stage_layers
from planner.units import ceil_div

# Classes whose token embedding and output head take adapters too: those with ``embedding_modules`` in
# model_executor/models/*.py 0.33.0, and those that inherit it.
_WITH_EMBEDDINGS = frozenset(
    {
        "ApertusForCausalLM", "ArceeForCausalLM", "BambaForCausalLM", "Exaone4ForCausalLM", "ExaoneForCausalLM",
        "FalconH1ForCausalLM", "GraniteForCausalLM", "GraniteMoeForCausalLM", "GraniteMoeHybridForCausalLM",
        "JambaForCausalLM", "Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "LlamaForCausalLM", "MiniCPMForCausalLM",
        "MixtralForCausalLM", "NemotronForCausalLM", "NemotronHForCausalLM", "DeciLMForCausalLM", "PhiMoEForCausalLM",
        "Phi3ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM",
        "SolarForCausalLM", "TeleChatForCausalLM",
    }
)  # fmt: skip


def lora_tensors(
    architecture: Architecture, flags: ServeFlags, dtype_bytes: int, pipeline_rank: int = 0
) -> tuple[int, ...]:
    """Return the bytes of each adapter buffer of one rank, in the order the engine makes them; none without adapters.

    Source: ``create_lora_weights`` in lora/layers/*.py, ``lora/model_manager.py:_create_lora_modules`` 0.27.0 and
    0.33.0; measured 79 MiB per slot of rank 16 for Qwen3-4B (0.27.1).
    """
    if not flags.max_loras:
        return ()
    width = flags.max_loras * flags.max_lora_rank * dtype_bytes
    values = _slot_values(
        Same(architecture),
        flags.tensor_parallel_size,
        flags.expert_parallel,
        stage_layers(architecture.num_layers, flags.pipeline_parallel_size, pipeline_rank),
    )
    return tuple(size * width for size in values)


def embedding_slot_bytes(architecture: Architecture, flags: ServeFlags, dtype_bytes: int) -> int:
    """Return the bytes of the adapters' own embedding tables, which are looked up beside the model's."""
    if not flags.max_loras or architecture.name not in _WITH_EMBEDDINGS:
        return 0
    return flags.max_loras * architecture.vocab_size * flags.max_lora_rank * dtype_bytes


@functools.lru_cache(maxsize=512)
def _slot_values(of: Same[Architecture], ranks: int, expert_parallel: bool, stage: tuple[int, int]) -> tuple[int, ...]:
    """Return the values per adapter and unit of rank of each buffer of one pipeline stage."""
    architecture = of.value
    first, last = stage
    embeds = architecture.name in _WITH_EMBEDDINGS
    sizes: list[int] = []
    if embeds and first == 0:
        sizes += _embedding_values(architecture)
    for layer in architecture.layers[first:last]:
        for part in layer_parts(layer, architecture.hidden_size):
            sizes += _part_values(part, ranks, expert_parallel=expert_parallel)
    if embeds and last == architecture.num_layers and architecture.has_head:
        # A tied head is the embedding under a second name, and is wrapped again.
        sizes += _embedding_values(architecture) if architecture.tie_word_embeddings else ()
        sizes += (architecture.hidden_size, architecture.vocab_size)
    return tuple(sizes)


def _embedding_values(architecture: Architecture) -> tuple[int, int]:
    return architecture.vocab_size, architecture.hidden_size


def _part_values(part: Part, ranks: int, *, expert_parallel: bool) -> Iterator[int]:
    """Yield a pair per matrix: from its inputs to the rank, and from the rank to its outputs."""
    if isinstance(part, Linear):
        inputs = ceil_div(part.inputs, ranks) if part.split == "row" else part.inputs
        shared = ranks if part.split == "column" else 1
        for _ in part.columns:
            yield inputs
        for column in part.columns:
            yield max(1, column.units // shared) * column.size
    elif isinstance(part, Experts):
        yield from _expert_values(part, ranks, expert_parallel=expert_parallel)


def _expert_values(part: Experts, ranks: int, *, expert_parallel: bool) -> Iterator[int]:
    """Yield the pairs of all experts of a rank. Source: ``lora/layers/fused_moe.py:_create_lora_a_weights`` 0.33.0."""
    count = ceil_div(part.count, ranks) if expert_parallel else part.count
    inner = part.intermediate_size if expert_parallel else ceil_div(part.intermediate_size, ranks)
    for _ in range(2 if part.gated else 1):
        yield count * part.hidden_size
        yield count * inner
    yield count * inner
    yield count * part.hidden_size
