"""Report: a plan with the fleet it was made for in; one HTML page that shows it, complete without a network, out.

``memory``, ``curves``, ``starts`` and ``glance`` turn a plan into what is drawn and tabled, ``no_plan`` the proof that
there is none, and ``compare`` scenarios, frontiers and earlier plans; ``page`` writes that as HTML, and ``server``
shows it with a form (``asked``) that a ``session`` answers. Every figure is the plan's own or recomputed by the
checker's functions. The page has all of them in tables; the charts are drawn from the same data by Apache ECharts,
which is shipped with the templates.
"""

from planner.report.compare import Changes, Compared, FrontierView, Scenarios, changes, frontier_view, scenario_table
from planner.report.no_plan import NoPlanView, no_plan_view
from planner.report.page import body, page
from planner.report.view import Fault, View, view

__all__ = [
    "Changes",
    "Compared",
    "Fault",
    "FrontierView",
    "NoPlanView",
    "Scenarios",
    "View",
    "body",
    "changes",
    "frontier_view",
    "no_plan_view",
    "page",
    "scenario_table",
    "view",
]
