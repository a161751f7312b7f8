"""Enough: the options of every role with which a plan can reach as much as one that is known.

Those that may reach most are found first, because a plan of them usually reaches more than the one that was known, and
then fewer of the others are enough.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options.descent import Descent
from planner.options.gathering import Gathering
from planner.options.looks import Looks
from planner.options.needed import Needed
from planner.options.offers import Offers
from planner.options.option import Option, Prepared
from planner.options.place import places
from planner.options.prepare import named, role_options, together
from planner.options.problem import losses, stages
from planner.options.prune import Front
from planner.options.reach import Reach
from planner.search.watch import step

_FIRST = (4, 2)
"""Looked at first is what reaches less than the best by no more than a fourth of what it may; where two plans of that
reach less than the one that was known, by half of it. Of four fleets of open roles an eighth alone takes 1.4 and 7
times the looks for two, half alone 1.1 and 1.5 times for two, and neither takes fewer for any.
"""

Reached = Callable[[Prepared], int | None]
"""What the runner-up of a plan of some options reaches, or less; None where no two plans are known."""


class Within(Struct, frozen=True):
    """Options with which a plan can reach enough, what is ``needed`` for them, and the reach that says what is enough.

    ``missed`` is what plans reach at most with options that were not looked at because that takes too long.
    """

    prepared: Prepared
    needed: Mapping[str, Needed]
    reach: Reach
    missed: int | None


def prepare_within(
    fleet: Fleet,
    catalog: Catalog,
    profile: EngineProfile,
    reach: Reach,
    known: Mapping[str, Needed] | None,
    few: Prepared | None = None,
    reached: Reached = lambda some: None,
    *,
    avoid: bool,
) -> Within | None:
    """Return the options of every role with which a plan can reach enough.

    What is enough is ``reached`` by some of them that reach most, unless the reach says it already; None where they are
    no two plans. No others are looked at than those of checkpoints that are ``known`` to be needed. Where not all can
    be looked at, a ``few`` that are a plan are among them. A role of which no option can be in a plan has none. Speed
    must not count.

    Raises:
        BudgetSpent: there were not looks enough to tell what is enough.
    """
    looks = Looks.most() if known is None else Looks.all()
    where = places(fleet, profile)
    roles = [
        _Enough(
            role,
            Gathering(Offers.of(role, catalog, avoid=avoid), where, looks, known[role.name] if known else None),
            reach,
            Front(losses(stages(fleet.objective)), in_all=False),
            looks,
        )
        for role in fleet.roles
    ]
    if not reach.least:
        most = [one.descent.most() for one in roles]
        reach = reach.settled(fleet.roles, most)
        if reach.least and few:
            reach = _settled(roles, reach, most, few, reached, looks)
        if not reach.least:
            return None
    _descend(roles, reach.least, looks)
    found, needed, left_over = [], {}, list[int]()
    for number, one in enumerate(roles):
        least = reach.least[one.role.name]
        options = [option for left, option in one.found if left >= least]
        needed[one.role.name] = one.gathering.needed(named(options))
        top = one.descent.missed(least)
        if top is not None:
            left_over.append(reach.within(one.role, top))
            options = together(options, few.roles[number].options if few else ())
        found.append(replace(role_options(one.gathering, catalog, options, avoid=avoid), cut=top is not None))
    missed = max(left_over, default=None)
    prepared = Prepared(
        places=where, profile=profile, roles=tuple(found), speed=catalog.speed, some=True, missed=missed
    )
    return Within(prepared, needed, reach, missed)


class _Enough:
    """The options of one role that were found, each with what is left of it, and what is still to be looked at."""

    def __init__(self, role: Role, gathering: Gathering, reach: Reach, front: Front, looks: Looks) -> None:
        self.role, self.gathering, self.front = role, gathering, front
        self.descent = Descent(gathering, reach, looks)
        self.found: list[tuple[int, Option]] = []


def _settled(
    roles: Sequence[_Enough], reach: Reach, best: Sequence[int | None], few: Prepared, reached: Reached, looks: Looks
) -> Reach:
    """Return what is enough where plans of the options that reach most are known; not settled where there are none.

    ``best`` has for each role the most that any of its options has left.
    """
    most: int | None = None
    for parts in _FIRST:
        _descend(roles, reach.nearer([one.role for one in roles], best, parts), looks)
        some = (
            replace(kept, options=tuple(together((option for _, option in one.found), kept.options)))
            for one, kept in zip(roles, few.roles, strict=True)
        )
        value = reached(replace(few, roles=tuple(some)))
        most = max((one for one in (most, value) if one is not None), default=None)
        if most is not None and most >= reach.value:
            break
    return replace(reach, least={}) if most is None else reach.reaching(most)


def _descend(roles: Sequence[_Enough], least: Mapping[str, int], looks: Looks) -> None:
    """Find the options of which so much is left, for all roles in turns as far as there are looks."""
    waiting = list(roles)
    while waiting and not looks.spent:
        share = max(1, looks.left // len(waiting))
        count = len(waiting)
        for one in [*waiting]:
            step(f"options of {one.role.name}, {count} of {len(roles)} roles to go")
            enough = least[one.role.name]
            one.found += one.descent.options(enough, one.front, one.descent.looks + share)
            if one.descent.missed(enough) is None:
                waiting.remove(one)
