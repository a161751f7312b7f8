"""What it takes to free a node, or GPUs side by side, in words."""

from planner.explain.moves_text import moves
from planner.explain.words import listed, plural
from planner.plan.freeing import FreedPlan, Freeing


def freeing(found: FreedPlan) -> str:
    """Return which places can be free and what moves for that, or that none can and why."""
    what = asked(found.asked)
    if found.moves is None:
        return f"{what} cannot be freed: {found.reason}."
    where = listed(found.free)
    if not found.moved:
        return f"{what}: {where} {'has' if len(found.free) == 1 else 'have'} no server already."
    fewest = "fewer do not suffice" if found.moved == found.at_least else f"{found.at_least} may suffice: not proven"
    move = f"{plural(found.moved, 'server')} {'moves' if found.moved == 1 else 'move'}"
    return f"{what}: {where}, once {move}; {fewest}.\n{moves(found.moves)}"


def asked(what: Freeing) -> str:
    """Say what is to be free."""
    return plural(what.count, "node") if what.what == "nodes" else f"{plural(what.count, 'GPU')} side by side"
