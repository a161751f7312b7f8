"""Estimate: what the engine will log for one server on one type of GPU, and whether it starts at all."""

import math
from collections.abc import Iterator

from msgspec import Struct

from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.memory.attention import attention_backend
from planner.memory.learnt import Learnt, learnt
from planner.memory.overhead import baseline_bytes
from planner.memory.refusals import refusal
from planner.memory.start_checks import Failure, failure
from planner.memory.terms import Server, Terms, graphs_in_budget, terms
from planner.memory.uncertainty import Margin, start_margin
from planner.memory.unified import unified_notes
from planner.units import GIB, format_gib

# From this version on there are two engine cores.
_TWO_CORES = (0, 8, 0)


class Estimate(Struct, frozen=True, kw_only=True):
    """What the engine logs for one GPU, in bytes; ``reason`` says why it does not start.

    It is a ``close_call`` when the other end of the range answers otherwise whether a request of ``max_model_len`` fits
    into the KV cache, and nothing else stands in the way of a start.
    ``attention_backend`` names what runs the attention layers (None: not known, or nothing does).
    With pipeline stages the terms are those of the first rank, which is the one that logs; tokens and concurrency are
    governed by the smallest. ``unprofiled_bytes`` are what serving may take beyond all of that.
    """

    starts: bool
    reason: str | None
    close_call: bool
    attention_backend: str | None
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
    unprofiled_bytes: int
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
            "attention_backend": self.attention_backend,
            "unprofiled_gib": round(self.unprofiled_bytes / GIB, 3),
        }


def estimate(server: Server, gpu: GPU, profile: EngineProfile, memory_in_use_bytes: int = 0) -> Estimate:
    """Return what the engine of this profile logs for a server on a GPU of which others use ``memory_in_use_bytes``."""
    flags = server.flags
    stages = [terms(server, gpu, profile, rank) for rank in range(flags.pipeline_parallel_size)]
    baseline = baseline_bytes(flags, profile, gpu)
    in_use = baseline + memory_in_use_bytes
    requested = math.ceil(gpu.memory_bytes * flags.gpu_memory_utilization)
    available = [_available(stage, server, profile, requested, in_use) for stage in stages]
    known = learnt(server, gpu, profile) if flags.kv_cache_memory_bytes is None else None
    available = [room + known.more_bytes for room in available] if known else available
    refused = refusal(server.architecture, server.quantization, flags, profile, gpu)
    failed = Failure(str(refused)) if refused else failure(server, gpu, profile, stages, available, requested, in_use)
    blocks = min(stage.layout.blocks(room) for stage, room in zip(stages, available, strict=True))
    first = stages[0]
    spread = _spread(server, gpu, profile, first, known)
    length, batch = flags.max_model_len, flags.max_num_batched_tokens
    close = _close_call(first, available[0], spread, flags, failed)
    return Estimate(
        starts=failed is None,
        reason=failed.reason if failed else None,
        close_call=close,
        attention_backend=attention_backend(server, profile, gpu) or None,
        weights_bytes=first.weights_bytes,
        activation_bytes=_activation_logged(first, server, profile),
        non_torch_bytes=_non_torch_logged(first, profile),
        cuda_graph_bytes=first.cuda_graph_bytes,
        kv_cache_bytes=available[0],
        kv_cache_low_bytes=_low_end(available[0], spread),
        kv_cache_high_bytes=available[0] + spread.high_bytes,
        kv_cache_tokens=first.layout.tokens_logged(blocks, length, batch),
        max_concurrency=first.layout.max_concurrency(blocks, length, batch),
        baseline_bytes=baseline,
        has_cache=bool(first.layout.groups),
        graphs_in_budget=graphs_in_budget(server, profile),
        unprofiled_bytes=first.line.unprofiled_bytes,
        notes=(
            *_notes(profile, gpu),
            *((_learnt_note(known),) if known else ()),
            *unified_notes(gpu, requested),
            *_unprofiled(first, gpu.memory_bytes - in_use - available[0], flags),
            *((_close_note(flags, starts=failed is None),) if close else ()),
        ),
    )


def _spread(server: Server, gpu: GPU, profile: EngineProfile, stage: Terms, known: Learnt | None) -> Margin:
    """Return how much less or more may be left for the KV cache; nothing where its size is given."""
    if server.flags.kv_cache_memory_bytes is not None:
        return Margin(low_bytes=0, high_bytes=0)
    stated = start_margin(server, gpu, profile, stage, with_graphs=graphs_in_budget(server, profile))
    if known is None:
        return stated
    return Margin(low_bytes=known.low_bytes(stated.low_bytes), high_bytes=known.high_bytes(stated.high_bytes))


def _learnt_note(known: Learnt) -> str:
    """Say that start-ups of the user's own were heeded."""
    moved = f"{'+' if known.more_bytes >= 0 else '-'}{format_gib(abs(known.more_bytes))} of KV cache"
    whose = "of this model" if known.kind == "measured" else "of other models on this GPU"
    return f"{known.kind}: {moved}, from {len(known.sources)} of your own start-ups {whose}"


def _low_end(available: int, spread: Margin) -> int:
    """Return the least that may be left, nothing rather than less than nothing where something is expected."""
    low = available - spread.low_bytes
    return max(0, low) if available > 0 else low


def _close_call(stage: Terms, room: int, spread: Margin, flags: ServeFlags, failed: Failure | None) -> bool:
    """Whether one end of the range answers otherwise whether a request of ``max_model_len`` fits."""
    needed = stage.layout.bytes_needed(flags.max_model_len, flags.max_num_batched_tokens)
    if failed is None:
        return room >= needed > max(0, room - spread.low_bytes)
    return failed.short and room < needed <= room + spread.high_bytes


def _close_note(flags: ServeFlags, *, starts: bool) -> str:
    end, fits = ("low", "does not fit") if starts else ("high", "fits")
    return f"a close call: at the {end} end of the range one request of {flags.max_model_len} tokens {fits}"


def _unprofiled(stage: Terms, beside_cache_bytes: int, flags: ServeFlags) -> Iterator[str]:
    """Say when what is left on the device may not do for what recurrent layers take while they serve."""
    needed = stage.line.unprofiled_bytes
    if not needed:
        return
    left = beside_cache_bytes - stage.weights_bytes - stage.non_torch_bytes - stage.cuda_graph_bytes
    left -= stage.activation.persistent_bytes + stage.line.warm_floor_bytes
    text = f"a full batch takes {format_gib(needed)} more than the engine's memory profile shows"
    if left < needed:
        text += (
            f", and {format_gib(max(0, left))} are left on the device: long prompts may run out of memory; lower "
            f"max_num_batched_tokens ({flags.max_num_batched_tokens}) or the KV cache"
        )
    yield text


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


def _activation_logged(stage: Terms, server: Server, profile: EngineProfile) -> int:
    """Return "peak activation" as logged: newer versions leave out what stays, and count the graphs they set aside."""
    if profile.budget != "consumed":
        return stage.activation.total_bytes - _uncounted(stage, server, profile)
    return stage.activation.transient_bytes + (stage.cuda_graph_bytes if graphs_in_budget(server, profile) else 0)


def _non_torch_logged(stage: Terms, profile: EngineProfile) -> int:
    """Return "non-torch memory" as logged, or what newer versions call consumed memory, less the weights."""
    consumed = profile.budget == "consumed"
    return stage.non_torch_bytes + (stage.activation.persistent_bytes if consumed else 0)
