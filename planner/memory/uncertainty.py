"""How far an estimate may be off: spreads from the residuals of the benchmark, by engine era and kind of device."""

from dataclasses import dataclass, replace

from planner.architecture import Architecture
from planner.engine import EngineProfile
from planner.flags import ServeFlags
from planner.gpu import GPU
from planner.memory.cuda_graphs import triton_capture_bytes
from planner.memory.terms import Server, Terms

# Weights are exact to a fraction of a percent; this share covers repacking that differs between kernels.
_WEIGHTS_PARTS = 400
_ACTIVATION_PARTS = 20
# Totals that no log shows are assumed downwards, by up to this much below the label (docs/catalog.md).
_ASSUMED_PERMILLE = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """By how much less (``low_bytes``) or more (``high_bytes``) memory than estimated may be left for the KV cache."""

    low_bytes: int
    high_bytes: int


def margin(
    architecture: Architecture,
    flags: ServeFlags,
    profile: EngineProfile,
    gpu: GPU,
    *,
    weights_bytes: int,
    activation_bytes: int,
    graph_bytes: int,
    savable_bytes: int = 0,
) -> Margin:
    """Return the margin of one GPU's memory.

    ``graph_bytes`` are the CUDA graphs inside the budget, whose estimate is noisy in the engine itself.
    ``savable_bytes`` is what a start saves that finds its kernels compiled and a leaner sampler installed.
    """
    spread = profile.spread_bytes + profile.device(gpu).spread_bytes
    spread += weights_bytes // _WEIGHTS_PARTS + graph_bytes * profile.graph_spread_percent // 100
    spread += profile.peer_spread_bytes * (flags.ranks - 1)
    unusual = any(layer.mixture or layer.attention is None for layer in architecture.layers)
    if unusual or architecture.vision or not profile.exact:
        spread += activation_bytes // _ACTIVATION_PARTS * (1 if profile.exact else 4)
    if not profile.exact:
        spread += profile.unknown_spread_bytes
    high = spread + savable_bytes
    if gpu.memory_assumed:
        high += int(gpu.memory_bytes * flags.gpu_memory_utilization) * _ASSUMED_PERMILLE // 1000
    return Margin(low_bytes=spread, high_bytes=high)


def stage_margin(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, *, with_graphs: bool) -> Margin:
    """Return how far the terms of one stage may be off; ``with_graphs`` counts the CUDA graphs among them."""
    found = margin(
        server.architecture,
        server.flags,
        profile,
        gpu,
        weights_bytes=stage.weights_bytes,
        activation_bytes=stage.activation.total_bytes,
        graph_bytes=stage.cuda_graph_bytes if with_graphs else 0,
        savable_bytes=stage.activation.transient_bytes - stage.line.least_at(server.flags.sampled_rows),
    )
    low_bytes = found.low_bytes + stage.assumed_bytes
    if with_graphs:
        low_bytes += triton_capture_bytes(server.architecture, server.quantization, server.flags, profile, gpu)
    return replace(found, low_bytes=low_bytes)
