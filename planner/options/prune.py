"""Prune: candidates of a role that two others beat at every rung, so that their rungs need not be sized.

What one option beats in one stage after another is left to ``planner.search.points``, which knows the objective. Here
it must be beaten in everything any objective may count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.memory.demand import Demand
from planner.options.option import Option
from planner.units import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The smallest option of a candidate and the one worth most, which bound all options between them.

    No option of the candidate takes less memory than ``lowest`` or is more accurate, and none has a longer context, a
    larger batch or more sequences than ``highest``.
    """

    lowest: Option
    highest: Option


def overshadowed(span: Span, others: Sequence[Span]) -> bool:
    """Whether the highest options of two other variants dominate everything a candidate has.

    ``others`` are in order of the least bytes of their highest options. Two, because a plan without one variant is
    asked for too: then the other still dominates.
    """
    own, least = span.lowest.variant.repository, span.lowest.least_bytes
    names: set[str] = set()
    for other in others:
        if other.highest.least_bytes > least:
            return False
        name = other.highest.variant.repository
        if name != own and name not in names and _covers(other.highest, span):
            names.add(name)
            if len(names) > 1:
                return True
    return False


def _covers(top: Option, span: Span) -> bool:
    low, high = span.lowest, span.highest
    return (
        top.worth.accuracy_left >= low.worth.accuracy_left
        and top.worth.accuracy >= low.worth.accuracy
        and (top.pool, top.pipeline_parallel_size, top.nodes) == (low.pool, low.pipeline_parallel_size, low.nodes)
        and top.tensor_parallel_size <= low.tensor_parallel_size
        and top.worth.context >= high.worth.context
        and top.worth.batch >= high.worth.batch
        and top.sequences_max >= high.sequences_max
        and never_larger(top.demand, low.demand, low.sequences_min, high.sequences_max)
    )


def never_larger(one: Demand, other: Demand, first: int, last: int) -> bool:
    """Whether one footprint is at most the other for all sequences from ``first`` to ``last``.

    Both are piecewise linear, so their difference is linear between the corners and largest at an end of a piece.
    """
    corners = {first, last}
    for demand in (one, other):
        for corner in _corners(demand):
            corners.update(value for value in (corner - 1, corner) if first < value < last)
    return all(one.footprint(count) <= other.footprint(count) for count in corners)


def _corners(demand: Demand) -> tuple[int, ...]:
    """Return the first number of sequences beyond each of the two floors."""
    found = []
    if demand.kv_bytes_per_sequence:
        found.append(ceil_div(demand.kv_floor_bytes, demand.kv_bytes_per_sequence))
    if demand.activation_bytes_per_sequence:
        above = max(0, demand.activation_floor_bytes - demand.activation_base_bytes)
        found.append(ceil_div(above, demand.activation_bytes_per_sequence))
    return tuple(found)
