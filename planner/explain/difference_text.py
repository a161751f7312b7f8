"""What differs between two plans, one sentence for each thing that a reader would see on the machines."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planner.explain.money_text import dollars, tokens_price
from planner.explain.words import accuracy, listed, more, places, plural, settings, stage_change
from planner.plan import Asleep, Difference, HourlyPrice, Money, ServerPlan, ServerSpeed
from planner.units import format_tokens

_FOLLOWS_THE_VARIANT = frozenset({
    "model", "repository", "revision", "local", "download_bytes", "scheme", "dtype", "pooling", "tool_parser",
    "reasoning_parser", "hf_overrides", "chat_template", "spread", "unseen",
})  # fmt: skip
_FOLLOWS_THE_LIMITS = frozenset({"gpu_memory_utilization", "kv_cache_memory_bytes", "concurrency_full_context"})


def _speed(speed: ServerSpeed | None) -> str:
    """Write the speed of a server: tokens per second of one request and seconds to its first token."""
    if speed is None or not (speed.tpot_us and speed.ttft_us):
        return "not said"
    return f"{1e6 / speed.tpot_us.value:.1f} tokens/s each after {speed.ttft_us.value / 1e6:.1f} s"


def _asleep(asleep: Asleep | None) -> str:
    """Write how a server passes the time between its turns."""
    if asleep is None:
        return "always awake"
    kept = f", {more(asleep.gpu_bytes)} of a GPU and {more(asleep.host_bytes)} of the machine"
    return asleep.how + (kept if asleep.gpu_bytes else "")


def _paid(price: HourlyPrice | None) -> str:
    """Write what is paid for an hour, and whose price that is."""
    return f"{dollars(price.per_hour)} $/h ({price.basis})" if price else "not known"


def _of_tokens(money: Money | None) -> str:
    """Write what a million output tokens cost with all requests running."""
    return tokens_price(money.full_load) if money else "not known"


_WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "max_model_len": ("context", format_tokens),
    "max_num_seqs": ("requests at once", str),
    "max_num_batched_tokens": ("tokens in a batch", str),
    "kv_cache_dtype": ("KV cache", str),
    "attention_backend": ("attention backend", str),
    "kv_cache_tokens": ("tokens in the KV cache", lambda count: f"{count:,}"),
    "request_tokens": ("length of a request", format_tokens),
    "output_tokens": ("length of an answer", format_tokens),
    "concurrency_request": ("requests that the KV cache holds", str),
    "tensor_parallel_size": ("tensor parallel size", str),
    "pipeline_parallel_size": ("pipeline stages", str),
    "data_parallel_size": ("data-parallel ranks", str),
    "expert_parallel": ("whole experts shared out", lambda shared: "yes" if shared else "no"),
    "context_parallel_size": ("ranks that cached tokens are dealt out over", str),
    "settings": ("settings of the engine", settings),
    "shared": ("further roles", lambda roles: listed([role.name for role in roles] or ["none"])),
    "speed": ("speed", _speed),
    "asleep": ("between turns", _asleep),
    "shared_bytes": ("memory taken in turns", more),
    "awake_sets": ("awake together", lambda sets: "; or ".join(listed(roles) for roles in sets) or "everybody"),
    "known_faults": ("known faults", lambda faults: listed([fault.id for fault in faults] or ["none"])),
    "system_bytes": ("memory left to the system", more),
    "later_stages": ("GPU of later stages", lambda groups: places(groups) if groups else "none"),
    "gpu_indices": ("GPU", lambda indices: listed([str(index) for index in indices])),
    "accuracy": ("accuracy", accuracy),
    "free_bytes": ("free memory", more),
    "memory_in_use_bytes": ("memory in use by others", more),
    "total_bytes": ("total memory", more),
    "engine_version": ("version of the engine", str),
    "price": ("what is in use costs", _paid),
    "money": ("a million output tokens with all requests running cost", _of_tokens),
    "cluster": ("GPUs of a cluster come from", lambda cluster: "DRA" if cluster.dra else "the device plugin"),
}
"""Field of a plan -> what it is called in a sentence, and how its value is written."""


def difference(found: Sequence[Difference]) -> str:
    """Return one line for each thing that differs; lines that only repeat another one are left out."""
    lines = [line for item in found for line in _lines(item, found)]
    return "\n".join(lines) if lines else "the plans promise the same"


def _lines(item: Difference, found: Sequence[Difference]) -> Iterator[str]:
    if item.kind == "stage":
        yield from _stage(item)
    elif not item.field:
        yield from _whole(item)
    elif item.kind == "server":
        yield from _server(item, {other.field: other for other in found if _same(item, other)})
    elif item.field != "servers":
        yield _sentence(item)


def _same(item: Difference, other: Difference) -> bool:
    return (item.kind, item.name) == (other.kind, other.name)


def _whole(item: Difference) -> Iterator[str]:
    """A server or GPU that only one of the plans has."""
    if item.after is None:
        yield f"{item.name}: gone"
    elif isinstance(item.after, ServerPlan):
        server = item.after
        limits = f"{format_tokens(server.max_model_len)} context, {plural(server.requests, 'request')} at once"
        yield f"{item.name}: new, {server.repository}, {limits}, on GPU {places(server.groups)}"
    else:
        yield f"{item.name}: new, {item.after.gpu}"


def _server(item: Difference, others: dict[str, Difference]) -> Iterator[str]:
    if item.field == "repository":
        yield f"{item.name}: {item.after} instead of {item.before}"
    elif item.field == "ledger":
        yield from _ledger(item)
    elif item.field in _FOLLOWS_THE_LIMITS or ("repository" in others and item.field in _FOLLOWS_THE_VARIANT):
        if not set(others) - _FOLLOWS_THE_LIMITS:
            yield _sentence(item)
    else:
        yield _sentence(item)


def _ledger(item: Difference) -> Iterator[str]:
    before, after = item.before.total_bytes, item.after.total_bytes
    if before == after:
        yield f"{item.name}: the same memory in all, divided otherwise"
    else:
        change = f"{more(after - before)} more" if after > before else f"{more(before - after)} less"
        yield f"{item.name}: {change} memory on each of its GPUs, {more(after)} in all"


def _stage(item: Difference) -> Iterator[str]:
    if not item.field:
        word = "no longer maximised" if item.after is None else "maximised now"
        yield f"objective: {item.name} is {word}"
    elif item.field == "proven":
        yield f"objective: {item.name} is {'proven' if item.after else 'not proven'} now"
    else:
        yield f"objective: {item.name} {stage_change(item.name, item.after, item.before)}"


def _sentence(item: Difference) -> str:
    word, write = _WORDS.get(item.field, (item.field.replace("_", " "), _plain))
    subject = f"{item.name}: " if item.name else ""
    return f"{subject}{word} {write(item.after)} instead of {write(item.before)}"


def _plain(value: object) -> str:
    """Write a value that needs no unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return listed([str(item) for item in value]) if value else "nothing"
    return str(value) if value != "" else "nothing"
