"""A fleet that is asked about again and again: each answer is that of ``planner solve --fresh`` for the edited file."""

from msgspec import Struct

from planner.catalog import Catalog
from planner.fleet import FleetFile, Scenario, fleets
from planner.plan import NoPlan, plan_to_yaml
from planner.report.asked import Controls, edits
from planner.report.no_plan import NoPlanView, no_plan_view
from planner.report.view import View, view
from planner.yaml_text import yaml_text


class Session(Struct, frozen=True, kw_only=True):
    """The fleet as it is written, what may be changed of it, and the budget of every search."""

    written: FleetFile
    catalog: Catalog
    controls: Controls
    budget: int

    def answer(self, asked: object) -> View | NoPlanView:
        """Return the page's view of the fleet that is asked about, solved.

        Raises:
            BudgetSpent: neither a plan nor its impossibility could be shown within the budget.
            InputError: what is asked is not what the page asks, or makes no valid fleet.
        """
        from planner.solve import solve_and_check

        (fleet,) = fleets(self.written, (Scenario(edits(asked, self.controls)),), self.catalog)
        answer = solve_and_check(fleet, self.catalog, self.budget)
        assert fleet.written is not None
        text = yaml_text(fleet.written.source.data)
        if isinstance(answer, NoPlan):
            return no_plan_view(answer, text)
        return view(answer, fleet, self.catalog, text, plan_to_yaml(answer))
