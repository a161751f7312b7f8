"""Role x catalog -> options: of the variants that pins and floors leave, every rung of every ladder that may be needed.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So what others beat is sized no further than that shows (``sizing``), nor what reaches less than a plan that
is known already (``reach``), and what was not needed in an earlier run is not looked at (``needed``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options.candidates import allowed
from planner.options.considered import Considered
from planner.options.gathering import Gathering
from planner.options.likely import likely
from planner.options.looks import Looks
from planner.options.needed import FEW, Needed, keep, question, recall
from planner.options.offers import Offers
from planner.options.option import Option, Prepared, RoleOptions, canonical
from planner.options.outdone import not_outdone
from planner.options.paces import Pacing
from planner.options.place import Place, places
from planner.options.problem import left_out, losses, most_of, stages
from planner.options.prune import Front, Loss, Losses
from planner.options.sizing import BestFirst
from planner.options.worth import Worth
from planner.search.budget import BUDGET, BudgetSpent
from planner.search.watch import step


def prepare(
    fleet: Fleet, catalog: Catalog, profile: EngineProfile, *, any_objective: bool = False, avoid: bool = True
) -> Prepared:
    """Return the options of every role that the best plan for a fleet's objective may need, or for any objective.

    ``avoid`` is that of ``prepare_role``.

    Raises:
        BudgetSpent: a required role has no option because there was no time to find one.
    """
    where = places(fleet, profile)
    names = None if any_objective else stages(fleet.objective)
    pacing = Pacing.of(fleet.objective, catalog.speed, priced=fleet.priced)
    looks = Looks.most()
    roles: list[RoleOptions] = []
    for number, role in enumerate(fleet.roles):
        step(f"options of {role.name}, role {number + 1} of {len(fleet.roles)}")
        step(f"options of {role.name}, role {number + 1} of {len(fleet.roles)}")
        own = looks.share(len(fleet.roles) - number)
        before = own.left
        roles.append(prepare_role(role, where, catalog, names, avoid=avoid, pacing=pacing, looks=own))
        looks.take(before - own.left)
    found = Prepared(places=where, profile=profile, roles=tuple(roles), speed=catalog.speed)
    return required(replace(found, missed=missed(fleet, found)) if found.cut else found)


def required(prepared: Prepared) -> Prepared:
    """Return what was prepared, where the required roles have options, or all of theirs were looked at.

    Raises:
        BudgetSpent: a role has no option because there was no time to find one.
    """
    if any(found.cut and not found.options and not found.role.optional for found in prepared.roles):
        raise BudgetSpent(BUDGET, prepared.cut)
    return prepared


def missed(fleet: Fleet, prepared: Prepared) -> int | None:
    """Return what the first stage can be at most with an option that there was no time for; None if that is not known.

    Each role has the best that it may have, looked at or not.
    """
    if any(found.cut and found.missed is None for found in prepared.roles):
        return None
    name = stages(fleet.objective)[0]
    loss = losses((name,))
    total = 0
    for found in prepared.roles:
        ends = [(option, count) for option in found.options for count in (option.sequences_min, option.sequences_max)]
        known = [-loss(option.worth)(count)[0] for option, count in ends]
        known += [found.missed] if found.missed is not None else []
        most = max(known, default=0) * found.role.weight + left_out(found.role, name)
        total += max(0, most) if found.role.optional else most
    return total


def prepare_few(
    fleet: Fleet, catalog: Catalog, profile: EngineProfile, some: Mapping[str, Needed], *, avoid: bool
) -> Prepared:
    """Return some of the options of some checkpoints of every role; a role may have none. Speed must not count."""
    where, names = places(fleet, profile), stages(fleet.objective)
    roles: list[RoleOptions] = []
    looks = Looks.most()
    for number, role in enumerate(fleet.roles):
        step(f"options of {role.name}, role {number + 1} of {len(fleet.roles)}")
        own = looks.share(len(fleet.roles) - number)
        before = own.left
        one = _gathered(Offers.of(role, catalog, avoid=avoid), where, own, some[role.name], few=True)
        found = BestFirst(one.boxes, Front(losses(names), in_all=False), own).options()
        roles.append(role_options(one, catalog, found, avoid=avoid))
        looks.take(before - own.left)
    return Prepared(places=where, profile=profile, roles=tuple(roles), speed=catalog.speed, some=True)


def together(options: Iterable[Option], others: Iterable[Option]) -> list[Option]:
    """Return the options of both, each once."""
    return list({canonical(option): option for option in (*options, *others)}.values())


def role_options(gathering: Gathering, catalog: Catalog, found: Iterable[Option], *, avoid: bool) -> RoleOptions:
    """Return what was found of the options of a role, in canonical order."""
    role = gathering.offers.role
    considered = Considered(role, gathering.where, catalog, avoid=avoid)
    options = tuple(sorted(found, key=canonical))
    return RoleOptions(role=role, options=options, considered=considered, faulty=gathering.faulty)


def named(options: Iterable[Option]) -> frozenset[tuple[int, str]]:
    """Return the checkpoints that options are of, by pool."""
    return frozenset((option.pool, option.variant.repository) for option in options)


def prepare_role(
    role: Role,
    where: Sequence[Place],
    catalog: Catalog,
    names: tuple[str, ...] | None = None,
    *,
    avoid: bool = True,
    pacing: Pacing | None = None,
    looks: Looks | None = None,
) -> RoleOptions:
    """Return the options of one role, in canonical order, that fit otherwise empty GPUs and that no others beat.

    Where there are not ``looks`` enough for all of them, a quarter of these are for some of the likely checkpoints.

    ``names`` are the stages that they are worth something to, one before the other; without them all count alike.
    With ``avoid`` options with a serious known fault of the engine are left out, unless the role has no others.
    ``pacing`` counts their speed.
    """
    loss: Losses = _everything if names is None else losses(names)
    front = Front(loss, in_all=names is None, across=role.across_pools)
    asked = question(
        role, where, catalog, names, avoid=avoid, paced=pacing is not None, priced=bool(pacing and pacing.priced)
    )
    looks, offers = looks or Looks.most(), Offers.of(role, catalog, avoid=avoid, pacing=pacing)
    known = _compared(role, where, catalog) or recall(asked)
    own = looks.but_a_quarter()
    begun = own.left
    if known and known.looks < begun:
        looks.take(known.looks)
        one = _gathered(offers, where, Looks.all(), known)
        search = BestFirst(one.boxes, front, one.looks)
        found = list(search.options())
    else:
        one = _gathered(offers, where, own)
        search = BestFirst(one.boxes, front, own)
        found = list(search.options())
        looks.take(begun - own.left)
        if not (one.cut or search.cut):
            needed = one.needed(named(found))
            keep(asked, replace(needed, looks=begun - own.left))
    if one.cut or search.cut:
        found = together(found, _few(offers, where, catalog, looks, Front(loss, in_all=names is None)))
    elif one.faulty and not found:
        again = prepare_role(role, where, catalog, names, avoid=False, pacing=pacing, looks=looks)
        return replace(again, faulty=True)
    considered = Considered(role, where, catalog, avoid=avoid, pacing=pacing)
    found = not_outdone(found) if role.across_pools else found
    return RoleOptions(
        role=role,
        options=tuple(sorted(found, key=canonical)),
        considered=considered,
        faulty=one.faulty,
        cut=one.cut or search.cut,
        missed=_most(names, search.missed if not one.cut else None),
    )


def prepare_checkpoint(
    role: Role,
    where: Sequence[Place],
    catalog: Catalog,
    names: tuple[str, ...],
    repository: str,
    *,
    avoid: bool,
    pacing: Pacing | None = None,
) -> RoleOptions:
    """Return the options of one checkpoint of a role, as ``prepare_role`` does if others beat none of them."""
    looks = Looks.most()
    known = Needed(frozenset((place.pool, repository) for place in where), faulty=False)
    one = _gathered(Offers.of(role, catalog, avoid=avoid, pacing=pacing), where, looks, known)
    search = BestFirst(one.boxes, Front(losses(names), in_all=False, across=role.across_pools), looks)
    found = tuple(sorted(search.options(), key=canonical))
    considered = Considered(role, where, catalog, avoid=avoid, pacing=pacing)
    return RoleOptions(role=role, options=found, considered=considered, cut=one.cut or search.cut)


def _gathered(
    offers: Offers, where: Sequence[Place], looks: Looks, known: Needed | None = None, *, few: bool = False
) -> Gathering:
    """Return what was gathered of all checkpoints."""
    one = Gathering(offers, where, looks, known, few=few)
    for named in one.named:
        one.add(named)
    return one


def _few(offers: Offers, where: Sequence[Place], catalog: Catalog, looks: Looks, front: Front) -> list[Option]:
    """Return options of likely checkpoints, where there was no time for all: a plan needs small ones too."""
    one = _gathered(offers, where, looks, Needed(likely(offers.role, where, catalog), faulty=False), few=True)
    return list(BestFirst(one.boxes, front, looks).options())


def _most(names: tuple[str, ...] | None, left: Loss | None) -> int | None:
    """Return what an option adds to the first stage at most, of which nothing or the least loss is known."""
    if not names:
        return None
    return most_of(names[0]) if left is None else -left[0]


def _compared(role: Role, where: Sequence[Place], catalog: Catalog) -> Needed | None:
    """Return the checkpoints that are compared where not all are: of a role across pools with many the likely ones.

    None of its checkpoints can be left out for what others reach in one pool alone, so that all would be sized.
    """
    many = role.across_pools and len(allowed(role)) > FEW
    return Needed(likely(role, where, catalog), faulty=False) if many else None


def _everything(worth: Worth) -> Callable[[int], Loss]:
    pace = worth.pace
    alike = -worth.accuracy, -worth.accuracy_left, -worth.context, -worth.batch
    paces = -pace.throughput, -pace.latency, -pace.tpot, -pace.cost_per_mtok
    return lambda sequences: (*alike, -(worth.served_base + worth.served * sequences), *paces)
