"""Explain: facts in; sentences out. All prose about plans, rejections and conflicts lives here.

``headline`` says of a plan how far it is proven, ``reasons`` what binds and what the next best combination of variants
would have cost; ``no_plan`` says why a fleet cannot be served and what would help; ``rejection_lines`` why variants are
no options; ``difference`` what two plans do not have in common; ``money`` what a plan costs; ``stages`` how a server is
split into pipeline stages; ``accuracy`` what is known of one; ``settings`` what a role pins of the engine; ``turns``
who takes turns with whom and what that costs; ``untried`` which layouts a proof leaves out.
"""

from planner.explain.difference_text import difference
from planner.explain.money_text import money, price
from planner.explain.no_plan_text import no_plan
from planner.explain.reasons import headline, reasons
from planner.explain.rejections import rejection_lines
from planner.explain.turns_text import seconds, turns
from planner.explain.untried import untried
from planner.explain.words import accuracy, settings, stages

__all__ = [
    "accuracy",
    "difference",
    "headline",
    "money",
    "no_plan",
    "price",
    "reasons",
    "rejection_lines",
    "seconds",
    "settings",
    "stages",
    "turns",
    "untried",
]
