"""Load tests of the user's own, as files of the room ``measured`` keep them -> how fast servers were."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from planner.catalog.asked import asked_model
from planner.catalog.measured import flags_of
from planner.catalog.sized import sized
from planner.engine.profile import load_profile
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.facts.paced import Paced
from planner.memory.learnt import model_key, split_key
from planner.memory.terms import Server
from planner.speed.forecast import Forecast, Load, Range, forecast, version_of
from planner.speed.serving import Requests
from planner.speed.site import Site

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

_PERMILLE = 1000
_ODD = 2
"""A server twice as fast as expected was not asked for what its result says: its prompts were cached, or its tokens
counted twice. (80 % of public measurements lie within a third of what is expected.)"""


class LoadTest(Struct, frozen=True, kw_only=True):
    """One load test of one server: what was asked of it, and the middle of what its users waited.

    ``flags`` are fields of ``ServeFlags``. Of ``concurrency`` and ``requests_per_second`` one is given. ``source`` is
    the digest of the result.
    """

    gpu: str
    engine_version: str
    model: str
    source: str
    input_tokens: int
    output_tokens: int
    tpot_ms: float
    ttft_ms: float
    output_tokens_per_s: float
    concurrency: int | None = None
    requests_per_second: float | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)


class Compared(Struct, frozen=True, kw_only=True):
    """A load test beside what was expected without any; ``why_not`` says why it teaches nothing, empty otherwise."""

    expected: Forecast
    paced: Paced | None = None
    why_not: str = ""


def load_tests_in(data: Mapping[str, Any]) -> Iterator[LoadTest]:
    """Yield the load tests of one file."""
    yield from (LoadTest(**{**test, "flags": flags_of(test)}) for test in data.get("load_tests", ()))


def compared(test: LoadTest, gpu: GPU, catalog: "Catalog") -> Compared:
    """Return what a load test teaches about a device. What was learnt before is left aside.

    Raises:
        PlannerError: the model, the engine or a flag is not known.
    """
    alone = replace(gpu, seen=(), paced=())
    server, profile = sized(asked_model(catalog, test.model), alone, load_profile(test.engine_version), test.flags)
    engine = catalog.speed.engine
    requests = Requests(input_tokens=test.input_tokens, output_tokens=test.output_tokens)
    load = Load(requests=requests, concurrency=test.concurrency, rate_per_second=test.requests_per_second)
    said = forecast(server, Site(alone, profile, catalog.speed.device(alone), engine), load)
    tpot, ttft, output = said.tpot_us, said.ttft_us, said.output_millitokens_per_second
    if not (tpot and ttft and output):
        return Compared(expected=said, why_not=f"nothing was expected of it: {said.reason}")
    if test.concurrency and said.running_sequences < math.floor(test.concurrency):
        most = f"{said.running_sequences:.0f}"
        return Compared(expected=said, why_not=f"{test.concurrency} requests at once, of which {most} run: others wait")
    paced = _paced(test, server, engine.host_factor(version_of(profile)), (tpot, ttft, output))
    if why := _too_fast(paced):
        return Compared(expected=said, why_not=why)
    return Compared(expected=said, paced=paced)


def paced_on(gpu: GPU, tests: Iterable[LoadTest], catalog: "Catalog") -> tuple[Paced, ...]:
    """Return what load tests teach about a device; one that cannot be compared any more teaches nothing."""
    found = []
    for test in tests:
        try:
            paced = compared(test, gpu, catalog).paced
        except (PlannerError, ValueError, TypeError):
            continue
        if paced is not None:
            found.append(paced)
    return tuple(found)


def _paced(test: LoadTest, server: Server, host_factor: float, said: tuple[Range, Range, Range]) -> Paced:
    tpot, ttft, output = said
    return Paced(
        model=model_key(server),
        split=split_key(server),
        host_factor=host_factor,
        tpot_permille=math.ceil(_PERMILLE * test.tpot_ms * 1000 / tpot.value),
        ttft_permille=math.ceil(_PERMILLE * test.ttft_ms * 1000 / ttft.value),
        output_permille=math.floor(_PERMILLE * test.output_tokens_per_s * 1000 / output.value),
        source=test.source,
    )


def _too_fast(paced: Paced) -> str:
    if _ODD * paced.tpot_permille < _PERMILLE or paced.output_permille > _ODD * _PERMILLE:
        return "its tokens come more than twice as fast as expected: are they counted twice?"
    if _ODD * paced.ttft_permille < _PERMILLE:
        return "its first tokens come more than twice as fast as expected: were the prompts in the prefix cache?"
    return ""
