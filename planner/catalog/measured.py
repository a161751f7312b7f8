"""Start-ups of the user's own, as files of the room ``measured`` keep them -> what they teach about a device."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from planner.catalog.asked import asked_model
from planner.catalog.sized import sized
from planner.engine.profile import load_profile
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.facts.seen import Seen
from planner.memory.estimate import Estimate, estimate
from planner.memory.learnt import model_key, split_key
from planner.memory.terms import Server
from planner.units import GIB

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog


_ODD_WEIGHTS_PARTS = 10
"""Weights that differ by more than this share are those of another checkpoint."""


class Measured(Struct, frozen=True, kw_only=True):
    """One start-up: what was started where, and what its log says; sizes as logged, in GiB and tokens.

    ``flags`` are fields of ``ServeFlags``. ``compiled`` is ``cold``, ``warm`` or ``eager``, empty where the log does
    not say. ``source`` is the digest of the log.
    """

    gpu: str
    engine_version: str
    model: str
    source: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    compiled: str = ""
    kv_cache_gib: float | None = None
    kv_cache_tokens: int | None = None
    weights_gib: float | None = None
    activation_gib: float | None = None
    cuda_graph_gib: float | None = None


def measured_in(data: Mapping[str, Any]) -> Iterator[Measured]:
    """Yield the start-ups of one file."""
    yield from (Measured(**{**start, "flags": flags_of(start)}) for start in data.get("starts", ()))


def flags_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of an entry as ``ServeFlags`` has them: a list of a file is a tuple there."""
    flags = entry.get("flags", {})
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def expected(start: Measured, gpu: GPU, catalog: "Catalog") -> tuple[Server, Estimate]:
    """Return the server of a start-up and what is expected of it on a device.

    Raises:
        PlannerError: the model, the engine or a flag is not known.
    """
    given = dict(start.flags)
    if start.compiled in ("cold", "warm"):
        given["compile_cache"] = start.compiled
    model = asked_model(catalog, start.model)
    server, profile = sized(model, gpu, load_profile(start.engine_version), given)
    return server, estimate(server, gpu, profile)


def more_bytes(start: Measured, answer: Estimate) -> int | None:
    """Return the KV cache logged less the one expected; None where the log has neither that nor the weights.

    Where the size of the KV cache was given, the weights are all that is left to compare.
    """
    if start.kv_cache_gib is not None:
        return round(start.kv_cache_gib * GIB) - answer.kv_cache_bytes
    if start.kv_cache_tokens is not None and answer.kv_cache_tokens > 0:
        return answer.kv_cache_bytes * start.kv_cache_tokens // answer.kv_cache_tokens - answer.kv_cache_bytes
    return None if start.weights_gib is None else answer.weights_bytes - round(start.weights_gib * GIB)


def seen_on(gpu: GPU, starts: Iterable[Measured], catalog: "Catalog") -> tuple[Seen, ...]:
    """Return what start-ups teach about a device; one that cannot be sized any more teaches nothing."""
    found = []
    for start in starts:
        try:
            server, answer = expected(start, gpu, catalog)
        except (PlannerError, ValueError, TypeError):
            continue
        if (seen := as_seen(start, server, answer)) is not None:
            found.append(seen)
    return tuple(found)


def as_seen(start: Measured, server: Server, answer: Estimate) -> Seen | None:
    """Return what one start-up teaches; None where its KV cache is not logged."""
    more = more_bytes(start, answer)
    if more is None:
        return None
    logged = answer.kv_cache_bytes + more
    weights_alone = start.kv_cache_gib is None and start.kv_cache_tokens is None
    outlier = not answer.kv_cache_low_bytes <= logged <= answer.kv_cache_high_bytes
    return Seen(
        version=start.engine_version,
        model=model_key(server),
        split=split_key(server),
        compiled=start.compiled,
        more_bytes=more,
        weights_alone=weights_alone,
        outlier=abs(more) > answer.weights_bytes // _ODD_WEIGHTS_PARTS if weights_alone else outlier,
        source=start.source,
    )
