"""Errors of predictions, their statistics, and the ranges that hold them."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from benchmarks.speed_fidelity.predict import Pair
from benchmarks.speed_fidelity.table import Row
from planner.speed.constants import GRADES, Grade, Spread, Spreads
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
    """Return the ranges for a row of a source not seen yet, from some rows, by prefill share and grade.

    A grade of which there are fewer than three origins takes the range of the next better one; those that are not
    measured are widened by a few percent more each way, and no range is narrower than that of a better grade or of a
    smaller share of prompts.
    """
    found: dict[tuple[float, Grade], Spreads] = {}
    for place, most in enumerate(CLASSES):
        least = CLASSES[place - 1] if place else -1.0
        before: Spreads | None = None
        for grade in GRADES:
            own = [pair for pair in pairs if pair.said.grade == grade and least < pair.said.prefill_share <= most]
            lower = found.get((least, grade))
            spreads = []
            for term, name in zip(TERMS, ("tpot", "ttft", "throughput"), strict=True):
                better, fewer = (getattr(other, name) if other else None for other in (before, lower))
                spread = _spread(term, own) or better or Spread(low=1.0, high=1.0)
                widened = Spread(low=spread.low / _WIDER[grade], high=spread.high * _WIDER[grade])
                spreads.append(_wider(_wider(widened, better), fewer))
            tpot, ttft, output = spreads
            before = Spreads(prefill_share=most, grade=grade, tpot=tpot, ttft=ttft, throughput=output)
            found[most, grade] = before
    return tuple(found.values())


_WIDER: dict[Grade, float] = {"measured": 1.0, "class": 1.05, "analogy": 1.1}
_FEW_ORIGINS = 3


def _spread(term: Term, pairs: Sequence[Pair]) -> Spread | None:
    """Return the 80 % range of measured over predicted for a row of another origin; None where there are few.

    Logarithms of measured over predicted differ between origins, and inside one, as in a random effects model: the
    variance of a row of a new origin is that between the middles of origins, that inside them, and that of the mean.
    Origins weigh as the root of their rows; with as few of them as there are the quantile is that of Student's t.
    """
    logs: defaultdict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        measured, said = term.measured(pair.row), term.said(pair.said)
        if measured and said:
            logs[pair.row.origin].append(math.log(measured / said.value))
    if len(logs) < _FEW_ORIGINS:
        return None
    weights = {origin: math.sqrt(len(own)) for origin, own in logs.items()}
    total = sum(weights.values())
    effective = total * total / sum(weight * weight for weight in weights.values())
    middles = {origin: median(own) for origin, own in logs.items()}
    mean = sum(weights[origin] * middle for origin, middle in middles.items()) / total
    between = sum(weights[origin] * (middle - mean) ** 2 for origin, middle in middles.items()) / total
    between *= effective / (effective - 1)
    left = [(log - middles[origin], weights[origin] / len(own)) for origin, own in logs.items() for log in own]
    inside = _deviation(left) ** 2
    reach = _student(NINE_TENTHS, effective - 1) * math.sqrt(between * (1 + 1 / effective) + inside)
    return Spread(low=math.exp(mean - reach), high=math.exp(mean + reach))


def _deviation(weighted: list[tuple[float, float]]) -> float:
    """Return the standard deviation that a normal distribution with the middle 80 % of weighted values has."""
    low, high = _weighted(weighted, TENTH), _weighted(weighted, NINE_TENTHS)
    return (high - low) / (2 * NormalDist().inv_cdf(NINE_TENTHS))


def _weighted(values: list[tuple[float, float]], share: float) -> float:
    total, reached = sum(weight for _, weight in values), 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= share * total:
            return value
    return values[-1][0]


def _student(share: float, freedom: float) -> float:
    """Return a quantile of Student's t, to the second term of Abramowitz and Stegun 26.7.5."""
    z = NormalDist().inv_cdf(share)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _wider(own: Spread, other: Spread | None) -> Spread:
    low, high = (own.low, own.high) if other is None else (min(own.low, other.low), max(own.high, other.high))
    return Spread(low=round(low, 2), high=round(high, 2))


def by(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> dict[str, list[Pair]]:
    """Return the rows in groups, by name."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return dict(sorted(groups.items()))
