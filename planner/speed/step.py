"""The time of one step: what a rank reads and computes, on one device, with one version of the engine."""

import math

from msgspec import Struct

from planner.speed.constants import Device, Engine
from planner.speed.learnt import Learnt
from planner.speed.work import CacheLayers, ExpertLayers, Matrices, Work

_US = 1e-6
# Reading weights and multiplying overlap: the root of the sum of cubes follows measured products between both limits
# (M = 64 to 512 in aiconfigurator-core 0.12.0's GEMM tables) within 10 %.
_OVERLAP = 3.0


class Batch(Struct, frozen=True, kw_only=True):
    """What one step of a server works on: ``sequences`` that get a token each, and a piece of a prompt.

    ``context_tokens`` is what a sequence looks back at on average; ``prompt_tokens`` are computed in this step, after
    ``done_tokens`` earlier ones of the same prompt.
    """

    sequences: float
    context_tokens: float
    prompt_tokens: float = 0.0
    done_tokens: float = 0.0


class Step(Struct, frozen=True, kw_only=True):
    """The seconds of one step, term by term.

    ``matrices`` and ``experts`` are bound by reading weights or by multiplying, whichever is longer;
    ``computing`` is by how much multiplying makes them longer than reading alone.
    """

    matrices: float
    experts: float
    computing: float
    cache: float
    attention: float
    all_reduce: float
    host: float

    @property
    def seconds(self) -> float:
        """The sum of all terms; ``computing`` is inside the first two."""
        return self.matrices + self.experts + self.cache + self.attention + self.all_reduce + self.host


class Rates(Struct, frozen=True, kw_only=True):
    """Everything a step's time depends on beside its batch: the work of a rank, its device, the engine.

    ``learnt`` is what load tests say of the whole server; it moves what is said, not the terms of a step.
    """

    work: Work
    device: Device
    engine: Engine
    host_factor: float
    learnt: Learnt | None = None


def step(rates: Rates, batch: Batch) -> Step:
    """Return the time of one step."""
    work, device, engine = rates.work, rates.device, rates.engine
    own = batch.sequences / work.data_ranks
    tokens = own + batch.prompt_tokens
    dense = [_dense(matrices, rates, tokens) for matrices in work.matrices]
    dense.append(_dense(work.head, rates, own + bool(batch.prompt_tokens)))
    mixed = [_experts(layers, rates, batch.sequences + batch.prompt_tokens) for layers in work.experts]
    reading = sum(read for read, _ in dense) + sum(read for read, _ in mixed)
    matrices, experts = sum(whole for _, whole in dense), sum(whole for _, whole in mixed)
    states = 2 * work.state_bytes * own / (device.bandwidth_bytes_per_second * device.cache_bandwidth_share)
    launches = sum(layers.layers for layers in work.caches) + work.state_layers
    host = (engine.step_us + engine.sequence_us * own) * rates.host_factor
    return Step(
        matrices=matrices,
        experts=experts,
        computing=matrices + experts - reading,
        cache=states + sum(_cache(layers, device, own, batch.context_tokens) for layers in work.caches),
        attention=sum(_attention(layers, device, batch) for layers in work.caches)
        + launches * device.attention_launch_us * _US,
        all_reduce=_all_reduce(work, device, tokens),
        host=(host + engine.small_us * work.small_kernels) * _US,
    )


def _dense(own: Matrices, rates: Rates, tokens: float) -> tuple[float, float]:
    """Return the seconds of reading all matrices of one format, and of their products."""
    device, kernel = rates.device, rates.device.matrices[own.kernel]
    read = own.stored_bytes / (device.bandwidth_bytes_per_second * kernel.bandwidth_share)
    multiply = 2 * own.parameters * tokens / (_flops(rates) * kernel.flops_share)
    launch = own.products * kernel.launch_us * _US
    return read + launch, _overlapped(read, multiply) + launch


def _experts(own: ExpertLayers, rates: Rates, tokens: float) -> tuple[float, float]:
    """Return the seconds of reading the experts that are hit, and of their products, in all alike layers."""
    device, kernel = rates.device, rates.device.experts[own.kernel]
    hits = expected_hits(own, tokens * rates.engine.routing_share)
    each = own.expert_bytes / (device.bandwidth_bytes_per_second * kernel.bandwidth_share) + kernel.expert_us * _US
    rows = tokens * own.active * own.local_experts / own.experts + hits * kernel.padding_tokens
    multiply = 2 * own.expert_parameters * rows / (_flops(rates) * kernel.flops_share)
    launch = kernel.launch_us * _US
    return own.layers * (hits * each + launch), own.layers * (_overlapped(hits * each, multiply) + launch)


def expected_hits(own: ExpertLayers, tokens: float) -> float:
    """Return how many experts of a layer some token chooses, on the rank with most of them, if all choose evenly.

    With experts shared out, a step waits for the rank with the most of n draws, which is about sqrt(2 ln n) standard
    deviations above their mean.
    """
    missed = math.pow(1.0 - min(1.0, own.active / own.experts), tokens)
    hits = own.local_experts * (1.0 - missed)
    ranks = own.experts / own.local_experts
    if ranks > 1:
        hits += math.sqrt(2 * math.log(ranks) * hits * missed)
    return min(hits, own.local_experts)


def _cache(own: CacheLayers, device: Device, sequences: float, context_tokens: float) -> float:
    """Return the seconds of reading what sequences look back at."""
    seen = min(context_tokens, own.reach_tokens) if own.reach_tokens else context_tokens
    read = min(seen, own.chosen_tokens) if own.chosen_tokens else seen
    share = device.latent_bandwidth_share if own.latent else device.cache_bandwidth_share
    seen_bytes = own.token_bytes * read + own.index_bytes * seen
    return own.layers * sequences * seen_bytes / (device.bandwidth_bytes_per_second * share)


def _attention(own: CacheLayers, device: Device, batch: Batch) -> float:
    """Return the seconds of attention inside a prompt: every token looks at those before it."""
    tokens, done = batch.prompt_tokens, batch.done_tokens
    if not tokens:
        return 0.0
    pairs = tokens * (done + tokens / 2)
    if most := own.reach_tokens or own.chosen_tokens:
        pairs = min(pairs, tokens * most)
    length = tokens + done
    share = device.attention_flops_share * length / (length + device.attention_half_tokens)
    return own.layers * own.pair_flops * pairs / (device.flops_per_second * share)


def _all_reduce(work: Work, device: Device, tokens: float) -> float:
    """Return the seconds of summing over ranks, after attention and after the MLP of every layer."""
    own = device.summing(work.tensor_ranks) if work.tensor_ranks > 1 else None
    if own is None:
        return 0.0
    message_bytes = tokens * work.hidden_size * work.dtype_bytes
    return 2 * work.layers * (own.latency_us * _US + message_bytes / own.bytes_per_second)


def _flops(rates: Rates) -> float:
    return rates.device.flops_per_second * rates.engine.prompt_flops_share


def _overlapped(read: float, multiply: float) -> float:
    return math.pow(math.pow(read, _OVERLAP) + math.pow(multiply, _OVERLAP), 1 / _OVERLAP)
