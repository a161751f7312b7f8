"""Budget: how long a search may take, and what it says when that is too short; known without the solver's library."""

from planner.errors import PlannerError

BUDGET = 60
"""Deterministic seconds per solve: a count of the solver's steps, so that a run repeats on any machine."""

POINTS = 25
"""Points of a frontier that are found unless more are asked for."""

ORDER = "order of "
"""What the names of the last stages begin with, which settle the canonical order; a role's name follows."""


class BudgetSpent(PlannerError):
    """The deterministic budget ran out before the solver had found any plan or proven that there is none."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        super().__init__(budget)

    def __str__(self) -> str:
        return f"no plan was found within a budget of {self.budget} deterministic seconds; it is not proven impossible"
