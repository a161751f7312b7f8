"""Worth: what the objective sees of an option, as integers; docs/objective.md is the definition in one formula.

Accuracy enters in whole points lost against the role's best candidate, because published figures carry an error of
about a point: candidates less than a point below the best tie with it, and other things decide. What the rounding left
out is compared after everything else.
"""

from collections.abc import Collection

from msgspec import Struct

from planner.facts.accuracy import Accuracy
from planner.fleet import Role

SHARE = 1_000_000
"""Accuracy and served requests are counted in millionths."""

STEP = 1_000
"""Context and batch are counted in thousandths."""

_POINT = 100

THROUGHPUT, LATENCY, TPOT, COST_PER_MTOK = "throughput", "latency", "tpot", "cost_per_mtok"
PACES = (THROUGHPUT, LATENCY, TPOT, COST_PER_MTOK)
"""Stages that count speed."""


def counts_speed(objective: Collection[str]) -> bool:
    """Whether an objective counts speed."""
    return not set(PACES).isdisjoint(objective)


class Measure(Struct, frozen=True, kw_only=True):
    """How a role's candidates are compared: by ``score``, by ``recovery`` alone, or not at all (``none``).

    ``best`` is the figure, in hundredths of a percent, of the best candidate that the role's pins allow, whatever
    hardware there is.
    """

    kind: str
    best: int

    def figure(self, accuracy: Accuracy) -> int | None:
        """Return the figure compared, in hundredths of a percent; None when it is not known."""
        if self.kind == "none":
            return self.best
        return accuracy.score if self.kind == "score" else accuracy.recovery_median

    def share(self, figure: int) -> int:
        """Return the share of the best figure that is left when whole points are counted, in millionths."""
        lost = max(0, self.best - figure) // _POINT
        return (self.best - lost * _POINT) * SHARE // self.best


class Pace(Struct, frozen=True, kw_only=True):
    """How fast all servers of an option are, at the slow end of the range; nothing where speed does not count.

    ``throughput`` is in thousandths of an output token per second. The others are negative, so that more is better:
    ``latency`` the microseconds of a whole request, ``tpot`` those of a token after the first, ``cost_per_mtok`` the
    millionths of a dollar, or of a GPU's hour, for a million output tokens.
    """

    throughput: int = 0
    latency: int = 0
    tpot: int = 0
    cost_per_mtok: int = 0


NO_PACE = Pace()


class Worth(Struct, frozen=True, kw_only=True):
    """What one option is worth to its role, before weights.

    ``accuracy`` is its share of the best candidate's in whole points, ``accuracy_left`` the figure itself in hundredths
    of a percent; ``context`` the share of the wished context and ``batch`` that of the engine's default batch.
    ``served_base + served × sequences`` is the share of the target that all servers of the role serve, when each has
    so many sequences. ``score`` is the share of the best candidate's figure with nothing left out, in millionths.
    ``pace`` is their speed with just as many.
    """

    accuracy: int
    accuracy_left: int
    context: int
    batch: int
    served_base: int
    served: int
    score: int = 0
    pace: Pace = NO_PACE


def measure(accuracies: list[Accuracy]) -> Measure:
    """Return how candidates with these accuracies are compared: by score if any has one, else by recovery."""
    for kind, figures in (
        ("score", [item.score for item in accuracies]),
        ("recovery", [item.recovery_median for item in accuracies]),
    ):
        known = [figure for figure in figures if figure]
        if known:
            return Measure(kind=kind, best=max(known))
    return Measure(kind="none", best=1)


def worth(
    role: Role, figure: int, best: Measure, context: int, batch: int, default_batch: int, served_base: int, served: int
) -> Worth:
    """Return the worth of an option whose accuracy figure is ``figure``, with a context and a batch in tokens."""
    return Worth(
        accuracy=best.share(figure),
        accuracy_left=figure,
        context=min(STEP, context * STEP // role.context_wish),
        batch=min(STEP, batch * STEP // default_batch),
        served_base=served_base,
        served=served,
        score=figure * SHARE // best.best,
    )
