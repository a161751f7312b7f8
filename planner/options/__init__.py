"""Options: a fleet in; every way a role can be served, with memory and worth, and why others are not, out.

``candidates`` are the variants that the role's pins, the engine and the GPUs of every ``place`` accept (``limits``;
``served``: what the server loads); ``rungs`` are their options at every step of context, batch and sequences
(``ladders``) for every number of ``replicas``, with accuracy (``figures``), memory, and what the objective sees
(``worth``). ``prune`` leaves out candidates that others beat at every step; ``prepare`` runs all of it. ``standing`` is
the option that servers of an earlier plan are.
"""

from planner.options.option import Option, Prepared, Rejection, RoleOptions
from planner.options.place import Place, places
from planner.options.prepare import STAGES, fitting, prepare, prepare_role, smallest
from planner.options.standing import Standing, standing_option

__all__ = [
    "STAGES", "Option", "Place", "Prepared", "Rejection", "RoleOptions", "Standing", "fitting", "places", "prepare",
    "prepare_role", "smallest", "standing_option",
]  # fmt: skip
