"""Accuracy of one checkpoint at one task: a published score of the base model times what quantization left of it.

    score = base score on the task's scale x recovery(checkpoint) x recovery(KV cache)

A scale is one benchmark run by one harness; scores of two scales are never compared or multiplied. A recovery is the
quantized score divided by the unquantized one on the same benchmark and harness. It comes, in this order, from

    measured      published for this very checkpoint, at this task
    transferred   published for another checkpoint of the same base model and scheme, at this task
    default       the median of everything published for the scheme, model size and kind of task
    unknown       nothing honest exists; the figure is absent

Each figure is a median and a floor: the objective uses the median, a requirement must hold at the floor. All figures
are integers in hundredths of a percent (``9950`` = 99.5 %), so that two machines never disagree about a tie.
"""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

FULL = 10_000
"""100 % in the unit of every figure here."""

_MINIMUM_BASELINE = 2_000
"""Below a baseline score of 20 % a recovery is noise (a GPQA of 3.7 -> 4.0 reads as 108 %); such rows are ignored."""

_ROWS_THAT_MAKE_A_FLOOR = 4
"""With fewer published benchmarks than this, the worst of them says too little to be a floor on its own."""


class Score(Struct, frozen=True, kw_only=True):
    """A published score of an unquantized model on one scale; ``mode`` is ``thinking``, ``plain`` or empty."""

    scale: str
    value: int
    mode: str
    source: str


class Measurement(Struct, frozen=True, kw_only=True):
    """One benchmark of a quantized checkpoint beside its unquantized base, at one task."""

    task: str
    benchmark: str
    score: int
    baseline: int
    source: str

    @property
    def recovery(self) -> int:
        """The share of the baseline that is left, at most ``FULL``: a gain from quantization is noise."""
        return min(FULL, self.score * FULL // self.baseline)


class ClassDefault(Struct, frozen=True, kw_only=True):
    """What all published rows of a scheme class say: recovery for one kind of task and one range of model sizes.

    ``kind`` is ``short`` (knowledge, chat, code, word problems), ``reasoning`` (long chains of thought), ``mid`` or
    ``long`` (retrieval from contexts up to 64 thousand tokens, and above). ``size`` bounds are billions of
    parameters; ``mixture`` is true for mixture-of- experts models, which have rows of their own. ``evidence`` says
    how much stands behind the row.
    """

    scheme_class: str
    kind: str
    above: float
    below: float
    mixture: bool | None
    median: int
    floor: int
    evidence: str


class Recovery(Struct, frozen=True, kw_only=True):
    """What a checkpoint keeps of its base model: median, floor, where it comes from."""

    median: int
    floor: int
    label: str
    source: str


class Accuracy(Struct, frozen=True, kw_only=True):
    """Score and recovery of one option at one task; ``score`` is None when the base has none on the scale.

    ``label`` is the label of the recovery (``measured``, ``transferred``, ``default``, ``native``, ``given``) or
    ``unknown``. ``score_floor`` is the base score times the recovery floor.
    """

    scale: str
    score: int | None
    score_floor: int | None
    recovery_median: int | None
    recovery_floor: int | None
    label: str
    source: str
    score_source: str


UNKNOWN_RECOVERY = Recovery(median=0, floor=0, label="unknown", source="no published figure for this scheme")
NATIVE = Recovery(median=FULL, floor=FULL, label="native", source="the checkpoint its scores were measured on")


def recovery_from(rows: Sequence[Measurement], label: str, cautious_floor: int) -> Recovery | None:
    """Condense published rows of one task into a median and a floor; None when no row can be used.

    Few rows cannot carry a floor alone (a single benchmark has a sampling error of 1 to 4 points), so with fewer than
    four the floor is not above ``cautious_floor``, the class default. With ten or more it is the tenth percentile,
    else the worst.
    """
    usable = [row for row in rows if row.baseline >= _MINIMUM_BASELINE]
    if not usable:
        return None
    figures = sorted(row.recovery for row in usable)
    middle = len(figures) // 2
    median = figures[middle] if len(figures) % 2 else (figures[middle - 1] + figures[middle]) // 2
    floor = figures[len(figures) // 10]
    if len(figures) < _ROWS_THAT_MAKE_A_FLOOR:
        floor = min(floor, cautious_floor)
    return Recovery(median=median, floor=min(floor, median), label=label, source="; ".join(_distinct(usable)))


def class_default(
    table: Sequence[ClassDefault], scheme_class: str, kind: str, parameters: int, mixture: bool
) -> Recovery | None:
    """Look up the default of a scheme class for a model of ``parameters`` weights; None where nobody published."""
    size = parameters / 1e9
    for row in table:
        if (
            row.scheme_class == scheme_class
            and row.kind == kind
            and row.above <= size < row.below
            and row.mixture in (None, mixture)
        ):
            return Recovery(median=row.median, floor=row.floor, label="default", source=row.evidence)
    return None


def combine(weights: Recovery, cache: Recovery) -> Recovery:
    """Multiply the recovery of the weights with that of the KV cache; the weaker label of the two is kept.

    That the two effects multiply is an assumption: the one published series that varies both (Llama-3.1-8B, MMLU on
    500 questions: FP16 68.4, FP8 weights 68.3, with FP8 cache 68.0) neither confirms nor contradicts it.
    """
    if cache is NATIVE:
        return weights
    if cache is UNKNOWN_RECOVERY:
        return cache
    return Recovery(
        median=weights.median * cache.median // FULL,
        floor=weights.floor * cache.floor // FULL,
        label=cache.label if weights.label == "native" else weights.label,
        source=f"{weights.source}; KV cache: {cache.source}",
    )


def compose(scale: str, score: Score | None, recovery: Recovery) -> Accuracy:
    """Base score times recovery, both optional: what is unknown stays unknown."""
    known = recovery.label != "unknown"
    published = score is not None and score.scale != "assumed"
    return Accuracy(
        scale=scale,
        score=score.value * recovery.median // FULL if score and known else None,
        score_floor=score.value * recovery.floor // FULL if score and published and known else None,
        recovery_median=recovery.median if known else None,
        recovery_floor=recovery.floor if known else None,
        label=recovery.label,
        source=recovery.source,
        score_source=score.source if score else "",
    )


def score_error(score: int, questions: int | None) -> int:
    """Return the error of a published score, in hundredths of a point: one standard error, and at least a point.

    Of ``n`` questions a share ``p`` is answered; another ``n`` like them would give ``p`` give or take
    ``sqrt(p(1 - p) / n)`` (the standard error of a binomial proportion). Scores of one model by two harnesses differ by
    about a point even where there are many questions (docs/accuracy.md), which is the least, and what is taken where
    the number of questions is not known or the score is a mean over tasks.
    """
    if not questions:
        return FULL // 100
    return max(FULL // 100, math.isqrt(max(0, score * (FULL - score)) // questions))


def best_scale(
    scales: Sequence[str],
    scored: Mapping[str, frozenset[str]],
    candidates: frozenset[str],
    recent: frozenset[str],
    newest: frozenset[str],
) -> str:
    """Choose the one scale on which a role's candidates are compared; empty when there is none that can compare them.

    It is the one that knows most of the ``recent`` candidates, then most of all, then the one listed first. A benchmark
    that knows fewer than half of the recent ones says too little of what people would choose today, and one that knows
    fewer than a quarter of the ``newest`` of them was left behind: what it does not know would not be chosen at all.
    """

    def known(scale: str) -> tuple[int, int, int]:
        rows = scored.get(scale, frozenset())
        return len(rows & recent), len(rows & candidates), -scales.index(scale)

    best = max(scales, key=known, default="")
    left_behind = 4 * len(scored.get(best, frozenset()) & newest) < len(newest)
    return best if best and not left_behind and 2 * known(best)[0] >= len(recent) and known(best)[1] else ""


def _distinct(rows: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(row.source for row in rows))
