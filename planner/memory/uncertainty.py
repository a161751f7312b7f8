"""How far an estimate may be off: spreads from the residuals of the benchmark, by engine era and kind of device."""

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory.cuda_graphs import triton_capture_bytes
from planner.memory.overhead import unlinked_bytes
from planner.memory.terms import Server, Terms

# Weights are exact to a fraction of a percent; this share covers repacking that differs between kernels.
_WEIGHTS_PARTS = 400
_ACTIVATION_PARTS = 20
# Totals that no log shows are assumed downwards, by up to this much below the label (docs/catalog.md).
_ASSUMED_PERMILLE = 47


class Margin(Struct, frozen=True, kw_only=True):
    """By how much less (``low_bytes``) or more (``high_bytes``) memory than estimated may be left for the KV cache."""

    low_bytes: int
    high_bytes: int


def stage_margin(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, *, with_graphs: bool) -> Margin:
    """Return how far the terms of one stage may be off; ``with_graphs`` counts the CUDA graphs among them.

    Less may be left where a checkpoint's config was not seen, or graphs take what nobody counts; more where a start
    finds its kernels compiled and a leaner sampler installed, or the GPU has more memory than is assumed.
    """
    spread = _spread(server, gpu, profile, stage, with_graphs=with_graphs)
    low = spread + stage.assumed_bytes
    if with_graphs:
        low += triton_capture_bytes(server.architecture, server.quantization, server.flags, profile, gpu)
    high = spread + stage.activation.transient_bytes - stage.line.least_at(server.flags.sampled_rows)
    more_memory = gpu.memory_spread_bytes
    if gpu.memory_assumed:
        more_memory += gpu.memory_bytes * _ASSUMED_PERMILLE // 1000
    high += int(more_memory * server.flags.gpu_memory_utilization)
    high += unlinked_bytes(server.flags, profile, gpu)
    return Margin(low_bytes=low, high_bytes=high)


def start_margin(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, *, with_graphs: bool) -> Margin:
    """Return how far the KV cache a start announces may be off, whether or not it finds its kernels compiled.

    Where it does not, what was set aside to tune them may be counted although it is free again: the allocator gives a
    segment back only if nothing else was put into it. Measured 0.53 to 0.70 GiB beyond the peak in five of nine first
    starts (0.27.1 to 0.29, public logs), next to nothing in the others.
    """
    margin = stage_margin(server, gpu, profile, stage, with_graphs=with_graphs)
    first = stage.line.at(server.flags.sampled_rows)
    colder = first.transient_bytes - stage.activation.transient_bytes + stage.line.stranded_bytes
    host = profile.device(gpu).host_bytes
    return Margin(low_bytes=margin.low_bytes + colder + host, high_bytes=margin.high_bytes)


def _spread(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, *, with_graphs: bool) -> int:
    """Return what is added to both sides; CUDA graphs inside the budget are noisy in the engine's own estimate."""
    architecture = server.architecture
    graph_bytes = stage.cuda_graph_bytes if with_graphs else 0
    spread = profile.spread_bytes + profile.device(gpu).spread_bytes
    spread += stage.weights_bytes // _WEIGHTS_PARTS + graph_bytes * profile.graph_spread_percent // 100
    spread += profile.peer_spread_bytes * (server.flags.ranks - 1)
    unusual = any(layer.mixture or layer.attention is None for layer in architecture.layers)
    if unusual or architecture.vision or not profile.exact:
        spread += stage.activation.total_bytes // _ACTIVATION_PARTS * (1 if profile.exact else 4)
    return spread if profile.exact else spread + profile.unknown_spread_bytes
