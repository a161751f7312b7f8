"""Estimate: what the engine will log for one server on one type of GPU, and whether it starts at all."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from planner.architecture import Architecture
from planner.engine import EngineProfile, parse_version
from planner.flags import ServeFlags
from planner.gpu import GPU
from planner.memory import verdict
from planner.memory.activation import Activation, ActivationLine, activation_line, second_runner
from planner.memory.cuda_graphs import cuda_graph_bytes, triton_capture_bytes
from planner.memory.overhead import baseline_bytes, non_torch_bytes
from planner.memory.requirements import refusal
from planner.memory.uncertainty import Margin, margin
from planner.quantization import Quantization
from planner.tensors.kv_cache import KVLayout, layout
from planner.tensors.kv_rules import kv_rules
from planner.tensors.weight_rules import weight_rules
from planner.tensors.weights import weights_bytes
from planner.units import GIB

_DTYPE_BYTES = {"float32": 4, "float": 4}

# Running out of memory while or after capturing graphs is predicted only where even this share of their estimate, in
# percent, does not fit: measured graphs are between 0.4 and 2 times the estimate.
_GRAPH_SHARE = 40

# From this version on there are two engine cores.
_TWO_CORES = (0, 8, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: a model as stored, and the flags it is started with."""

    architecture: Architecture
    quantization: Quantization
    flags: ServeFlags

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one activation or unquantized weight."""
        return 4 if self.flags.dtype in _DTYPE_BYTES else 2

    @property
    def quantized(self) -> bool:
        """Whether the checkpoint is quantized."""
        return self.quantization.method is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The memory of one pipeline stage on one GPU, in bytes, as the engine accounts it.

    ``assumed_bytes`` is by how much the weights may be larger because part of the checkpoint's config was not seen.
    """

    weights_bytes: int
    assumed_bytes: int
    line: ActivationLine
    activation: Activation
    non_torch_bytes: int
    cuda_graph_bytes: int
    layout: KVLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the engine logs for one GPU, in bytes; ``reason`` says why it does not start.

    With pipeline stages the terms are those of the first rank, which is the one that logs; tokens and concurrency are
    governed by the smallest.
    """

    starts: bool
    reason: str | None
    weights_bytes: int
    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    kv_cache_bytes: int
    kv_cache_low_bytes: int
    kv_cache_high_bytes: int
    kv_cache_tokens: int
    max_concurrency: float
    baseline_bytes: int
    has_cache: bool
    graphs_in_budget: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, bool | str | float | int | None]:
        """Return the estimate under the keys ``planner estimate --json`` prints, sizes in GiB."""
        return {
            "starts": self.starts,
            "reason": self.reason,
            "weights_gib": round(self.weights_bytes / GIB, 3),
            "activation_gib": round(self.activation_bytes / GIB, 3),
            "non_torch_gib": round(self.non_torch_bytes / GIB, 3),
            "cuda_graph_gib": round(self.cuda_graph_bytes / GIB, 3),
            "kv_cache_gib": round(self.kv_cache_bytes / GIB, 3),
            "kv_cache_gib_low": round(self.kv_cache_low_bytes / GIB, 3),
            "kv_cache_gib_high": round(self.kv_cache_high_bytes / GIB, 3),
            "kv_cache_tokens": self.kv_cache_tokens,
            "max_concurrency": round(self.max_concurrency, 2),
        }


def terms(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int = 0) -> Terms:
    """Return the memory of one pipeline stage, without any budget."""
    flags, architecture = server.flags, server.architecture
    line = activation_line(
        architecture,
        flags,
        profile,
        gpu,
        dtype_bytes=server.dtype_bytes,
        quantized=server.quantized,
        pipeline_rank=pipeline_rank,
    )
    loaded = _loaded(server, server.quantization, gpu, profile, pipeline_rank)
    widest = server.quantization.widest
    largest = _loaded(server, widest, gpu, profile, pipeline_rank) if widest else loaded
    return Terms(
        weights_bytes=max(0, loaded - flags.cpu_offload_bytes),
        assumed_bytes=max(0, largest - loaded),
        line=line,
        activation=line.at(flags.sampled_rows),
        non_torch_bytes=non_torch_bytes(
            flags, profile, gpu, vocabulary=architecture.vocab_size, second=_second(server, profile)
        ),
        cuda_graph_bytes=cuda_graph_bytes(architecture, flags, profile, gpu, pipeline_rank=pipeline_rank),
        layout=_layout(server, gpu, profile, pipeline_rank),
    )


def _loaded(server: Server, quantization: Quantization, gpu: GPU, profile: EngineProfile, pipeline_rank: int) -> int:
    """Return the weights of one pipeline stage, stored as ``quantization`` says."""
    flags = server.flags
    return weights_bytes(
        server.architecture,
        quantization,
        dtype_bytes=server.dtype_bytes,
        tensor_parallel_size=flags.tensor_parallel_size,
        pipeline_parallel_size=flags.pipeline_parallel_size,
        pipeline_rank=pipeline_rank,
        data_parallel_size=flags.data_parallel_size,
        expert_parallel=flags.expert_parallel,
        max_num_batched_tokens=flags.max_num_batched_tokens,
        rules=weight_rules(profile, gpu),
    )


def estimate(server: Server, gpu: GPU, profile: EngineProfile, memory_in_use_bytes: int = 0) -> Estimate:
    """Return what the engine of this profile logs for a server on a GPU of which others use ``memory_in_use_bytes``."""
    flags = server.flags
    stages = [terms(server, gpu, profile, rank) for rank in range(flags.pipeline_parallel_size)]
    baseline = baseline_bytes(flags, profile, gpu)
    requested = math.ceil(gpu.memory_bytes * flags.gpu_memory_utilization)
    available = [_available(stage, server, profile, requested, baseline + memory_in_use_bytes) for stage in stages]
    reason = refusal(server.architecture, server.quantization, flags, profile, gpu) or _failure(
        server, gpu, profile, stages, available, requested, baseline + memory_in_use_bytes
    )
    blocks = min(stage.layout.blocks(room) for stage, room in zip(stages, available, strict=True))
    first = stages[0]
    spread = Margin(low_bytes=0, high_bytes=0)
    if flags.kv_cache_memory_bytes is None:
        spread = stage_margin(server, gpu, profile, first, with_graphs=graphs_in_budget(server, profile))
    length, batch = flags.max_model_len, flags.max_num_batched_tokens
    fits = reason is None
    return Estimate(
        starts=fits,
        reason=reason,
        weights_bytes=first.weights_bytes,
        activation_bytes=_activation_logged(first, server, profile),
        non_torch_bytes=_non_torch_logged(first, profile),
        cuda_graph_bytes=first.cuda_graph_bytes,
        kv_cache_bytes=available[0],
        kv_cache_low_bytes=available[0] - spread.low_bytes,
        kv_cache_high_bytes=available[0] + spread.high_bytes,
        kv_cache_tokens=first.layout.tokens_logged(blocks, length, batch),
        max_concurrency=first.layout.max_concurrency(blocks, length, batch),
        baseline_bytes=baseline,
        has_cache=bool(first.layout.groups),
        graphs_in_budget=graphs_in_budget(server, profile),
        notes=(*_notes(profile, gpu), *_close_calls(first, available[0], spread, flags, starts=fits)),
    )


def _close_calls(stage: Terms, room: int, spread: Margin, flags: ServeFlags, *, starts: bool) -> Iterator[str]:
    """Say when one end of the range answers otherwise whether a request of ``max_model_len`` fits."""
    needed = stage.layout.bytes_needed(flags.max_model_len, flags.max_num_batched_tokens)
    if starts and room >= needed > room - spread.low_bytes:
        yield f"a close call: at the low end of the range one request of {flags.max_model_len} tokens does not fit"
    elif not starts and room < needed <= room + spread.high_bytes:
        yield f"a close call: at the high end of the range one request of {flags.max_model_len} tokens fits"


def graphs_in_budget(server: Server, profile: EngineProfile) -> bool:
    """Whether the engine sets aside memory for CUDA graphs before it sizes the KV cache."""
    if _second(server, profile):
        return profile.second_runner_graphs_in_budget
    return profile.graphs_in_budget


def _second(server: Server, profile: EngineProfile) -> bool:
    return second_runner(server.architecture, profile, quantized=server.quantized)


def _uncounted(stage: Terms, server: Server, profile: EngineProfile) -> int:
    """Return what is taken but never counted: sampling state made after loading is measured, before the profile."""
    counted = profile.budget == "consumed"
    return 0 if counted else stage.line.kept_bytes_per_sequence * server.flags.sampled_rows


def _available(stage: Terms, server: Server, profile: EngineProfile, requested: int, in_use: int) -> int:
    if server.flags.kv_cache_memory_bytes is not None:
        return server.flags.kv_cache_memory_bytes
    used = stage.weights_bytes + stage.activation.total_bytes + stage.non_torch_bytes
    used -= _uncounted(stage, server, profile)
    if profile.budget == "device":
        used += in_use
    if graphs_in_budget(server, profile):
        used += stage.cuda_graph_bytes
    return requested - used


def _failure(
    server: Server,
    gpu: GPU,
    profile: EngineProfile,
    stages: list[Terms],
    available: list[int],
    requested: int,
    in_use: int,
) -> str | None:
    """Return the first check that fails on the way up, on the worst stage."""
    flags = server.flags
    free = gpu.memory_bytes - in_use
    if profile.free_memory_check and free < requested:
        return verdict.not_enough_free(requested, free, flags, gpu.memory_bytes)
    for stage, room in zip(stages, available, strict=True):
        left = free - stage.weights_bytes
        if left < 0:
            return verdict.weights_do_not_fit(stage.weights_bytes, free)
        left -= stage.non_torch_bytes + stage.activation.total_bytes
        if left < 0:
            return verdict.profile_does_not_fit(
                stage.activation.total_bytes, left + stage.activation.total_bytes, flags.sampled_rows
            )
        if not stage.layout.groups:
            continue
        if room <= 0:
            return verdict.no_cache_memory(room)
        needed = stage.layout.bytes_needed(flags.max_model_len, flags.max_num_batched_tokens)
        if needed > room:
            longest = longest_request(stage.layout, room, flags)
            return verdict.request_too_long(needed, room, flags.max_model_len, longest)
        if blocks_short(stage, room, flags, profile):
            return verdict.too_many_sequences(flags.max_num_seqs, stage.layout.blocks(room))
        left += stage.activation.transient_bytes - room
        if reason := _capture_failure(server, gpu, profile, stage, left):
            return reason
    return None


def _capture_failure(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, left: int) -> str | None:
    """Return what fails once the KV cache is there and ``left`` bytes remain: capturing graphs, sampling once more."""
    rows = server.flags.sampled_rows
    left -= triton_capture_bytes(server.architecture, server.quantization, server.flags, profile, gpu)
    graphs = stage.cuda_graph_bytes * _GRAPH_SHARE // 100
    if left < graphs:
        return verdict.graphs_do_not_fit(stage.cuda_graph_bytes, left)
    sampler = stage.line.sampler_at(rows)
    if profile.runner == "v1" and not _second(server, profile) and left - graphs < sampler:
        return verdict.sampler_does_not_fit(sampler, left - graphs, rows)
    return None


def _notes(profile: EngineProfile, gpu: GPU) -> tuple[str, ...]:
    notes = []
    if profile.runner == "v0" and parse_version(profile.version) >= _TWO_CORES:
        notes.append(f"{profile} runs this server with its older engine core (V0)")
    if not profile.exact:
        notes.append(f"{profile} was not studied: figures of its nearest older version, with a wider range")
    if gpu.vendor == "unknown":
        notes.append(f"{gpu.name} is not in the catalog: costs of an unknown device, with a wider range")
    if gpu.refusal:
        notes.append(f"no plan is made for {gpu.name}: {gpu.refusal}")
    if gpu.memory_assumed:
        notes.append(f"the memory of {gpu.name} is assumed: {gpu.memory_assumed}")
    return tuple(notes)


def blocks_short(stage: Terms, available_bytes: int, flags: ServeFlags, profile: EngineProfile) -> bool:
    """Whether some sequence would have no block for its recurrent state, which full CUDA graphs need."""
    has_state = any(group.spec.kind == "state" for group in stage.layout.groups)
    checked = has_state and profile.state_blocks_checked and not flags.enforce_eager
    return checked and flags.max_num_seqs > stage.layout.blocks(available_bytes)


def longest_request(cache: KVLayout, available_bytes: int, flags: ServeFlags) -> int:
    """Return the longest ``max_model_len`` of which one request fits, 0 when none does."""
    low, high = 0, flags.max_model_len
    while low < high:
        middle = (low + high + 1) // 2
        if cache.bytes_needed(middle, flags.max_num_batched_tokens) <= available_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _layout(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int) -> KVLayout:
    flags = server.flags
    asked = server.quantization.kv_cache_dtype if flags.kv_cache_dtype == "auto" else flags.kv_cache_dtype
    return layout(
        server.architecture,
        rules=kv_rules(profile, flags.prefix_caching, gpu),
        kv_cache_dtype=asked or "auto",
        dtype_bytes=server.dtype_bytes,
        block_size=flags.block_size or profile.block_size,
        tensor_parallel_size=flags.tensor_parallel_size,
        pipeline_parallel_size=flags.pipeline_parallel_size,
        pipeline_rank=pipeline_rank,
    )


def _activation_logged(stage: Terms, server: Server, profile: EngineProfile) -> int:
    """Return "peak activation" as logged: newer versions leave out what stays, and count the graphs they set aside."""
    if profile.budget != "consumed":
        return stage.activation.total_bytes - _uncounted(stage, server, profile)
    return stage.activation.transient_bytes + (stage.cuda_graph_bytes if graphs_in_budget(server, profile) else 0)


def _non_torch_logged(stage: Terms, profile: EngineProfile) -> int:
    """Return "non-torch memory" as logged, or what newer versions call consumed memory, less the weights."""
    consumed = profile.budget == "consumed"
    return stage.non_torch_bytes + (stage.activation.persistent_bytes if consumed else 0)


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
