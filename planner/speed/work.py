"""Work: what one rank reads and computes per step, from the tensors of a model."""

import functools
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Attention, Experts, Layer, Linear, Part, Tensor, Vocabulary
from planner.facts.quantization import Quantization
from planner.memory.terms import Server
from planner.speed.formats import kernel
from planner.tensors.identity import Same
from planner.tensors.kv_pages import (
    StateDtypes,
    attention_bytes,
    block_index_bytes,
    index_bytes,
    state_bytes,
    state_dtypes,
)
from planner.tensors.parameters import embedding, last_parts, layer_parts
from planner.tensors.weight_rules import WeightRules
from planner.tensors.weights import Rank, expert_shares, part_tensors
from planner.units import ceil_div

_UNQUANTIZED = Quantization()
# Kernels of a layer that are no products: rotary embedding and cache write; convolution and gate; activation.
_SMALL = {"attention": 2, "state": 2, "feed_forward": 1, "mixture": 1}


class Matrices(Struct, frozen=True, kw_only=True):
    """All dense matrices of one storage format on one rank: bytes, parameters, and how many products they are."""

    kernel: str
    stored_bytes: int = 0
    parameters: int = 0
    products: int = 0


class ExpertLayers(Struct, frozen=True, kw_only=True):
    """Layers with alike experts: how many, the experts in all and per rank, and one expert on this rank."""

    kernel: str
    layers: int
    experts: int
    local_experts: int
    active: int
    expert_bytes: float
    expert_parameters: float


class CacheLayers(Struct, frozen=True, kw_only=True):
    """Layers with alike caches: bytes per token on this rank, the tokens they look back at most (0: all).

    Sparse layers read ``chosen_tokens`` (0: all) and the index of all, ``index_bytes`` per token. ``pair_flops`` is
    what one token looking at another costs.
    """

    layers: int
    token_bytes: int
    reach_tokens: int
    chosen_tokens: int
    index_bytes: int
    latent: bool
    pair_flops: int


class Work(Struct, frozen=True, kw_only=True):
    """What one rank of a server does per step; ``head`` is needed for one token of every sequence alone.

    ``state_bytes`` is one sequence's recurrent state in all layers; ``small_kernels`` those that are no products. CUDA
    graphs are captured for up to ``captured_sequences`` (None: as the engine chooses).
    """

    matrices: tuple[Matrices, ...]
    head: Matrices
    experts: tuple[ExpertLayers, ...]
    caches: tuple[CacheLayers, ...]
    state_bytes: int
    state_layers: int
    layers: int
    small_kernels: int
    hidden_size: int
    dtype_bytes: int
    tensor_ranks: int
    data_ranks: int
    captured_sequences: int | None = None


def work(server: Server, capability: int, whole_shared: tuple[str, ...] = ()) -> Work:
    """Return the work of one rank of a server without pipeline stages, on a GPU of a compute capability (90: SM90).

    ``whole_shared`` are the classes whose shared expert an engine version keeps whole on ranks (``WeightRules``).

    Raises:
        ValueError: the KV dtype is not one whose cost is known.
    """
    flags, rules = server.flags, WeightRules(capability=capability, whole_shared=whole_shared)
    ranks = flags.tensor_parallel_size, flags.data_parallel_size
    shares = expert_shares(server.architecture, *ranks, rules, expert_parallel=flags.expert_parallel)
    rank = Rank(**shares, dtype_bytes=server.dtype_bytes, rules=rules)
    asked = server.quantization.kv_cache_dtype if flags.kv_cache_dtype == "auto" else flags.kv_cache_dtype
    told = state_dtypes(flags.mamba_cache_dtype, flags.mamba_ssm_cache_dtype)
    model = Same(server.architecture), Same(server.quantization)
    found = _work(*model, rank, asked or "auto", told, flags.data_parallel_size)
    captured = max(flags.capture_sizes, default=flags.max_capture_size)
    return found if captured is None else replace(found, captured_sequences=captured)


@functools.lru_cache(maxsize=1024)
def _work(
    of: Same[Architecture],
    stored: Same[Quantization],
    rank: Rank,
    kv_cache_dtype: str,
    told: StateDtypes,
    data_ranks: int,
) -> Work:
    architecture, quantization = of.value, stored.value
    dense, experts = _layers(architecture, quantization, rank)
    states = [layer.state for layer in architecture.layers if layer.state]
    counts = Counter(architecture.layers)
    attentions: Counter[Attention] = Counter()
    for layer, count in counts.items():
        if layer.attention:
            attentions[layer.attention] += count
    return Work(
        matrices=tuple(dense),
        head=_head(architecture, quantization, rank),
        experts=tuple(experts),
        caches=tuple(_cache(own, count, rank, kv_cache_dtype) for own, count in attentions.items()),
        state_bytes=sum(state_bytes(state, rank.dtype_bytes, rank.tensor_ranks, told) for state in states),
        state_layers=len(states),
        layers=architecture.num_layers,
        small_kernels=sum(count * _small_kernels(layer, architecture.hidden_size) for layer, count in counts.items()),
        hidden_size=architecture.hidden_size,
        dtype_bytes=rank.dtype_bytes,
        tensor_ranks=rank.tensor_ranks,
        data_ranks=data_ranks,
    )


def _layers(
    architecture: Architecture, quantization: Quantization, rank: Rank
) -> tuple[list[Matrices], list[ExpertLayers]]:
    """Return all matrices by storage format, and all experts by shape."""
    dense: dict[str, list[Matrices]] = {}
    experts: Counter[ExpertLayers] = Counter()
    known: dict[Layer, tuple[list[Matrices], list[ExpertLayers]]] = {}
    for index, layer in enumerate(architecture.layers):
        if layer not in known or quantization.tells_layers_apart:
            parts = layer_parts(layer, architecture.hidden_size, whole_shared=rank.whole_shared)
            prefix = f"layers.{index}."
            linears = [_matrices(part, prefix, quantization, rank) for part in parts if isinstance(part, Linear)]
            active = layer.mixture.active if layer.mixture else 0
            mixtures = [_experts(own, prefix, quantization, rank, active) for own in parts if isinstance(own, Experts)]
            known[layer] = linears, mixtures
        for own in known[layer][0]:
            dense.setdefault(own.kernel, []).append(own)
        experts.update(known[layer][1])
    return [_together(own) for own in dense.values()], [replace(own, layers=count) for own, count in experts.items()]


def _together(alike: list[Matrices]) -> Matrices:
    return Matrices(
        kernel=alike[0].kernel,
        stored_bytes=sum(own.stored_bytes for own in alike),
        parameters=sum(own.parameters for own in alike),
        products=sum(own.products for own in alike),
    )


def _matrices(part: Linear, prefix: str, quantization: Quantization, rank: Rank) -> Matrices:
    storage = quantization.storage(prefix + part.columns[0].path) if part.quantizable else None
    return Matrices(
        kernel=kernel(storage, rank.rules.capability),
        stored_bytes=sum(part_tensors(part, prefix, quantization, rank)),
        parameters=_parameters(part, prefix, rank),
        products=1,
    )


def _head(architecture: Architecture, quantization: Quantization, rank: Rank) -> Matrices:
    """Return the output head, which is the embedding where both are one."""
    if not architecture.has_head:
        return Matrices(kernel="bf16")
    own = next((part for part in last_parts(architecture) if isinstance(part, Vocabulary)), None)
    part = own or embedding(architecture)
    return Matrices(
        kernel=kernel(quantization.head if own else None, rank.rules.capability),
        stored_bytes=sum(part_tensors(part, "", quantization, rank)),
        parameters=_parameters(part, "", rank),
        products=1,
    )


def _experts(part: Experts, prefix: str, quantization: Quantization, rank: Rank, active: int) -> ExpertLayers:
    local = ceil_div(part.count, rank.expert_ranks)
    return ExpertLayers(
        kernel=kernel(quantization.storage(prefix + part.path, expert=True), rank.rules.capability),
        layers=1,
        experts=part.count,
        local_experts=local,
        active=active,
        expert_bytes=sum(part_tensors(part, prefix, quantization, rank)) / local,
        expert_parameters=_parameters(part, prefix, rank) / local,
    )


def _parameters(part: Part, prefix: str, rank: Rank) -> int:
    """Return the values in a part on one rank: half its bytes, were it stored in 16 bits."""
    return sum(part_tensors(part, prefix, _UNQUANTIZED, replace(rank, dtype_bytes=2))) // 2


def _cache(attention: Attention, layers: int, rank: Rank, kv_cache_dtype: str) -> CacheLayers:
    latent, blocks = attention.latent, attention.index
    chosen = latent.index_topk if latent else blocks.topk_blocks * blocks.block_tokens if blocks else 0
    keys = index_bytes(latent) if latent and latent.index_heads else block_index_bytes(blocks) if blocks else 0
    heads = ceil_div(attention.num_heads, rank.tensor_ranks)
    return CacheLayers(
        layers=layers,
        token_bytes=attention_bytes(attention, kv_cache_dtype, rank.dtype_bytes, rank.tensor_ranks),
        reach_tokens=attention.window or attention.chunk or 0,
        chosen_tokens=chosen,
        index_bytes=keys,
        latent=latent is not None,
        pair_flops=2 * heads * (attention.head_dim + attention.value_head_dim),
    )


def _small_kernels(layer: Layer, hidden_size: int) -> int:
    norms = sum("norm" in part.path for part in _tensors(layer, hidden_size))
    return norms + sum(count for name, count in _SMALL.items() if getattr(layer, name))


def _tensors(layer: Layer, hidden_size: int) -> Iterator[Tensor]:
    return (part for part in layer_parts(layer, hidden_size) if isinstance(part, Tensor))
