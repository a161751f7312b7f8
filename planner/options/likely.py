"""Likely: the checkpoints of a role that a good plan probably has, to find one before all are sized.

Nothing follows from what is left out here: all that counts is that a plan of these is a plan.
"""

from collections.abc import Sequence

from planner.catalog import Catalog
from planner.facts.variant import Model, Variant
from planner.fleet import Role
from planner.options.candidates import allowed
from planner.options.figures import RoleFigures
from planner.options.place import Place
from planner.units import ceil_div

_MOST = 12
"""Checkpoints of a role at most.

Of 6, 12 and 24 this takes the fewest looks for five fleets of open roles together: 717, 645 and 709 thousand. With
fewer the first plan is worse, so that more has to be looked at after it; with more it costs what it saves.
"""


def likely(role: Role, where: Sequence[Place], catalog: Catalog) -> frozenset[tuple[int, str]]:
    """Return the checkpoints of a role than which none is both smaller and as accurate, by pool and repository."""
    figures = RoleFigures(role, catalog)
    best = figures.measure
    ranked: list[tuple[int, int, str]] = []
    for model, variant in allowed(role):
        figure = best.figure(figures.compared(model, variant, "auto", role.context_min))
        if figure is not None:
            ranked.append((-best.share(figure), probable_bytes(model, variant), variant.repository))
    front: list[tuple[int, int, str]] = []
    for one in sorted(ranked):
        if not front or one[1] < front[-1][1] or len(ranked) <= _MOST:
            front.append(one)
    step = max(1, ceil_div(len(front), _MOST))
    names = [name for *_, name in {*front[::step], *front[-1:]}]
    return frozenset((place.pool, name) for place in where for name in names)


def probable_bytes(model: Model, variant: Variant) -> int:
    """Return about how large a checkpoint is."""
    return variant.published_bytes or 2 * model.parameters
