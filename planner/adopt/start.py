"""Whether the servers of some files start: one after another on the GPUs they share, by the memory model.

Servers on one GPU start in the order in which their files do; each finds what those before it hold. Where nothing makes
one wait for another they start at once, and what one loads while another measures is counted by both: the engine takes
the memory of the whole device before and after its profile (``MemoryProfilingResult`` in vllm/utils/mem_utils.py).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.adopt.known import Known, known
from planner.adopt.server import Server
from planner.catalog import Catalog
from planner.engine.flags import ServeFlags
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.memory.estimate import Estimate, estimate
from planner.units import GIB, format_gib

_ONCE_COMPILED = (
    "a close call for the first start, which compiles the model; it starts once that is done and the compile cache kept"
)
_SHARES = (0.92, 0.95)
_SEQUENCES = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether a server starts: None where that cannot be told, and why it does not or why it cannot be told.

    ``takes_bytes`` is what it holds of each of its GPUs once it is up; ``change`` the least change of one flag with
    which it starts, where there is one.
    """

    starts: bool | None
    reason: str | None = None
    takes_bytes: int | None = None
    change: tuple[str, Any] | None = None


def verdicts(servers: Sequence[Server], gpu: GPU | None, catalog: Catalog) -> list[Verdict]:
    """Return a verdict for each server; ``gpu`` is the card where the files do not name it."""
    found: dict[int, Verdict] = {}
    for group in _on_one_device(servers):
        every = {index: known(servers[index], gpu, catalog) for index in group}
        held = 0
        for index in group:
            there = every[index]
            others = [other for other in group if other != index and _at_once(servers, index, other)]
            if (refused := _no_such_option(servers[index])) is not None:
                found[index] = refused
                continue
            if isinstance(there, str):
                found[index] = _crowded(there, [servers[one] for one in (index, *others)], gpu, held)
                continue
            at_once = [every[other] for other in others]
            beside = sum(_loading_bytes(other) for other in at_once if isinstance(other, Known))
            found[index] = _verdict(there, held, beside)
            held += found[index].takes_bytes or 0 if not others else 0
    return [found[index] for index in range(len(servers))]


def _no_such_option(server: Server) -> Verdict | None:
    """Return that a server does not start because its version lacks an option of its."""
    if not server.engine_version or not server.unknown_flags:
        return None
    named = ", ".join(f"--{flag}" for flag in server.unknown_flags)
    return Verdict(starts=False, reason=f"vLLM {server.engine_version} has no option {named}")


def _crowded(why: str, servers: Sequence[Server], gpu: GPU | None, held_bytes: int) -> Verdict:
    """Return that a server does not start where its share alone says so, whatever its model; else what was said.

    ``servers`` are the server and those that start at the same time on its GPU.
    """
    shares = [_share_bytes(server, gpu) for server in servers]
    own, beside = shares[0], sum(shares[1:])
    unknown = Verdict(starts=None, reason=why)
    if gpu is None or not own:
        return unknown
    if own > gpu.memory_bytes - held_bytes:
        reason = f"wants {format_gib(own)}, and servers before it hold {format_gib(held_bytes)} of the GPU"
        return Verdict(starts=False, reason=reason)
    if beside >= own:
        reason = (
            f"starts at the same time as another server on this GPU, whose {format_gib(beside)} it counts as its own; "
            f"its share is {format_gib(own)}"
        )
        return Verdict(starts=False, reason=reason, change=("start", "one after another"))
    return unknown


def _share_bytes(server: Server, gpu: GPU | None) -> int:
    """Return what a server asks for of a GPU; 0 where it does not say so in numbers."""
    share = server.flags.get("gpu-memory-utilization")
    stated = isinstance(share, int | float) and "kv-cache-memory-bytes" not in server.flags
    return round(float(share) * gpu.memory_bytes) if gpu and stated and share is not None else 0


def whole(each: Sequence[Verdict]) -> bool | None:
    """Return whether all start; None where that of one cannot be told and none fails."""
    if any(one.starts is False for one in each):
        return False
    return True if each and all(one.starts for one in each) else None


def _on_one_device(servers: Sequence[Server]) -> Iterator[list[int]]:
    """Yield the servers that share GPUs, by their indices; without a word on GPUs those of one file share them."""
    waiting = list(range(len(servers)))
    while waiting:
        group = [waiting.pop(0)]
        for index in list(waiting):
            if any(_share(servers[index], servers[other]) for other in group):
                group.append(index)
                waiting.remove(index)
        yield group


def _share(one: Server, other: Server) -> bool:
    same = one.file == other.file
    if (one.gpu_ids and other.gpu_ids) or (same and (one.gpu_ids or other.gpu_ids)):
        return bool(set(_devices(one)) & set(_devices(other)))
    return one.file == other.file and not one.file.endswith((".service",)) and not (one.gpus and other.gpus)


def _devices(server: Server) -> tuple[str, ...]:
    """Return the GPUs of a server: those named, or the first ones, which CUDA takes where none are."""
    sizes = [server.flags.get(name) for name in ("tensor-parallel-size", "pipeline-parallel-size")]
    ranks = [size for size in sizes if isinstance(size, int)]
    return server.gpu_ids or tuple(str(index) for index in range(min(64, math.prod(ranks))))


def _at_once(servers: Sequence[Server], index: int, other: int) -> bool:
    """Whether nothing makes one of two servers wait until the other is up."""
    one, two = servers[index], servers[other]
    return two.name not in one.after and one.name not in two.after


def _verdict(known: Known, held_bytes: int, beside_bytes: int) -> Verdict:
    flags = known.server.flags
    try:
        answer = asked(known, flags, held_bytes)
    except (PlannerError, ValueError, TypeError) as error:
        return Verdict(starts=None, reason=str(error))
    if not answer.starts and answer.close_call and _starts_compiled(known, flags, held_bytes):
        return Verdict(starts=True, reason=_ONCE_COMPILED, takes_bytes=_takes(answer))
    if not answer.starts and answer.close_call:
        return Verdict(starts=None, reason=f"a close call: {answer.reason}", change=least_change(known, held_bytes))
    if not answer.starts:
        return Verdict(starts=False, reason=answer.reason, change=least_change(known, held_bytes))
    sized, _ = known.sized(flags)
    if beside_bytes and answer.kv_cache_bytes <= beside_bytes and sized.flags.kv_cache_memory_bytes is None:
        reason = (
            f"starts at the same time as another server on this GPU, and counts the {format_gib(beside_bytes)} that "
            f"one loads as its own: of {format_gib(answer.kv_cache_bytes)} for its KV cache nothing is left"
        )
        return Verdict(starts=False, reason=reason, change=("start", "one after another"))
    return Verdict(starts=True, takes_bytes=_takes(answer))


def _starts_compiled(known: Known, flags: dict[str, Any], held_bytes: int) -> bool:
    """Whether a server starts once its model is compiled: a start that fails after that leaves the result behind."""
    server, profile = known.sized(flags)
    warm = replace(server, flags=replace(server.flags, compile_cache="warm"))
    return estimate(warm, known.gpu, profile, held_bytes).starts


def asked(known: Known, flags: dict[str, Any], held_bytes: int) -> Estimate:
    """Return what is expected of a server with other flags, on a GPU of which others hold ``held_bytes``."""
    sized, profile = known.sized(flags)
    return estimate(sized, known.gpu, profile, held_bytes)


def _loading_bytes(known: Known) -> int:
    """Return what a server takes while it loads and fills its cache."""
    try:
        return _takes(asked(known, known.server.flags, 0))
    except (PlannerError, ValueError, TypeError):
        return 0


def _takes(answer: Estimate) -> int:
    return (
        answer.baseline_bytes + answer.weights_bytes + answer.non_torch_bytes + answer.activation_bytes
        + answer.cuda_graph_bytes + max(0, answer.kv_cache_bytes)
    )  # fmt: skip


def least_change(known: Known, held_bytes: int) -> tuple[str, Any] | None:
    """Return the first change of one flag with which a server starts, the least first, each asked."""
    for name, value in _changes(known):
        try:
            if asked(known, {**known.server.flags, name: value}, held_bytes).starts:
                return name, value
        except (PlannerError, ValueError, TypeError):
            continue
    return None


def _changes(known: Known) -> Iterator[tuple[str, Any]]:
    flags = known.server.flags
    sized, _ = known.sized(flags)
    whole_flags: ServeFlags = sized.flags
    share = whole_flags.gpu_memory_utilization
    yield from (("gpu-memory-utilization", other) for other in _SHARES if other > share)
    yield from (("max-num-seqs", count) for count in _SEQUENCES if count < whole_flags.max_num_seqs)
    if vision := known.model.architecture.vision:
        yield "max-num-batched-tokens", max(vision.max_item_tokens, whole_flags.max_num_batched_tokens)
    length = whole_flags.max_model_len
    yield from (("max-model-len", length * part // 16) for part in range(15, 0, -1) if length * part // 16 >= 256)
    yield from (("kv-cache-dtype", dtype) for dtype in ("auto", "fp8") if dtype != whole_flags.kv_cache_dtype)
    yield "enforce-eager", True
    ranks = whole_flags.tensor_parallel_size
    yield from (("tensor-parallel-size", ranks * more) for more in (2, 4, 8))


def gib(value_bytes: int | None) -> float | None:
    """Return bytes in GiB with three digits, as JSON has them."""
    return None if value_bytes is None else round(value_bytes / GIB, 3)
