"""Glance: the questions that a reader of a plan asks first, answered in a line each."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.report.curves import Curves, Held, Pace
from planner.report.memory import GPUBar, tightest
from planner.report.starts import StartRow
from planner.units import format_gib, format_tokens

_NAMED = 6
"""How many of a kind are named; the parts of the page below have all."""


class Answer(Struct, frozen=True, kw_only=True):
    """A question in a few words, and the answer in one line."""

    question: str
    text: str


def glance(bars: tuple[GPUBar, ...], curves: tuple[Curves, ...], starts: tuple[StartRow, ...]) -> Iterator[Answer]:
    """Yield what is asked first: where memory is short, what context costs, how fast it is, what starts when."""
    tight = tightest(bars)
    yield Answer(
        question="Tightest GPU",
        text=f"{tight.label}: {format_gib(tight.free_bytes)} free of {format_gib(tight.total_bytes)}",
    )
    for own in curves[:_NAMED]:
        if own.held:
            yield Answer(question=f"Context of {own.role}", text=_context(own))
    for own in curves[:_NAMED]:
        text = _speed(own.paces) if own.paces else f"not known: {own.no_pace}"
        yield Answer(question=f"Speed of {own.role}", text=text)
    if starts:
        yield Answer(question="Start order", text=_order(starts))
        yield Answer(question="All servers answer", text=_ready(starts))


def _context(own: Curves) -> str:
    lengths = {point.tokens: point for point in own.held}
    points = [lengths[tokens] for tokens in sorted({own.request_tokens, own.max_model_len})]
    further = f"each further token of one would take {own.token_bytes:,} bytes more" if own.token_bytes else ""
    return "; ".join([*(_cost(point) for point in points), *filter(None, [further])])


def _cost(point: Held) -> str:
    return (
        f"a request of {format_tokens(point.tokens)} tokens takes {format_gib(point.bytes)} of the KV cache, "
        f"{point.requests} fit at once"
    )


def _speed(paces: tuple[Pace, ...]) -> str:
    ends = [paces[0], *paces[-1:]] if len(paces) > 1 else [paces[0]]
    return "; ".join(_pace(point) for point in ends)


def _pace(point: Pace) -> str:
    tpot = point.tpot_us
    running = "1 request running" if point.requests == 1 else f"{point.requests} requests running"
    return f"{1e6 / tpot.value:.1f} tokens/s each ({1e6 / tpot.high:.1f} to {1e6 / tpot.low:.1f}) with {running}"


def _order(starts: Sequence[StartRow]) -> str:
    """Say what starts at once, on all GPUs, and what waits for what."""
    names = [start.name for start in starts]
    if [start.order for start in starts] == list(range(1, len(starts) + 1)):
        return ", then ".join(names[:_NAMED]) + _others(names[_NAMED:], ", then ")
    first = [start.name for start in starts if start.order == 1]
    later = [f"{start.name} after {start.after}" for start in starts if start.order > 1]
    at_once = f"{', '.join(first[:_NAMED])}{_others(first[_NAMED:], ' and ')} at once"
    return "; ".join([at_once, *later[:_NAMED]]) + _others(later[_NAMED:], "; ")


def _others(left_out: Sequence[str], joint: str) -> str:
    return f"{joint}{len(left_out)} more" if left_out else ""


def _ready(starts: Sequence[StartRow]) -> str:
    slowest = max(start.end_seconds for start in starts)
    later = max(start.later_end_seconds for start in starts)
    return f"after {slowest:,} s at the latest, {later:,} s once everything has been compiled"
