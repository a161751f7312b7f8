"""Role x catalog -> options: of the variants that pins and floors leave, every rung of every ladder that may be needed.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So what others beat is sized no further than that shows (``sizing``), nor what reaches less than a plan that
is known already (``reach``), and what was not needed in an earlier run is not looked at (``needed``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options.considered import Considered
from planner.options.gathering import Gathering
from planner.options.needed import Needed, keep, question, recall
from planner.options.offers import Offers
from planner.options.option import Option, Prepared, RoleOptions, canonical
from planner.options.paces import Pacing
from planner.options.place import Place, places
from planner.options.problem import losses, stages
from planner.options.prune import Front, Loss, Losses
from planner.options.reach import Reach
from planner.options.sizing import anything, best_first, most_left
from planner.options.worth import Worth


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

    ``reach`` is None where every option is enough.
    """

    prepared: Prepared
    needed: Mapping[str, Needed]
    reach: Reach | None


def prepare_within(
    fleet: Fleet,
    catalog: Catalog,
    profile: EngineProfile,
    reach: Reach | None,
    known: Mapping[str, Needed] | None,
    *,
    avoid: bool,
    few: bool = False,
) -> Within:
    """Return the options of every role with which a plan can reach enough, a ``few`` of them where some will do.

    No others are looked at than those of checkpoints that are ``known`` to be needed. Unlike ``prepare`` this leaves
    a role without options when all it has have known faults that are to be avoided. Speed must not count.
    """
    where, names = places(fleet, profile), stages(fleet.objective)
    gathered = [
        Gathering(Offers.of(role, catalog, avoid=avoid), where, known[role.name] if known else None, few)
        for role in fleet.roles
    ]
    if reach and not reach.least:
        reach = reach.settled(fleet.roles, [_most_left(one, reach) for one in gathered])
    roles, needed = [], {}
    for role, one in zip(fleet.roles, gathered, strict=True):
        one.boxes.offers.clear()
        for named in one.named:
            if reach is None or not reach.least or reach.most(one.offers, named) >= reach.least[role.name]:
                one.add(named)
        worthwhile = partial(reach.enough, role) if reach else anything
        found = tuple(sorted(best_first(one.boxes, Front(losses(names), in_all=False), worthwhile), key=canonical))
        considered = Considered(role, where, catalog, avoid=avoid)
        roles.append(RoleOptions(role=role, options=found, considered=considered, faulty=one.faulty))
        needed[role.name] = one.needed(_named(found))
    prepared = Prepared(places=where, profile=profile, roles=tuple(roles), speed=catalog.speed, some=True)
    return Within(prepared, needed, reach)


def _most_left(gathering: Gathering, reach: Reach) -> int | None:
    starts = [(reach.most(gathering.offers, one), partial(gathering.add, one)) for one in gathering.named]
    return most_left(gathering.boxes, starts, partial(reach.left, gathering.offers.role))


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
    found, faulty = list(best_first(gathering.boxes, front, anything)), gathering.faulty
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
