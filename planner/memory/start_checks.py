"""Whether a server starts: the checks on the way up, in the engine's order, and what is left after each."""

from msgspec import Struct

from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory import verdict
from planner.memory.cuda_graphs import triton_capture_bytes
from planner.memory.terms import Server, Terms, runs_second
from planner.tensors.kv_cache import KVLayout

# Running out of memory while or after capturing graphs is predicted only where even this share of their estimate, in
# percent, does not fit: measured graphs are between 0.4 and 2 times the estimate.
_GRAPH_SHARE = 40


class Failure(Struct, frozen=True):
    """Why a server does not start, as worded for people; ``short`` says that a request does not fit into its cache."""

    reason: str
    short: bool = False


def failure(
    server: Server,
    gpu: GPU,
    profile: EngineProfile,
    stages: list[Terms],
    available: list[int],
    requested: int,
    in_use: int,
) -> Failure | None:
    """Return the first check that fails on the way up, on the worst stage."""
    flags = server.flags
    free = gpu.memory_bytes - in_use
    if profile.free_memory_check and free < requested:
        return Failure(verdict.not_enough_free(requested, free, flags, gpu.memory_bytes))
    for stage, room in zip(stages, available, strict=True):
        left = free - stage.weights_bytes
        if left < 0:
            return Failure(verdict.weights_do_not_fit(stage.weights_bytes, free))
        left -= stage.non_torch_bytes + stage.activation.total_bytes
        if left < 0:
            peak = stage.activation.total_bytes
            return Failure(verdict.profile_does_not_fit(peak, left + peak, flags.sampled_rows))
        if not stage.layout.groups:
            continue
        if room <= 0:
            return Failure(verdict.no_cache_memory(room), short=True)
        needed = stage.layout.bytes_needed(flags.max_model_len, flags.max_num_batched_tokens)
        if needed > room:
            longest = longest_request(stage.layout, room, flags)
            return Failure(verdict.request_too_long(needed, room, flags.max_model_len, longest), short=True)
        if blocks_short(stage, room, flags, profile):
            return Failure(verdict.too_many_sequences(flags.max_num_seqs, stage.layout.blocks(room)))
        left += stage.activation.transient_bytes - room
        if reason := _capture_failure(server, gpu, profile, stage, left):
            return Failure(reason)
    return None


def _capture_failure(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, left: int) -> str | None:
    """Return what fails once the KV cache is there and ``left`` bytes remain: capturing graphs, sampling once more."""
    rows = server.flags.sampled_rows
    left -= triton_capture_bytes(server.architecture, server.quantization, server.flags, profile, gpu)
    graphs = stage.cuda_graph_bytes * _GRAPH_SHARE // 100
    if left < graphs:
        return verdict.graphs_do_not_fit(stage.cuda_graph_bytes, left)
    sampler = stage.line.sampler_at(rows)
    if profile.runner == "v1" and not runs_second(server, profile) and left - graphs < sampler:
        return verdict.sampler_does_not_fit(sampler, left - graphs, rows)
    return None


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
