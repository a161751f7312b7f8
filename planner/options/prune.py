"""Dominance: options that another option of the role beats or equals in everything are not worth deciding about.

An option ``o`` is dominated by ``k`` of the same role, pool and number of replicas when ``k`` is worth at least as much
in every stage of every objective, allows at least as many sequences, is split over no more GPUs, and takes no more
memory on each at any number of sequences ``o`` allows.

No optimum is lost: take a plan that uses ``o`` with ``s`` sequences and put ``k`` with ``s`` in its place, on a part of
the same GPUs. Memory does not rise on any GPU, so the plan still fits; no stage falls, for each is a sum of worths and
of sequences, the GPUs in use do not grow in number, and headroom does not fall. So some optimum uses no dominated
option. Two options equal in everything would dominate each other; only the one that is later in canonical order is
removed, so one of them stays.
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

    Two, because a plan without one variant is asked for too: then the other still dominates.
    """
    least = span.lowest.least_bytes
    names: set[str] = set()
    for other in others:
        if other.highest.least_bytes <= least and _covers(other.highest, span):
            names.add(other.highest.variant.repository)
    return len(names - {span.lowest.variant.repository}) > 1


def _covers(top: Option, span: Span) -> bool:
    low, high = span.lowest, span.highest
    return (
        top.pool == low.pool
        and top.tensor_parallel_size <= low.tensor_parallel_size
        and top.worth.accuracy >= low.worth.accuracy
        and top.worth.accuracy_left >= low.worth.accuracy_left
        and top.worth.context >= high.worth.context
        and top.worth.batch >= high.worth.batch
        and top.sequences_max >= high.sequences_max
        and never_larger(top.demand, low.demand, low.sequences_min, high.sequences_max)
    )


def prune(options: Sequence[Option]) -> tuple[Option, ...]:
    """Return the options no earlier one dominates; ``options`` are one role's, in canonical order."""
    kept: list[Option] = []
    for option in options:
        if not any(dominates(other, option) for other in kept):
            kept = [other for other in kept if not dominates(option, other)]
            kept.append(option)
    return tuple(kept)


def without_variant(options: Sequence[Option], repository: str) -> tuple[Option, ...]:
    """Return the undominated options of all other variants than one; ``options`` are in canonical order."""
    return prune([option for option in options if option.variant.repository != repository])


def dominates(better: Option, worse: Option) -> bool:
    """Whether ``better`` can replace ``worse`` in every plan without loss."""
    high, low = better.worth, worse.worth
    return (
        better.pool == worse.pool
        and better.replicas == worse.replicas
        and better.tensor_parallel_size <= worse.tensor_parallel_size
        and high.accuracy >= low.accuracy
        and high.context >= low.context
        and high.batch >= low.batch
        and high.accuracy_left >= low.accuracy_left
        and high.served_base >= low.served_base
        and high.served >= low.served
        and better.sequences_min <= worse.sequences_min
        and better.sequences_max >= worse.sequences_max
        and never_larger(better.demand, worse.demand, worse.sequences_min, worse.sequences_max)
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
