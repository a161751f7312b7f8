"""What differs between two plans, one sentence for each thing that a reader would see on the machines."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planner.explain.money_text import dollars, tokens_price
from planner.explain.named import named
from planner.explain.speed_text import pace
from planner.explain.words import accuracy, listed, places, plural, settings, stage_change
from planner.plan import Asleep, Difference, HourlyPrice, Money, ServerPlan
from planner.units import format_gib, format_tokens

_FEW = 4
"""New servers up to which it is said of each where it is."""

_LISTED = 8
"""Servers up to which their order is written name by name."""

_FOLLOWS_THE_VARIANT = frozenset({
    "model", "repository", "revision", "local", "download_bytes", "scheme", "dtype", "pooling", "tool_parser",
    "reasoning_parser", "hf_overrides", "chat_template", "spread", "unseen",
})  # fmt: skip
_FOLLOWS_THE_LIMITS = frozenset({"gpu_memory_utilization", "kv_cache_memory_bytes", "concurrency_full_context"})


def _asleep(asleep: Asleep | None) -> str:
    """Write how a server passes the time between its turns."""
    if asleep is None:
        return "always awake"
    kept = f", {format_gib(asleep.gpu_bytes)} of a GPU and {format_gib(asleep.host_bytes)} of the machine"
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
    "speed": ("speed", lambda speed: pace(speed) or "not said"),
    "asleep": ("between turns", _asleep),
    "shared_bytes": ("memory taken in turns", format_gib),
    "start_order": ("start order", lambda names: _order(names)),
    "awake_sets": ("awake together", lambda sets: "; or ".join(listed(roles) for roles in sets) or "everybody"),
    "known_faults": ("known faults", lambda faults: listed([fault.id for fault in faults] or ["none"])),
    "system_bytes": ("memory left to the system", format_gib),
    "later_stages": ("GPU of later stages", lambda groups: places(groups) if groups else "none"),
    "gpu_indices": ("GPU", lambda indices: listed([str(index) for index in indices])),
    "accuracy": ("accuracy", accuracy),
    "free_bytes": ("free memory", format_gib),
    "memory_in_use_bytes": ("memory in use by others", format_gib),
    "total_bytes": ("total memory", format_gib),
    "engine_version": ("version of the engine", str),
    "price": ("what is in use costs", _paid),
    "money": ("a million output tokens with all requests running cost", _of_tokens),
    "cluster": ("GPUs of a cluster come from", lambda cluster: "DRA" if cluster.dra else "the device plugin"),
}
"""Field of a plan -> what it is called in a sentence, and how its value is written."""


def _order(names: Sequence[str]) -> str:
    """Write an order of servers: where they are many, those of one role that follow one another in few words."""
    if len(names) <= _LISTED:
        return _plain(tuple(names))
    runs = itertools.groupby(names, lambda name: name.rstrip("0123456789"))
    return ", then ".join(named(run) for _, run in runs)


def difference(found: Sequence[Difference]) -> str:
    """Return one line for each thing that differs; lines that only repeat another one are left out."""
    fields: dict[tuple[str, str], dict[str, Difference]] = {}
    for item in found:
        fields.setdefault((item.kind, item.name), {})[item.field] = item
    things: dict[tuple[str, str, str], list[Difference]] = {}
    for item in found:
        for line in _lines(item, fields[item.kind, item.name]):
            things.setdefault((item.kind, item.name.rstrip("0123456789"), line), []).append(item)
    lines = [_whole_line(line, items) for (_, _, line), items in things.items()]
    return "\n".join(lines) if lines else "the plans promise the same"


def _whole_line(line: str, items: Sequence[Difference]) -> str:
    """Say of which servers or GPUs a line is true, and of new servers where they are."""
    if items[0].kind not in ("server", "gpu"):
        return line
    new = [item.after for item in items if not item.field and isinstance(item.after, ServerPlan)]
    return f"{named(item.name for item in items)}: {line}" + (f", on {_where(new)}" if new else "")


def _where(servers: Sequence[ServerPlan]) -> str:
    if len(servers) <= _FEW:
        return " and ".join(f"GPU {places(server.groups)}" for server in servers)
    gpus = {gpu for server in servers for gpu in server.gpus}
    return f"{plural(len(gpus), 'GPU')} of {plural(len({node for node, _ in gpus}), 'node')}"


def _lines(item: Difference, others: dict[str, Difference]) -> Iterator[str]:
    """Yield what is to be said of one thing: of a server or GPU without its name, which may be one of many."""
    if item.kind == "stage":
        yield from _stage(item)
    elif not item.field:
        yield _whole(item)
    elif item.kind == "server":
        yield from _server(item, others)
    elif item.field != "servers":
        yield _sentence(item)


def _whole(item: Difference) -> str:
    """A server or GPU that only one of the plans has."""
    if item.after is None:
        return "gone"
    if isinstance(item.after, ServerPlan):
        server = item.after
        limits = f"{format_tokens(server.max_model_len)} context, {plural(server.requests, 'request')} at once"
        return f"new, {server.repository}, {limits}"
    return f"new, {item.after.gpu}"


def _server(item: Difference, others: dict[str, Difference]) -> Iterator[str]:
    if item.field == "repository":
        yield f"{item.after} instead of {item.before}"
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
        yield "the same memory in all, divided otherwise"
    else:
        change = f"{format_gib(after - before)} more" if after > before else f"{format_gib(before - after)} less"
        yield f"{change} memory on each of its GPUs, {format_gib(after)} in all"


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
    if write is format_gib and write(item.after) == write(item.before):
        return f"{word} {item.after:,} bytes instead of {item.before:,}"
    return f"{word} {write(item.after)} instead of {write(item.before)}"


def _plain(value: object) -> str:
    """Write a value that needs no unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return listed([str(item) for item in value]) if value else "nothing"
    return str(value) if value != "" else "nothing"
