"""Errors of predictions, their statistics, and the ranges that hold them."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.speed_fidelity.predict import Pair
from benchmarks.speed_fidelity.table import Row
from planner.speed.constants import GRADES, Spread, Spreads
from planner.speed.forecast import Forecast, Range

TENTH, NINE_TENTHS = 0.1, 0.9
CLASSES = (0.10, 0.45)
"""The prefill shares up to which ranges are told apart; above the last nothing is said."""


@dataclass(frozen=True, slots=True)
class Term:
    """One figure: its name, how a row states it, and how a forecast does, in the same unit."""

    name: str
    measured: Callable[[Row], float | None]
    said: Callable[[Forecast], Range | None]


def _output(row: Row) -> float | None:
    """Return the tokens per second of a row: as stated, else from what each of its users waited."""
    if row.output_tokens_per_s is not None:
        return row.output_tokens_per_s * 1000
    if row.tpot_ms is None or row.ttft_ms is None:
        return None
    return 1e6 * row.concurrency * row.output_tokens / (row.ttft_ms + row.output_tokens * row.tpot_ms)


TPOT = Term("time per output token", lambda row: row.tpot_ms and row.tpot_ms * 1000, lambda said: said.tpot_us)
TTFT = Term("time to first token", lambda row: row.ttft_ms and row.ttft_ms * 1000, lambda said: said.ttft_us)
OUTPUT = Term("output tokens/s", _output, lambda said: said.output_millitokens_per_second)
TERMS = (TPOT, TTFT, OUTPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Relative errors in percent: rows, median and ninetieth percentile of their size, median of predicted/measured.

    ``inside`` is the percentage of rows inside the printed range.
    """

    rows: int
    median: float
    p90: float
    bias: float
    inside: float


def statistics(term: Term, pairs: Iterable[Pair]) -> Statistics | None:
    """Return how close a figure comes on some rows; None where none has it."""
    found = [
        (measured, said) for pair in pairs if (measured := term.measured(pair.row)) and (said := term.said(pair.said))
    ]
    if not found:
        return None
    ratios = sorted(said.value / measured for measured, said in found)
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    return Statistics(
        rows=len(found),
        median=100 * quantile(errors, 0.5),
        p90=100 * quantile(errors, NINE_TENTHS),
        bias=quantile(ratios, 0.5),
        inside=100 * sum(said.low <= measured <= said.high for measured, said in found) / len(found),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the ordered values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def calibrated(pairs: Sequence[Pair]) -> tuple[Spreads, ...]:
    """Return the ranges that hold 80 % of some rows, by prefill share and grade.

    An origin counts with the root of its rows: sources not seen are more like a source than like a row. Grades with
    few origins take what the next better grade needs, if that is wider.
    """
    found: list[Spreads] = []
    for most in CLASSES:
        least = max((other for other in CLASSES if other < most), default=-1.0)
        before: Spreads | None = None
        for grade in GRADES:
            own = [pair for pair in pairs if pair.said.grade == grade and least < pair.said.prefill_share <= most]
            tpot, ttft, output = (_spread(term, own) for term in TERMS)
            before = Spreads(
                prefill_share=most,
                grade=grade,
                tpot=_wider(tpot, before.tpot if before else None),
                ttft=_wider(ttft, before.ttft if before else None),
                throughput=_wider(output, before.throughput if before else None),
            )
            found.append(before)
    return tuple(found)


def _spread(term: Term, pairs: Sequence[Pair]) -> Spread:
    counts = Counter(pair.row.origin for pair in pairs if term.measured(pair.row))
    weighted: list[tuple[float, float]] = []
    for pair in pairs:
        measured, said = term.measured(pair.row), term.said(pair.said)
        if measured and said:
            weighted.append((measured / said.value, 1 / math.sqrt(counts[pair.row.origin])))
    if not weighted:
        return Spread(low=1.0, high=1.0)
    return Spread(low=_weighted(weighted, TENTH), high=_weighted(weighted, NINE_TENTHS))


def _weighted(values: list[tuple[float, float]], share: float) -> float:
    total, reached = sum(weight for _, weight in values), 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= share * total:
            return value
    return values[-1][0]


def _wider(own: Spread, other: Spread | None) -> Spread:
    low, high = (own.low, own.high) if other is None else (min(own.low, other.low), max(own.high, other.high))
    return Spread(low=round(low, 2), high=round(high, 2))


def by(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> dict[str, list[Pair]]:
    """Return the rows in groups, by name."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return dict(sorted(groups.items()))
