"""How fast a server of a role is, and how many sequences it may have for that: a limit on speed is one on them.

Times per token and to the first one grow with the sequences that run, and so do the requests a server completes. So a
limit on time is the most sequences a server may have, and a rate the fewest; nothing else of it reaches the solver.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog.speed_tables import SpeedTables
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.fleet import Role
from planner.memory.terms import Server
from planner.options.place import Place
from planner.options.replicas import Load
from planner.options.worth import SHARE
from planner.speed.constants import Device, Engine
from planner.speed.forecast import Forecast, Range, rates_of, said
from planner.speed.learnt import Learnt
from planner.speed.planned import planned, shared
from planner.speed.refusals import refusal
from planner.speed.serving import Requests, at_concurrency
from planner.speed.site import Site
from planner.speed.step import Batch, Rates, step
from planner.speed.work import Work
from planner.tensors.identity import Same
from planner.units import ceil_div

_TERMS = {
    "matrices": "reading weights",
    "experts": "reading experts",
    "cache": "reading the KV cache",
    "attention": "attention",
    "all_reduce": "summing over GPUs",
    "host": "the engine between kernels",
}


SpeedReason = Literal["tpot", "ttft", "rate", "sequences", "unmeasured"]


class Unmet(Struct, frozen=True, kw_only=True):
    """Why no number of sequences meets a role's speed.

    ``what`` is ``tpot``, ``ttft`` (microseconds), ``rate`` (thousandths of a request per second) or ``unmeasured``;
    ``found`` is the best there is, and ``detail`` the term that most of the time goes to, or why nothing is said: of a
    rate with more requests at once than were found, empty where those are too slow.
    """

    what: SpeedReason
    wanted: int = 0
    found: int = 0
    detail: str = ""


def requests_of(role: Role) -> Requests | None:
    """Return the requests of a role; None where it states no length, or generates nothing."""
    if role.prompt_tokens is None or not role.output_tokens:
        return None
    cached = role.prompt_tokens * role.cached_permille // 1000
    return Requests(input_tokens=role.prompt_tokens, output_tokens=role.output_tokens, cached_tokens=cached)


def speed_of(
    role: Role,
    server: Server,
    gpu: GPU,
    profile: EngineProfile,
    tables: SpeedTables,
    busy_permille: int,
    nodes: int = 1,
) -> Forecast | None:
    """Return the speed of a server on so many nodes while so many thousandths of its GPUs' time are asked for."""
    requests = requests_of(role)
    if requests is None:
        return None
    if reason := _unmeasured(server, nodes):
        return Forecast(reason=reason)
    return planned(server, Site(gpu, profile, tables.device(gpu), tables.engine), requests, busy_permille)


def _unmeasured(server: Server, nodes: int) -> str:
    """Say why nothing is known of a server on so many nodes that may be known of it on one, or return nothing."""
    apart = nodes > 1 and server.flags.data_parallel_size > 1
    return "data-parallel ranks on several nodes have not been measured" if apart else ""


def too_slow(role: Role, found: Forecast, engine: Engine) -> Literal["tpot", "ttft"] | None:
    """Return which limit on time a forecast breaks at the slow end of its range, or None."""
    percentile = engine.percentile(role.percentile)
    if _breaks(role.tpot_us, found.tpot_us, percentile.tpot):
        return "tpot"
    return "ttft" if _breaks(role.ttft_us, found.ttft_us, percentile.ttft) else None


def _breaks(limit_us: int | None, own: Range | None, factor: float) -> bool:
    return limit_us is not None and (own is None or own.high * factor > limit_us)


def kept_up_milli(role: Role, found: Forecast) -> int:
    """Return the thousandths of a request per second that a server surely completes."""
    output = found.output_millitokens_per_second
    return output.low // (role.output_tokens or 1) if output else 0


def fast_enough(
    role: Role, server: Server, place: Place, tables: SpeedTables, loads: Sequence[Load], batch: int, nodes: int = 1
) -> tuple[list[Load], Unmet | None]:
    """Return loads with the sequences that meet a role's speed; where none does, also what it lacks at its best.

    With fewer tokens than the engine's own ``batch`` a server is not taken to be faster than with that.

    Loads are those of each data-parallel rank of servers on so many nodes. A target is a wish alone: where the rate
    needs more requests at once, the fewest with which it is kept up are a load; those beyond the target count nothing.
    """
    found, lacking = list[Load](), list[Unmet]()
    busy, ranks = place.busy_permille(role.name), server.flags.data_parallel_size
    if reason := _unmeasured(server, nodes):
        return [], Unmet(what="unmeasured", detail=reason)
    known: dict[int, tuple[int, int] | Unmet] = {}
    for load in loads:
        own = load.replicas if role.rate_milli else 1  # a limit on time is the same for any number of servers
        if own not in known:
            known[own] = _within(role, server, place, tables, busy, own, batch)
        within = known[own]
        if isinstance(within, Unmet):
            lacking.append(within)
            continue
        least, most = max(load.least, ceil_div(within[0], ranks)), min(load.most, within[1] // ranks)
        if least <= most:
            found.append(replace(load, least=least, most=most))
        elif load.most < least <= within[1] // ranks:
            whole = SHARE // role.concurrency_target * role.concurrency_target
            more = replace(load, least=least, most=least, served_base=whole, served=0)
            found += [more] if more not in found else []
        else:
            lacking.append(Unmet(what="sequences", wanted=least * ranks, found=within[1]))
    return found, None if found or not lacking else max(lacking, key=lambda one: (one.what == "rate", one.found))


def _within(
    role: Role, server: Server, place: Place, tables: SpeedTables, busy_permille: int, replicas: int, batch: int
) -> tuple[int, int] | Unmet:
    """Return the fewest and the most sequences with which servers meet a role's speed, with this batch and a larger."""
    found = [(1, sys.maxsize)]
    for tokens in sorted({server.flags.max_num_batched_tokens, max(batch, server.flags.max_num_batched_tokens)}):
        one = replace(server, flags=replace(server.flags, max_num_batched_tokens=tokens))
        own = bounds(role, one, place.gpu, place.profile, tables, busy_permille, replicas)
        if isinstance(own, Unmet):
            return own
        found.append(own)
    return max(least for least, _ in found), min(most for _, most in found)


def bounds(
    role: Role, server: Server, gpu: GPU, profile: EngineProfile, tables: SpeedTables, busy_permille: int, replicas: int
) -> tuple[int, int] | Unmet:
    """Return the fewest and the most sequences with which a server of so many replicas meets a role's speed."""
    requests, device = requests_of(role), tables.device(gpu)
    reason = refusal(server, gpu, device)
    if reason is not None or device is None or requests is None:
        return Unmet(what="unmeasured", detail=reason or "")
    rates = rates_of(server, gpu, profile, device, tables.engine)
    batched = server.flags.max_num_batched_tokens

    def at(sequences: int) -> Forecast:
        own = Same(rates.work), Same(rates.device), Same(rates.engine)
        return _at(*own, rates.host_factor, rates.learnt, requests, batched, sequences, busy_permille)

    def fine(sequences: int) -> bool:
        found = at(sequences)
        return found.reason is None and not too_slow(role, found, tables.engine)

    if not fine(1):
        return _unmet(role, at(1), rates, requests, tables.engine)
    most = _last(fine, device.largest_batch * rates.work.data_ranks)
    wanted = -(-(role.rate_milli or 0) // replicas)
    if kept_up_milli(role, at(most)) < wanted:
        kept = kept_up_milli(role, at(most)) * replicas
        return Unmet(what="rate", wanted=role.rate_milli or 0, found=kept, detail=at(most + 1).reason or "")
    return 1 + _last(lambda count: kept_up_milli(role, at(count)) < wanted, most, 0), most


def _unmet(role: Role, found: Forecast, rates: Rates, requests: Requests, engine: Engine) -> Unmet:
    """Say what one request alone lacks."""
    if found.reason is not None:
        return Unmet(what="unmeasured", detail=found.reason)
    what, percentile = too_slow(role, found, engine), engine.percentile(role.percentile)
    if what == "ttft":
        took = round((found.ttft_us.high if found.ttft_us else 0) * percentile.ttft)
        return Unmet(what="ttft", wanted=role.ttft_us or 0, found=took, detail="its prompt")
    terms = step(rates, Batch(sequences=1, context_tokens=requests.input_tokens + requests.output_tokens / 2))
    largest = max(_TERMS, key=lambda name: float(getattr(terms, name)))
    took = round((found.tpot_us.high if found.tpot_us else 0) * percentile.tpot)
    return Unmet(what="tpot", wanted=role.tpot_us or 0, found=took, detail=_TERMS[largest])


def _last(holds: Callable[[int], bool], most: int, least: int = 1) -> int:
    """Return the largest number up to ``most`` for which something holds that holds for all smaller ones."""
    low, high = least, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@functools.lru_cache(maxsize=1 << 16)
def _at(
    work: Same[Work],
    device: Same[Device],
    engine: Same[Engine],
    host_factor: float,
    learnt: Learnt | None,
    requests: Requests,
    batched_tokens: int,
    sequences: int,
    busy_permille: int,
) -> Forecast:
    """Return the speed with so many sequences running; several loads and limits ask for the same one."""
    rates = Rates(work=work.value, device=device.value, engine=engine.value, host_factor=host_factor, learnt=learnt)
    state = at_concurrency(rates, requests, batched_tokens, float(sequences), float(sequences))
    return shared(said(rates, state, requests), busy_permille)
