"""Report: a plan with the fleet it was made for in; one HTML page that shows it, complete without a network, out.

``memory``, ``curves`` and ``starts`` turn a plan into what is drawn and tabled; ``page`` writes that as HTML. Every
figure is the plan's own or recomputed by the checker's functions. The page has all of them in tables; the charts are
drawn from the same data by Apache ECharts, which is shipped with the templates.
"""

from planner.report.page import page
from planner.report.view import Fault, View, view

__all__ = ["Fault", "View", "page", "view"]
