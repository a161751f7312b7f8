"""Glance: the questions that a reader of a plan asks first, answered in a line each."""

import itertools
from collections.abc import Iterator

from msgspec import Struct

from planner.explain.words import less, listed, more
from planner.report.curves import Curves, Held, Pace
from planner.report.memory import GPUBar, tightest
from planner.report.starts import Start
from planner.units import format_tokens

_NAMED = 6
"""How many of a kind are named; the parts of the page below have all."""


class Answer(Struct, frozen=True, kw_only=True):
    """A question in a few words, and the answer in one line."""

    question: str
    text: str


def glance(bars: tuple[GPUBar, ...], curves: tuple[Curves, ...], starts: tuple[Start, ...]) -> Iterator[Answer]:
    """Yield what is asked first: where memory is short, what context costs, how fast it is, what starts when."""
    tight = tightest(bars)
    yield Answer(
        question="Tightest GPU", text=f"{tight.label}: {less(tight.free_bytes)} free of {less(tight.total_bytes)}"
    )
    for own in curves[:_NAMED]:
        if own.held:
            yield Answer(question=f"Context of {own.role}", text=_context(own))
    for own in curves[:_NAMED]:
        if own.paces:
            yield Answer(question=f"Speed of {own.role}", text=_speed(own.paces))
    if starts:
        yield Answer(question="Start order", text=_order(starts))
        yield Answer(question="All servers answer", text=_ready(starts))


def _context(own: Curves) -> str:
    lengths = {point.tokens: point for point in own.held}
    points = [lengths[tokens] for tokens in sorted({own.request_tokens, own.max_model_len})]
    return "; ".join(_cost(point) for point in points)


def _cost(point: Held) -> str:
    return (
        f"a request of {format_tokens(point.tokens)} tokens takes {more(point.bytes)} of the KV cache, "
        f"{point.requests} fit at once"
    )


def _speed(paces: tuple[Pace, ...]) -> str:
    ends = [paces[0], *paces[-1:]] if len(paces) > 1 else [paces[0]]
    return "; ".join(_pace(point) for point in ends)


def _pace(point: Pace) -> str:
    tpot = point.tpot_us
    running = "1 request running" if point.requests == 1 else f"{point.requests} requests running"
    return f"{1e6 / tpot.value:.1f} tokens/s each ({1e6 / tpot.high:.1f} to {1e6 / tpot.low:.1f}) with {running}"


def _order(starts: tuple[Start, ...]) -> str:
    """Name the servers by when they begin: those that wait for none together."""
    begins = {start.server: start.begin_seconds for start in sorted(starts, key=lambda start: start.begin_seconds)}
    rounds = [list(names) for _, names in itertools.groupby(begins, lambda name: begins[name])]
    texts = [listed(names) if len(names) <= _NAMED else f"{len(names)} servers" for names in rounds]
    more_rounds = f", then {len(begins) - sum(map(len, rounds[:_NAMED]))} more" if len(rounds) > _NAMED else ""
    return ", then ".join(texts[:_NAMED]) + more_rounds


def _ready(starts: tuple[Start, ...]) -> str:
    slowest = max(start.end_seconds for start in starts)
    later = max(start.later_end_seconds for start in starts)
    return f"after {slowest:,} s at the latest, {later:,} s once everything has been compiled"
