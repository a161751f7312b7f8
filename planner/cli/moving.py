"""What the machines go through from one plan to the next: checked, and in words."""

from planner.check.moves import check_moves
from planner.cli.text import wrapped
from planner.errors import CheckFailed
from planner.explain.moves_text import moves as told
from planner.fleet import Fleet
from planner.plan import Plan
from planner.plan.moves import Moves
from planner.search.problem import MINIMAL_CHANGE
from planner.solve.moves import moves_between


def checked_moves(fleet: Fleet, old: Plan, new: Plan) -> Moves:
    """Return how the machines of a fleet get from an old plan to a new one, after the independent check.

    Raises:
        CheckFailed: the steps do not lead there as they say, which is a defect of the planner.
    """
    found = moves_between(fleet, old, new)
    if violations := check_moves(found, old, new, fleet):
        raise CheckFailed(tuple(str(violation) for violation in violations))
    return found


def moves_text(fleet: Fleet, found: Moves, new: Plan) -> str:
    """Return moves in words; that none leaves more as it is, where the fleet's objective begins with that."""
    proven = new.proof.proven and fleet.objective[0] == MINIMAL_CHANGE and new.lock.held
    return wrapped(told(found, proven=proven))
