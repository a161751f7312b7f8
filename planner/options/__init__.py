"""Options: a fleet in; every way a role can be served, with memory and worth, and why others are not, out.

``candidates`` are the variants that the role's pins, the engine and the GPUs of every ``place`` accept (``limits``;
``served``: what the server loads), ``offers`` those that are long and accurate enough; ``rungs`` are their options at
every step of context, batch and sequences (``ladders``) for every number of ``replicas``, with accuracy (``figures``),
memory, and what the objective sees (``worth``). ``prune`` knows what others beat, ``reach`` what gives no plan as good
as one that is known (of ``likely`` checkpoints), ``needed`` what was not beaten in an earlier run. ``gathering`` makes
the offers that are needed, ``sizing`` sizes as few of their options as it can; ``prepare`` runs all of it, and
``considered`` answers what explanations ask of the rest. ``standing`` is the option that servers of an earlier plan
are.
"""

from planner.options.considered import Considered
from planner.options.ladders import STAGES
from planner.options.option import Option, Prepared, Rejection, RoleOptions
from planner.options.place import Place, places
from planner.options.prepare import prepare, prepare_checkpoint, prepare_role
from planner.options.standing import Standing, standing_options

__all__ = [
    "STAGES", "Considered", "Option", "Place", "Prepared", "Rejection", "RoleOptions", "Standing", "places", "prepare",
    "prepare_checkpoint", "prepare_role", "standing_options",
]  # fmt: skip
