"""Narrow: the candidates that a best plan can have, found with a plan that has few of them.

The candidates with the highest bounds are tried first, and more of them until there is a plan. What cannot be in one
as good is then left out for good.
"""

from collections.abc import Callable, Sequence

from planner.search.bounds import Bounds
from planner.search.budget import BudgetSpent
from planner.search.pieces import Pieces
from planner.search.watch import stopped

_FIRST = 100
"""Candidates that are tried first: how many changes how long it takes, and no answer."""
_MORE = 8
"""How many times as many are tried next."""


def narrowed(limits: Bounds, reach: Callable[[Pieces], Sequence[int] | None], most: int | None = None) -> Pieces | None:
    """Return the problem with all that a best plan can have and little else; None when there is no plan.

    ``reach`` returns the values of the first stages of a good plan of a part, or None when it has no plan; ``most`` is
    what no plan exceeds in their weighted sum.

    Raises:
        BudgetSpent: no plan was found, and it was not shown that there is none.
    """
    every = limits.count
    least = limits.threshold(_FIRST) if most is None else most
    part = limits.part(least)
    while True:
        count = sum(map(len, part.origins))
        whole = count == every and part.problem == limits.problem
        values: Sequence[int] | None = None
        if part.served:
            try:
                values = reach(part)
            except BudgetSpent:
                if whole or stopped():
                    raise
        if values is not None:
            return limits.part(limits.weighing.sum(values))
        if whole:
            return None
        part = limits.part(limits.threshold(max(_FIRST, _MORE * count)))
