"""Role x catalog -> options: of the variants that pins and floors leave, every rung of every ladder that may be needed.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So what others beat is sized no further than that shows (``sizing``), nor what reaches less than a plan that
is known already (``reach``), and what was not needed in an earlier run is not looked at (``needed``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options.considered import Considered
from planner.options.descent import Descent
from planner.options.gathering import Gathering
from planner.options.needed import Needed, keep, question, recall
from planner.options.offers import Offers
from planner.options.option import Option, Prepared, RoleOptions, canonical
from planner.options.paces import Pacing
from planner.options.place import Place, places
from planner.options.problem import losses, stages
from planner.options.prune import Front, Loss, Losses
from planner.options.reach import Reach
from planner.options.sizing import best_first
from planner.options.worth import Worth

LOOKS = 200_000
"""Looks at options of all roles together, after which the rest is left out: about a minute."""


def prepare(
    fleet: Fleet, catalog: Catalog, profile: EngineProfile, *, any_objective: bool = False, avoid: bool = True
) -> Prepared:
    """Return the options of every role that the best plan for a fleet's objective may need, or for any objective.

    ``avoid`` is that of ``prepare_role``.
    """
    where = places(fleet, profile)
    names = None if any_objective else stages(fleet.objective)
    pacing = Pacing.of(fleet.objective, catalog.speed, priced=fleet.priced)
    roles = tuple(prepare_role(role, where, catalog, names, avoid=avoid, pacing=pacing) for role in fleet.roles)
    return Prepared(places=where, profile=profile, roles=roles, speed=catalog.speed)


@dataclass(frozen=True, slots=True)
class Within:
    """Options with which a plan can reach enough, what is ``needed`` for them, and the reach that says what is enough.

    ``missed`` is what plans reach at most with options that were not looked at because that takes too long.
    """

    prepared: Prepared
    needed: Mapping[str, Needed]
    reach: Reach
    missed: int | None


def prepare_few(
    fleet: Fleet, catalog: Catalog, profile: EngineProfile, some: Mapping[str, Needed], *, avoid: bool
) -> Prepared:
    """Return some of the options of some checkpoints of every role; a role may have none. Speed must not count."""
    where, names = places(fleet, profile), stages(fleet.objective)
    roles = []
    for role in fleet.roles:
        one = Gathering(Offers.of(role, catalog, avoid=avoid), where, some[role.name], few=True)
        for named in one.named:
            one.add(named)
        found = best_first(one.boxes, Front(losses(names), in_all=False))
        roles.append(_role_options(one, catalog, found, avoid=avoid))
    return Prepared(places=where, profile=profile, roles=tuple(roles), speed=catalog.speed, some=True)


def prepare_within(
    fleet: Fleet,
    catalog: Catalog,
    profile: EngineProfile,
    reach: Reach,
    known: Mapping[str, Needed] | None,
    few: Prepared | None,
    *,
    avoid: bool,
) -> Within:
    """Return the options of every role with which a plan can reach enough.

    No others are looked at than those of checkpoints that are ``known`` to be needed. Where not all can be looked at,
    a ``few`` that are a plan are among them. A role of which no option can be in a plan has none. Speed must not count.
    """
    where, names = places(fleet, profile), stages(fleet.objective)
    gathered = [
        Gathering(Offers.of(role, catalog, avoid=avoid), where, known[role.name] if known else None)
        for role in fleet.roles
    ]
    descents = [Descent(one, reach) for one in gathered]
    if not reach.least:
        reach = reach.settled(fleet.roles, [descent.most() for descent in descents])
    fronts = [Front(losses(names), in_all=False) for _ in fleet.roles]
    options: list[list[Option]] = [[] for _ in fleet.roles]
    left, open_roles = LOOKS, set(range(len(fleet.roles)))
    while open_roles and left >= len(open_roles):
        share = left // len(open_roles)
        for number in sorted(open_roles):
            descent, least = descents[number], reach.least.get(fleet.roles[number].name, 0)
            before = descent.looks
            options[number] += descent.options(least, fronts[number], before + share)
            left -= descent.looks - before
            if descent.missed(least) is None:
                open_roles.remove(number)
    roles, needed, missed = [], {}, list[int]()
    for number, (role, one) in enumerate(zip(fleet.roles, gathered, strict=True)):
        found = options[number]
        needed[role.name] = one.needed(_named(found))
        top = descents[number].missed(reach.least.get(role.name, 0))
        if top is not None:
            missed.append(reach.within(role, top))
            found = _with(found, few.roles[number].options if few else ())
        roles.append(_role_options(one, catalog, found, avoid=avoid))
    most = max(missed, default=None)
    prepared = Prepared(places=where, profile=profile, roles=tuple(roles), speed=catalog.speed, some=True, missed=most)
    return Within(prepared, needed, reach, most)


def _with(options: Iterable[Option], others: Iterable[Option]) -> list[Option]:
    return list({canonical(option): option for option in (*options, *others)}.values())


def _role_options(gathering: Gathering, catalog: Catalog, found: Iterable[Option], *, avoid: bool) -> RoleOptions:
    role = gathering.offers.role
    considered = Considered(role, gathering.where, catalog, avoid=avoid)
    options = tuple(sorted(found, key=canonical))
    return RoleOptions(role=role, options=options, considered=considered, faulty=gathering.faulty)


def _named(options: Iterable[Option]) -> frozenset[tuple[int, str]]:
    return frozenset((option.pool, option.variant.repository) for option in options)


def prepare_role(
    role: Role,
    where: Sequence[Place],
    catalog: Catalog,
    names: tuple[str, ...] | None = None,
    *,
    avoid: bool = True,
    pacing: Pacing | None = None,
) -> RoleOptions:
    """Return the options of one role, in canonical order, that fit otherwise empty GPUs and that no others beat.

    ``names`` are the stages that they are worth something to, one before the other; without them all count alike.
    With ``avoid`` options with a serious known fault of the engine are left out, unless the role has no others.
    ``pacing`` counts their speed.
    """
    loss: Losses = _everything if names is None else losses(names)
    front = Front(loss, in_all=names is None)
    asked = question(
        role, where, catalog, names, avoid=avoid, paced=pacing is not None, priced=bool(pacing and pacing.priced)
    )
    known = recall(asked)
    gathering = Gathering(Offers.of(role, catalog, avoid=avoid, pacing=pacing), where, known)
    for one in gathering.named:
        gathering.add(one)
    found, faulty = list(best_first(gathering.boxes, front)), gathering.faulty
    if known is None:
        keep(asked, gathering.needed(_named(found)))
    if faulty and not found:
        return replace(prepare_role(role, where, catalog, names, avoid=False, pacing=pacing), faulty=True)
    considered = Considered(role, where, catalog, avoid=avoid, pacing=pacing)
    return RoleOptions(role=role, options=tuple(sorted(found, key=canonical)), considered=considered, faulty=faulty)


def _everything(worth: Worth) -> Callable[[int], Loss]:
    pace = worth.pace
    alike = -worth.accuracy, -worth.accuracy_left, -worth.context, -worth.batch
    paces = -pace.throughput, -pace.latency, -pace.tpot, -pace.cost_per_mtok
    return lambda sequences: (*alike, -(worth.served_base + worth.served * sequences), *paces)
