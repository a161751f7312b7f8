"""Known: a plan that is found quickly, and prices, from which follows what better plans have."""

from msgspec import Struct

from planner.search.bounds import Bounds
from planner.search.budget import BudgetSpent, spending
from planner.search.chain import Weighing, choices, maximise_first, reached
from planner.search.decompose import decompose
from planner.search.model import build
from planner.search.narrow import narrowed
from planner.search.nested import nested
from planner.search.optimise import FEW, places
from planner.search.pieces import Pieces, pieces
from planner.search.placing import Placing
from planner.search.prices import Prices
from planner.search.problem import Decided, Problem
from planner.search.watch import stopped

_BUDGET = 6
"""Deterministic seconds for all of it. Of open roles on two RTX 3090, on eight H100, and on 16 H100 beside eight A100
the longest search took 0.08."""

_PATIENCE = 2
"""Deterministic seconds of each solve; 0.08 is the most that one took for those, and each ended with a proof."""


class Known(Struct, frozen=True):
    """The weighted sum of the first stages of a plan, what was decided for each role, and the prices of its problem."""

    value: int
    decided: tuple[Decided, ...]
    prices: Prices


def known(problem: Problem, weights: tuple[int, ...]) -> Known | None:
    """Return a good plan for the first stages, weighed so; None when none was found, which proves nothing."""
    if stopped():
        return None
    found = pieces(problem)
    if not found.served:
        return None
    limits = Bounds(found.problem, Weighing(weights, (0,) * len(weights)))
    with spending(_BUDGET):
        try:
            some = _placed(limits) if places(found.problem) <= FEW else _packed(limits)
        except BudgetSpent:
            return None
    if some is None:
        return None
    values, decided = some
    return Known(limits.weighing.sum(values), tuple(found.decided(decided)), limits.prices)


def _placed(limits: Bounds) -> tuple[list[int], list[Decided]] | None:
    """Return the values of the first stages of a plan with places, and what it has."""
    count = len(limits.weighing.weights)
    best: list[tuple[list[int], list[Decided]]] = []

    def reach(part: Pieces, placed: bool) -> list[int] | None:
        model = build(part.problem)
        if placed:
            Placing(model)
        solver = maximise_first(model, _PATIENCE)
        if solver is None:
            return None
        values = reached(model, solver, count)
        if placed:
            best.append((values, part.decided(choices(model, solver))))
        return values

    if (decided := nested(limits)) and reach(limits.only(decided), placed=True):
        return best[0]
    part = narrowed(limits, lambda part: reach(part, placed=False))
    if part is None:
        return None
    total = limits.weighing.sum(reach(part, placed=False) or ())
    narrowed(limits, lambda part: reach(part, placed=True), total)
    return max(best, key=lambda one: limits.weighing.sum(one[0]), default=None)


def _packed(limits: Bounds) -> tuple[list[int], list[Decided]] | None:
    """Return the same for GPUs that are too many to decide about."""
    first = limits.weighing.first(limits.total)
    found = decompose(limits.problem, limits.weighing, _PATIENCE, first)
    return (list(found.value[: len(limits.weighing.weights)]), list(found.decided)) if found else None
