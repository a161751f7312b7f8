"""Worth: what the objective sees of an option, as integers; docs/objective.md is the definition in one formula.

Shares are millionths. Accuracy enters in whole points, because published figures carry an error of about a point: a
smaller difference is a tie, which later stages decide; what the rounding left out comes after all of them.
"""

from dataclasses import dataclass

from planner.accuracy import Accuracy
from planner.fleet import Role

SHARE = 1_000_000
_HUNDREDTHS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a role's candidates are compared: by ``score``, by ``recovery`` alone, or not at all (``none``).

    ``best_points`` are the whole points of the best candidate that the role's pins allow, whatever hardware there is.
    """

    kind: str
    best_points: int

    def figure(self, accuracy: Accuracy) -> int | None:
        """Return the figure compared, in hundredths of a percent; None when it is not known."""
        if self.kind == "none":
            return 0
        return accuracy.score if self.kind == "score" else accuracy.recovery_median


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What one option is worth to its role, before weights.

    ``accuracy`` is the option's whole points as a share of the best candidate's; ``accuracy_left`` the exact figure in
    hundredths of a percent, for the last comparison; ``context`` the share of the wished context; ``batch`` the share
    of the engine's default batch. ``served_per_sequence`` is the share of the target each sequence serves.
    """

    accuracy: int
    accuracy_left: int
    context: int
    batch: int
    served_per_sequence: int


def points(figure: int) -> int:
    """Round hundredths of a percent to whole points, halves up."""
    return (figure + _HUNDREDTHS // 2) // _HUNDREDTHS


def measure(accuracies: list[Accuracy]) -> Measure:
    """Return how candidates with these accuracies are compared: by score if any has one, else by recovery."""
    for kind, figures in (
        ("score", [item.score for item in accuracies]),
        ("recovery", [item.recovery_median for item in accuracies]),
    ):
        known = [figure for figure in figures if figure is not None]
        if known:
            return Measure(kind=kind, best_points=max(1, points(max(known))))
    return Measure(kind="none", best_points=1)


def worth(role: Role, figure: int, best: Measure, max_model_len: int, batch: int, default_batch: int) -> Worth:
    """Return the worth of an option whose accuracy figure is ``figure``."""
    return Worth(
        accuracy=min(SHARE, points(figure) * SHARE // best.best_points),
        accuracy_left=figure,
        context=min(SHARE, max_model_len * SHARE // role.context_wish),
        batch=min(SHARE, batch * SHARE // default_batch),
        served_per_sequence=SHARE // role.concurrency_target,
    )
