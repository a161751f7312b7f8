"""Which ways of sharing out a model the engine refuses, worded as it words them."""

from collections.abc import Iterator

from planner.architecture import Architecture, Layer, Linear, Vision
from planner.flags import ServeFlags
from planner.quantization import Quantization, Storage

_VOCABULARY_PADDING = 64
# Kinds of recurrent state without heads.
_CHANNELWISE = ("mamba1", "short-conv")


def invalid(architecture: Architecture, quantization: Quantization, flags: ServeFlags) -> str | None:
    """Return why a model cannot be shared out as the flags say, or None.

    Source: ``verify_with_parallel_config`` in ``config/model.py``, ``divide`` in ``distributed/utils.py``, the
    constructors in ``model_executor/layers`` and ``create_weights`` of the quantization methods, 0.19.0 to 0.33.0.
    """
    return next(_reasons(architecture, quantization, flags), None)


def _reasons(architecture: Architecture, quantization: Quantization, flags: ServeFlags) -> Iterator[str]:
    ranks, stages = flags.tensor_parallel_size, flags.pipeline_parallel_size
    if stages > architecture.num_layers:
        yield f"pipeline_parallel_size ({stages}) is greater than the number of layers ({architecture.num_layers})"
    if ranks == 1 and flags.data_parallel_size == 1:
        return
    heads = architecture.num_attention_heads
    if heads % ranks:
        yield (f"total number of attention heads ({heads}) must be divisible by tensor parallel size ({ranks})")
    vocabulary = -(-architecture.vocab_size // _VOCABULARY_PADDING) * _VOCABULARY_PADDING
    if vocabulary % ranks:
        yield f"{vocabulary} is not divisible by {ranks}: the vocabulary cannot be shared out"
    if architecture.vision:
        yield from _vision_reasons(architecture.vision, ranks)
    seen: set[Layer] = set()
    for index, layer in enumerate(architecture.layers):
        if layer not in seen:
            seen.add(layer)
            yield from _layer_reasons(layer, f"layers.{index}.", quantization, flags)


def _vision_reasons(vision: Vision, ranks: int) -> Iterator[str]:
    if vision.sharded_heads % ranks:
        yield f"{vision.sharded_heads} is not divisible by {ranks}: the vision encoder's heads cannot be shared out"
    for part in vision.parts:
        if isinstance(part, Linear) and part.split != "none":
            sizes = [part.inputs] if part.split == "row" else [x.units for x in part.columns if not x.replicated]
            for size in sizes:
                if size % ranks:
                    yield f"{size} is not divisible by {ranks}: {part.columns[0].path} cannot be shared out"


def _layer_reasons(layer: Layer, prefix: str, quantization: Quantization, flags: ServeFlags) -> Iterator[str]:
    ranks = flags.tensor_parallel_size
    if layer.attention:
        keys = layer.attention.num_kv_heads
        if max(keys, ranks) % min(keys, ranks) and not layer.attention.latent:
            yield f"{keys} key-value heads cannot be shared out over tensor parallel size {ranks}"
        inputs = layer.attention.num_heads * layer.attention.value_head_dim
        yield from _row_reasons(inputs, ranks, quantization.storage(f"{prefix}self_attn.o_proj"), "o_proj")
    if layer.state:
        whole = layer.state.inner_size if layer.state.kind in _CHANNELWISE else layer.state.heads
        if whole % ranks:
            yield f"{whole} heads or channels of recurrent state are not divisible by tensor parallel size {ranks}"
    if layer.feed_forward:
        inputs = layer.feed_forward.intermediate_size
        yield from _row_reasons(inputs, ranks, quantization.storage(f"{prefix}mlp.down_proj"), "down_proj")
    if layer.mixture and not flags.expert_parallel:
        parts = ranks * flags.data_parallel_size
        yield from _row_reasons(layer.mixture.intermediate_size, parts, None, "the experts")


def _row_reasons(inputs: int, ranks: int, storage: Storage | None, name: str) -> Iterator[str]:
    """Check a matrix whose inputs are shared out: evenly, and in whole quantization groups."""
    if inputs % ranks:
        yield f"{inputs} is not divisible by {ranks}: the inputs of {name} cannot be shared out"
    elif storage and storage.group_size and inputs // ranks % storage.group_size:
        yield (
            f"the input size of {name} per rank ({inputs // ranks}) is not a multiple of the quantization group "
            f"({storage.group_size}): the tensor parallel size is too large"
        )
