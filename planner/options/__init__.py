"""Options: every way a role can be served on a GPU, with its memory and its worth; and why the others are out.

``prepare`` tries every variant that the role's pins leave (``limits``: what engine and GPU refuse; ``figures``: its
accuracy; ``served``: what the server loads) at every rung of the ladders of context, batch size and sequences
(``ladders``), counts memory and worth (``worth``: what the objective sees), and drops what another option beats in
everything (``prune``).
"""

from planner.options.option import Option, Prepared, Rejection, RoleOptions
from planner.options.prepare import Place, prepare, prepare_role
from planner.options.prune import dominates, prune, without_variant

__all__ = [
    "Option", "Place", "Prepared", "Rejection", "RoleOptions", "dominates", "prepare", "prepare_role", "prune",
    "without_variant",
]  # fmt: skip
