"""Logs of start-ups -> facts of the user's own: what each left for its KV cache, and where logs disagree."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from planner.adopt.known import given_flags
from planner.adopt.logged import as_server
from planner.catalog import Catalog
from planner.catalog.measured import Measured, as_seen, expected
from planner.errors import PlannerError, UnknownName
from planner.facts.gpu import GPU
from planner.facts.seen import Seen
from planner.logs.diagnosis import Diagnosis
from planner.memory.estimate import Estimate
from planner.units import GIB

_AGREE_BYTES = GIB // 20
"""By how much two logs of one server may differ: what the two decimals of their terms add up to."""


class Start(Struct, frozen=True, kw_only=True):
    """What one log says of one start, beside what was expected; ``why_not`` says why it teaches nothing."""

    log: str
    measured: Measured | None = None
    seen: Seen | None = None
    expected: Estimate | None = None
    why_not: str = ""


class Contradiction(Struct, frozen=True):
    """Logs of one server, shared out and compiled alike, that differ by more than their figures are rounded."""

    model: str
    logs: tuple[str, ...]
    spread_bytes: int


def start_of(found: Diagnosis, log: str, digest: str, gpu: GPU, catalog: Catalog) -> Start:
    """Return what one server of a log teaches about a device.

    ``digest`` is the log's. What was learnt before is left aside, so that a log always means the same.
    """
    measured = _measured(found, digest, gpu, catalog)
    if isinstance(measured, str):
        return Start(log=log, why_not=measured)
    try:
        server, answer = expected(measured, replace(gpu, seen=()), catalog)
    except UnknownName as error:
        return Start(log=log, why_not=str(error).split("\n")[0])
    except (PlannerError, ValueError, TypeError) as error:
        return Start(log=log, why_not=str(error))
    return Start(log=log, measured=measured, seen=as_seen(measured, server, answer), expected=answer)


def _measured(found: Diagnosis, digest: str, gpu: GPU, catalog: Catalog) -> Measured | str:
    """Return one start-up as its log tells it, or why it teaches nothing."""
    if not found.version or not found.model:
        return f"it does not say {'the model' if found.version else 'the engine version'}"
    if not found.arguments:
        return "it does not say with which arguments the server was started"
    try:
        given = given_flags(as_server(found).flags)
    except (ValueError, TypeError) as error:
        return str(error)
    flags = {name: value for name, value in given.items() if value is not None}
    if "speculative" in flags:  # a drafter is not sized here, and its weights are among those logged
        return "it drafts tokens ahead, and what that takes cannot be told apart"
    kv_gib, tokens = found.figures.get("available_kv_gib"), found.figures.get("kv_tokens")
    weights_gib = _gib(found, "weights_gib")
    if flags.get("kv_cache_memory_bytes") or "given_kv_gib" in found.figures:
        kv_gib = tokens = None
        if weights_gib is None:
            return "the size of its KV cache was given, and it does not say that of its weights"
    elif not isinstance(kv_gib, float) and not isinstance(tokens, int):
        return "it does not say how large the KV cache is"
    there = (weights_gib or 0) + (kv_gib if isinstance(kv_gib, float) else 0)
    if there * GIB > gpu.memory_bytes:
        return f"weights and KV cache of {there:.2f} GiB are more than {gpu.name} has"
    eager = flags.get("enforce_eager") is True
    return Measured(
        gpu=gpu.name,
        engine_version=found.version,
        model=_listed(found.model, catalog),
        source=digest,
        flags=flags,
        compiled="eager" if eager else str(found.figures.get("compiled", "")),
        kv_cache_gib=kv_gib if isinstance(kv_gib, float) else None,
        kv_cache_tokens=tokens if isinstance(tokens, int) else None,
        weights_gib=weights_gib,
        activation_gib=_gib(found, "activation_gib"),
        cuda_graph_gib=_gib(found, "graphs_gib"),
    )


def _listed(name: str, catalog: Catalog) -> str:
    """Return a model's name; of a folder on another machine the last part, where the catalog knows that."""
    last = PurePosixPath(name).name
    try:
        return catalog.find(last)[1].repository if name.startswith(("/", ".", "~")) else name
    except PlannerError:
        return name


def contradictions(starts: Sequence[Start]) -> list[Contradiction]:
    """Return the groups of logs that ought to say the same and do not."""
    groups: dict[tuple[object, ...], list[Start]] = {}
    for start in starts:
        if start.seen:
            key = (start.seen.version, start.seen.model, start.seen.split, start.seen.compiled)
            groups.setdefault(key, []).append(start)
    found = []
    for group in groups.values():
        more = [start.seen.more_bytes for start in group if start.seen]
        if max(more) - min(more) > _AGREE_BYTES:
            name = group[0].measured.model if group[0].measured else ""
            found.append(Contradiction(name, tuple(start.log for start in group), max(more) - min(more)))
    return found


def to_share(start: Measured, catalog: Catalog) -> dict[str, object]:
    """Return a row that a person can contribute: no paths, hosts or names but those that the catalog publishes."""
    try:
        model: str | None = catalog.find(start.model)[1].repository
    except PlannerError:
        model = None
    return {
        "gpu": start.gpu,
        "engine_version": start.engine_version,
        "model": model,
        "flags": dict(start.flags),
        "compiled": start.compiled,
        "weights_gib": start.weights_gib,
        "activation_gib": start.activation_gib,
        "cuda_graph_gib": start.cuda_graph_gib,
        "kv_cache_gib": start.kv_cache_gib,
        "kv_cache_tokens": start.kv_cache_tokens,
    }


def _gib(found: Diagnosis, name: str) -> float | None:
    value = found.figures.get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else None
