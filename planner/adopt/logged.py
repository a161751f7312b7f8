"""A server that a log tells of -> what was expected of it, term by term, and what would have started."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from planner.adopt.known import Known, known
from planner.adopt.server import Server
from planner.adopt.start import asked, least_change
from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.logs.diagnosis import Diagnosis
from planner.memory.estimate import Estimate
from planner.units import GIB

_TERMS: tuple[tuple[str, str, Callable[[Estimate], float]], ...] = (
    ("weights", "weights_gib", lambda answer: answer.weights_bytes / GIB),
    ("activation peak", "activation_gib", lambda answer: answer.activation_bytes / GIB),
    ("CUDA graphs", "graphs_gib", lambda answer: answer.cuda_graph_bytes / GIB),
    ("KV cache", "available_kv_gib", lambda answer: answer.kv_cache_bytes / GIB),
    ("KV cache tokens", "kv_tokens", lambda answer: answer.kv_cache_tokens),
    ("requests of full length at once", "concurrency", lambda answer: answer.max_concurrency),
)
"""What a log and an estimate both say: its name, the log's figure, and the estimate's; GiB if not named otherwise."""
_MEMORY = (
    "weights_do_not_fit", "no_memory_for_cache", "context_exceeds_cache", "sampler_warmup_oom", "graph_capture_oom",
    "mm_item_exceeds_batch", "runtime_oom",
)  # fmt: skip
"""Causes for which a change of flags may help that the memory model can judge."""


class Term(Struct, frozen=True):
    """One figure: as expected and as logged."""

    name: str
    expected: float
    logged: float


class Expectation(Struct, frozen=True, kw_only=True):
    """What was expected of a server that a log tells of; ``why_not`` says why nothing could be, empty otherwise.

    ``starts`` is whether it was expected to start; ``change`` the least change of one flag with which it would, by the
    same model, where it failed for want of memory.
    """

    why_not: str = ""
    starts: bool | None = None
    reason: str | None = None
    terms: tuple[Term, ...] = ()
    change: tuple[str, Any] | None = None


def as_server(found: Diagnosis) -> Server:
    """Return the server that a log tells of, with flags as ``vllm serve`` spells them; its defaults are among them."""
    flags = {name.replace("_", "-"): value for name, value in found.arguments.items()}
    for name in ("model", "model-tag", "config"):
        flags.pop(name, None)
    if "max-model-len" not in flags and "max_model_len" in found.figures:
        flags["max-model-len"] = found.figures["max_model_len"]
    return Server(name=found.source, model=found.model or "", flags=flags, engine_version=found.version)


def expectation(found: Diagnosis, gpu: GPU, catalog: Catalog) -> Expectation:
    """Return what was expected of a server on a GPU."""
    server = as_server(found)
    if not server.engine_version or not server.model:
        return Expectation(why_not=f"the log does not say {'the model' if server.engine_version else 'its version'}")
    there = known(server, gpu, catalog)
    if isinstance(there, str):
        return Expectation(why_not=there)
    try:
        answer = asked(there, server.flags, 0)
    except (PlannerError, ValueError, TypeError) as error:
        return Expectation(why_not=str(error))
    return Expectation(
        starts=answer.starts,
        reason=answer.reason,
        terms=tuple(_terms(found, answer)),
        change=_change(there, found, answer),
    )


def _terms(found: Diagnosis, answer: Estimate) -> list[Term]:
    logged = ((name, found.figures.get(key), of) for name, key, of in _TERMS)
    return [Term(name, round(of(answer), 2), value) for name, value, of in logged if isinstance(value, int | float)]


def _change(there: Known, found: Diagnosis, answer: Estimate) -> tuple[str, Any] | None:
    """Return the least change with which a server starts; where it was expected to start, what the log says counts.

    What the log found less than was expected is held by others, as far as the model is concerned.
    """
    if found.cause not in _MEMORY:
        return None
    held = 0
    logged = found.figures.get("available_kv_gib", found.figures.get("available_gib"))
    if answer.starts and isinstance(logged, int | float):
        held = max(0, answer.kv_cache_bytes - round(logged * GIB))
    if answer.starts and not held:
        return None
    return least_change(there, held)
