"""Budget: how long a search may take, and what it says when that is too short; known without the solver's library.

The whole of a plan is bounded by it. Every run of the solver takes its steps off the purse and the size of its model,
the linear relaxation and the search from below theirs, and each may only take what is left: some 60 s of one core with
the default, and more where a price comes first. Looks bound what is done before, by about 27 s. What nothing counts, to
leave out beaten candidates, to pack, and to write the plan, grows with what was looked at: up to 15 s where looks are
spent. Of ten fleets made to be hard, with a plan or without, the longest took 82 s of CPU (ten roles of four models, by
price, on 28 GPUs of four kinds), and 30 roles of six models each on 64 GPUs 73 s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct

from planner.errors import PlannerError

BUDGET = 60
"""Deterministic seconds of all searching for a plan: they count steps, each about a second of one core at most, so that
a run repeats anywhere."""

STEPS = 2.5
"""Deterministic seconds for one of CP-SAT's own, of which each takes 1.2 to 3.1 s of CPU: measured in 102 solves of
seven fleets that took one half of one or more, of models of 350 to 15,000 variables; 2.2 s on average, and up to 5 s
where a price comes first."""

SIZE = 6_000
"""Variables of a model that count as a deterministic second, each time it is solved: to write it down takes 0.1 s of
CPU for a thousand, and for the solver to make it simpler, before its own clock runs, 0.05 to 0.1 s."""

LOOKS = 900_000
"""Looks at options in as many deterministic seconds, before it: about 27 s of CPU (``planner.options.looks``)."""

_LEAST = 0.5
"""Deterministic seconds with less of which no search is begun: it would end before it found anything."""

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

    @property
    def spent(self) -> bool:
        """Whether too little is left to begin another search with."""
        return self.left < _LEAST

    def spend(self, seconds: float) -> None:
        """Take off what a search has taken."""
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
