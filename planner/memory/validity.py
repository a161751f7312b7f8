"""Which ways of sharing out a model the engine refuses."""

import functools
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Layer, Linear, Mixture, Vision
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.engine.versions import parse_version
from planner.facts.quantization import Quantization, Storage
from planner.tensors.identity import Same
from planner.tensors.parameters import layer_parts
from planner.units import ceil_div

_VOCABULARY_PADDING = 64
# Decoders that lack ``SupportsPP`` in model_executor/models, and the version that has it first where one does (0.9.1 to
# 0.33.0). Those that run through the Transformers backend may lack a plan for stages.
_STAGES_SINCE = {"Gemma3nForCausalLM": None, "DeepseekV4ForCausalLM": "0.22.1"}
# Kinds of recurrent state without heads.
_CHANNELWISE = ("mamba1", "short-conv")


def invalid(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile
) -> Refusal | None:
    """Return why a model cannot be shared out as the flags say, or None.

    Source: ``verify_with_parallel_config`` in ``config/model.py``, ``divide`` in ``distributed/utils.py``, the
    constructors in ``model_executor/layers`` and ``create_weights`` of the quantization methods, 0.19.0 to 0.33.0.
    """
    stages = flags.pipeline_parallel_size
    if stages > architecture.num_layers:
        return refused("stages-above-layers", stages=stages, layers=architecture.num_layers)
    if stages > 1 and not _has_stages(architecture, profile):
        return refused("no-stages", architecture=architecture.name)
    if flags.expert_parallel and (reason := _no_experts_for(architecture, flags)):
        return reason
    shares = _Shares(
        flags.tensor_parallel_size,
        flags.data_parallel_size * flags.tensor_parallel_size,
        flags.expert_parallel,
        profile.uneven_expert_blocks,
        flags.expert_parallel
        and min(flags.tensor_parallel_size, flags.data_parallel_size) > 1
        and architecture.name in profile.whole_shared_experts,
    )
    return _first_reason(Same(architecture), Same(quantization), shares) if shares.all_ranks > 1 else None


def _has_stages(architecture: Architecture, profile: EngineProfile) -> bool:
    """Whether a model can be cut into pipeline stages.

    Encoders cannot, and layers that share the KV cache of another must be on the same stage (models/gemma4.py).
    """
    since = _STAGES_SINCE.get(architecture.name, "0.0.0")
    written = since is not None and parse_version(profile.version) >= parse_version(since)
    uncached = any(layer.attention and not layer.attention.cached for layer in architecture.layers)
    return written and architecture.name not in profile.transformers_classes and not uncached


def _no_experts_for(architecture: Architecture, flags: ServeFlags) -> Refusal | None:
    """Say why ranks cannot share out whole experts: there are none, or fewer than ranks."""
    experts = fewest_experts(Same(architecture))
    if not experts:
        return refused("no-experts", architecture=architecture.name)
    ranks = flags.tensor_parallel_size * flags.data_parallel_size
    return refused("experts-below-ranks", experts=experts, ranks=ranks) if ranks > experts else None


@functools.lru_cache(maxsize=4096)
def fewest_experts(architecture: Same[Architecture]) -> int:
    """Return how many experts the smallest mixture of a model has; 0 where it has none."""
    return min((layer.mixture.count for layer in architecture.value.layers if layer.mixture), default=0)


class _Shares(Struct, frozen=True):
    """How many ranks share out attention and experts, and whether experts' shards may end inside an FP8 block.

    A ``whole_shared`` expert is not shared out.
    """

    ranks: int
    all_ranks: int
    expert_parallel: bool
    uneven_expert_blocks: bool
    whole_shared: bool


@functools.lru_cache(maxsize=4096)
def _first_reason(
    architecture: Same[Architecture], quantization: Same[Quantization], shares: _Shares
) -> Refusal | None:
    """Return the first reason; a plan asks the same for hundreds of flags that do not matter."""
    return next(_reasons(architecture.value, quantization.value, shares), None)


def _reasons(architecture: Architecture, quantization: Quantization, shares: _Shares) -> Iterator[Refusal]:
    ranks = shares.ranks
    heads = architecture.num_attention_heads
    if heads % ranks:
        yield refused("heads-over-ranks", heads=heads, ranks=ranks)
    vocabulary = ceil_div(architecture.vocab_size, _VOCABULARY_PADDING) * _VOCABULARY_PADDING
    if vocabulary % ranks:
        yield refused("vocabulary-over-ranks", vocabulary=vocabulary, ranks=ranks)
    if architecture.vision:
        yield from _vision_reasons(architecture.vision, ranks)
    seen: set[Layer] = set()
    for index, layer in enumerate(architecture.layers):
        if layer in seen:
            continue
        seen.add(layer)
        yield from _state_reasons(layer, ranks)
        # Which layers are quantized may depend on their place; layers alike are looked at once.
        parts = layer_parts(replace(layer, state=None), architecture.hidden_size, whole_shared=shares.whole_shared)
        for part in parts:
            if isinstance(part, Linear) and part.split != "none":
                yield from _linear_reasons(part, ranks, f"layers.{index}.", quantization)
        if layer.mixture and not shares.expert_parallel:
            storage = quantization.storage(f"layers.{index}.{layer.mixture.path}.experts", expert=True)
            yield from _expert_reasons(layer.mixture, storage, shares)


def _vision_reasons(vision: Vision, ranks: int) -> Iterator[Refusal]:
    if vision.sharded_heads % ranks:
        yield refused("encoder-heads-over-ranks", heads=vision.sharded_heads, ranks=ranks)
    for part in vision.parts:
        if isinstance(part, Linear) and part.split != "none":
            yield from _linear_reasons(part, ranks, "", Quantization())


def _state_reasons(layer: Layer, ranks: int) -> Iterator[Refusal]:
    if layer.state:
        whole = layer.state.inner_size if layer.state.kind in _CHANNELWISE else layer.state.heads
        if layer.state.kind == "lightning":  # the groups of its norm (linear/bailing_linear_attn.py)
            whole = layer.state.groups
        if whole % ranks:
            yield refused("state-over-ranks", whole=whole, ranks=ranks)


def _linear_reasons(part: Linear, ranks: int, prefix: str, quantization: Quantization) -> Iterator[Refusal]:
    """Check a matrix that is shared out: evenly, and in whole quantization groups or blocks."""
    for column in part.columns:
        storage = quantization.storage(prefix + column.path) if part.quantizable else None
        if part.split == "row":
            yield from _row_reasons(part.inputs, ranks, storage, column.path)
        elif column.replicated and max(column.units, ranks) % min(column.units, ranks):
            yield refused("kv-heads-over-ranks", heads=column.units, ranks=ranks)
        elif not column.replicated and column.units % ranks:
            yield refused("outputs-over-ranks", outputs=column.units, ranks=ranks, name=column.path)
        else:
            yield from _block_reasons(max(1, column.units // ranks) * column.size, ranks, storage, column.path)


def _row_reasons(inputs: int, ranks: int, storage: Storage | None, name: str) -> Iterator[Refusal]:
    if inputs % ranks:
        yield refused("inputs-over-ranks", inputs=inputs, ranks=ranks, name=name)
    elif ranks > 1 and storage and storage.group_size and inputs // ranks % storage.group_size:
        yield refused("quantization-group", name=name, size=inputs // ranks, group=storage.group_size)


def _block_reasons(outputs: int, ranks: int, storage: Storage | None, name: str) -> Iterator[Refusal]:
    if ranks > 1 and storage and storage.row_group > 1 and outputs % storage.row_group:
        yield refused("quantization-block", name=name, size=outputs, block=storage.row_group)


def _expert_reasons(mixture: Mixture, storage: Storage | None, shares: _Shares) -> Iterator[Refusal]:
    inner, parts = mixture.intermediate_size, shares.all_ranks
    if inner % parts:
        yield refused("experts-over-ranks", inner=inner, ranks=parts)
    elif storage and storage.name == "fp8-block" and not shares.uneven_expert_blocks:
        yield from _block_reasons(inner // parts, parts, storage, "the experts")
