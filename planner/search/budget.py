"""Budget: how long a search may take, and what it says when that is too short; known without the solver's library."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct

from planner.errors import PlannerError

BUDGET = 60
"""Deterministic seconds of all searching for a plan: a count of the solver's steps, so that a run repeats anywhere."""

LOOKS = 900_000
"""Looks at options in as many deterministic seconds, before the search: about 27 s of CPU (``planner.options.looks``).
With them and the search the longest plan measured, 12 roles without models on 8 H100, takes 180 s of one core."""

POINTS = 25
"""Points of a frontier that are found unless more are asked for."""

ORDER = "order of "
"""What the names of the last stages begin with, which settle the canonical order; a role's name follows."""


class BudgetSpent(PlannerError):
    """The deterministic budget ran out before any plan had been found or proven that there is none.

    ``cut`` names the roles whose options there was no time to look at all of.
    """

    def __init__(self, budget: float, cut: tuple[str, ...] = ()) -> None:
        self.budget = budget
        self.cut = cut
        super().__init__(budget, cut)

    def __str__(self) -> str:
        text = f"no plan was found within a budget of {self.budget} deterministic seconds; it is not proven impossible"
        if not self.cut:
            return text
        roles = ", ".join(f"roles.{name}" for name in self.cut)
        return f"{text}. Not all options of {roles} were looked at: name fewer models there"


class Purse(Struct):
    """The deterministic seconds, and the looks at options, that are left of a budget."""

    left: float
    looks: int = LOOKS

    def spend(self, seconds: float) -> None:
        """Take off what a solve has taken."""
        self.left = max(0.0, self.left - seconds)


_current: ContextVar[Purse | None] = ContextVar("purse", default=None)


@contextmanager
def spending(budget: float) -> Iterator[Purse]:
    """Let all solving inside share a budget: no more than two thirds of what is left of one that it is inside of.

    The rest is for what comes after, such as the next best combination after the plan. Looks are shared as they are.
    """
    outer = _current.get()
    first = float(budget) if outer is None else min(budget, outer.left * 2 / 3)
    purse = Purse(first, round(LOOKS * budget / BUDGET) if outer is None else outer.looks)
    token = _current.set(purse)
    try:
        yield purse
    finally:
        _current.reset(token)
        if outer:
            outer.spend(first - purse.left)
            outer.looks = purse.looks


def purse() -> Purse:
    """Return what solving here may take; without end where nothing limits it."""
    return _current.get() or Purse(float("inf"))
