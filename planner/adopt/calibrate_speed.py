"""Results of load tests -> facts of the user's own: how fast a server was beside what was expected."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.adopt.load_result import LoadResult, load_result
from planner.catalog import Catalog
from planner.catalog.load_tests import Compared, LoadTest, compared
from planner.catalog.measured import Measured
from planner.errors import PlannerError
from planner.facts.gpu import GPU


class Tested(Struct, frozen=True, kw_only=True):
    """What one result says, beside what was expected; ``why_not`` says why it teaches nothing, empty otherwise."""

    result: str
    test: LoadTest | None = None
    compared: Compared | None = None
    why_not: str = ""


def test_of(
    data: Mapping[str, Any], name: str, digest: str, gpu: GPU, starts: Sequence[Measured], catalog: Catalog
) -> Tested:
    """Return what one result of ``vllm bench serve`` teaches, about the one of some started servers that it is of.

    A result says neither flags nor engine version: the log of the server's start does. A model's name that the catalog
    does not have may be what the server calls it.
    """
    found = load_result(data)
    if isinstance(found, str):
        return Tested(result=name, why_not=found)
    own = [start for start in starts if _named(start.model) == _named(found.model)]
    if not own and not _listed(found.model, catalog):
        own = list(starts)
    kinds = {(start.engine_version, start.model, repr(sorted(start.flags.items()))) for start in own}
    if len(kinds) != 1:
        why = "several logs may be its server's" if kinds else "the log of its server's start is wanted beside it"
        return Tested(result=name, why_not=why)
    return compared_test(found, name, digest, own[0], gpu, catalog)


def compared_test(found: LoadResult, name: str, digest: str, server: Measured, gpu: GPU, catalog: Catalog) -> Tested:
    """Return what a load of one started server teaches."""
    test = LoadTest(
        gpu=gpu.name,
        engine_version=server.engine_version,
        model=server.model,
        source=digest,
        flags=server.flags,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        concurrency=found.concurrency,
        requests_per_second=found.requests_per_second,
        tpot_ms=found.tpot_ms,
        ttft_ms=found.ttft_ms,
        output_tokens_per_s=found.output_tokens_per_s,
    )
    try:
        beside = compared(test, gpu, catalog)
    except (PlannerError, ValueError, TypeError) as error:
        return Tested(result=name, why_not=str(error).split("\n")[0])
    return Tested(result=name, test=test, compared=beside, why_not=beside.why_not)


def _named(model: str) -> str:
    """Return what identifies a model in a name, a folder or a snapshot of the hub's cache: its last part."""
    parts = [part for part in model.split("/") if part]
    hub = next((part for part in parts if part.startswith("models--")), None)
    return (hub.split("--")[-1] if hub else parts[-1] if parts else "").casefold()


def _listed(model: str, catalog: Catalog) -> bool:
    try:
        catalog.find(_named(model))
    except PlannerError:
        return False
    return True
