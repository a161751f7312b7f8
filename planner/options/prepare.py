"""Role x catalog -> options: of the variants that pins and floors leave, every rung of every ladder that may be needed.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So candidates are looked at in the order of what they are worth at most, and what is beaten already with the
least it may take (its weights, its lowest rung, the smallest option of a context) is not sized further.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.memory.demand import Demand
from planner.options.candidates import allowed
from planner.options.considered import Considered
from planner.options.ladders import STAGES
from planner.options.layouts import layout_of
from planner.options.needed import Needed, keep, question, recall
from planner.options.offers import Offer, Offers
from planner.options.option import Option, Prepared, Rejection, RoleOptions, canonical
from planner.options.paces import Pacing
from planner.options.pipeline_stages import Fewest
from planner.options.place import Place, places
from planner.options.problem import losses, stages
from planner.options.prune import Front, Loss
from planner.options.rungs import Box
from planner.options.worth import Worth
from planner.search.watch import go_on


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
    loss: Callable[[Worth, int], Loss] = _everything if names is None else losses(names)
    front = Front(loss, in_all=names is None)
    asked = question(
        role, where, catalog, names, avoid=avoid, paced=pacing is not None, priced=bool(pacing and pacing.priced)
    )
    known = recall(asked)
    found, faulty = _options(Offers.of(role, catalog, avoid=avoid, pacing=pacing), where, front, known)
    if known is None:
        keep(asked, Needed.of(found, faulty=faulty))
    if faulty and not found:
        return replace(prepare_role(role, where, catalog, names, avoid=False, pacing=pacing), faulty=True)
    considered = Considered(role, where, catalog, avoid=avoid, pacing=pacing)
    return RoleOptions(role=role, options=tuple(sorted(found, key=canonical)), considered=considered, faulty=faulty)


def _options(offers: Offers, where: Sequence[Place], front: Front, known: Needed | None) -> tuple[list[Option], bool]:
    """Return the options of all places, and whether some were left out for a known fault.

    Where it is known which checkpoints are needed no others are looked at: options of theirs are beaten by options of
    these, and beat nothing.
    """
    fewest = Fewest(allowed(offers.role))
    options: list[Option] = []
    faulty = known is not None and known.faulty
    for count in (None, *(STAGES if offers.role.pipeline_parallel_sizes is None else ())):
        tried = list(fewest.open_at(where, count))
        if known is not None:
            tried = [(place, known.among(place, named)) for place, named in tried]
        offered = [found for place, named in tried for found in _asked(offers.at([place], named, count))]
        faulty |= any(isinstance(found, Rejection) and found.reason == "fault" for found in offered)
        whole = [found for found in offered if isinstance(found, Offer)]
        for option in _best_first(whole, front):
            fewest.fits(option.pool, layout_of(option.server.flags), option.nodes)
            options.append(option)
        for offer in whole:
            fewest.bounded(offer)
    return options, faulty


def _asked(offered: Iterable[Offer | Rejection]) -> Iterator[Offer | Rejection]:
    """Yield what is offered until whoever watches wants no more."""
    for found in offered:
        go_on()
        yield found


def _best_first(offers: Sequence[Offer], front: Front) -> Iterator[Option]:
    """Yield the options that fit and that no others beat.

    What may be worth most is looked at first. Of what is not beaten as a whole the parts are looked at in their turn,
    so that hardly anything is sized that is beaten in the end.
    """
    waiting: list[tuple[Loss, int, int, Box, Offer]] = []
    number = itertools.count()
    least: dict[int, Demand | None] = {}

    def wait(offer: Offer, boxes: Iterable[Box]) -> None:
        for box in boxes:
            heapq.heappush(waiting, (front.loss(box.worth, box.most), box.size(box.least), next(number), box, offer))

    for offer in offers:
        if offer.least_bytes <= offer.candidate.place.capacity_bytes:
            wait(offer, offer.boxes())
    while waiting:
        go_on()
        *_, box, offer = heapq.heappop(waiting)
        if box.beaten(front):
            continue
        if box.batch:
            option = box.rungs.rung(box)
            if option and not box.beaten(front, option.demand.footprint):
                front.add(option)
                yield option
        elif box.length:
            wait(offer, box.rungs.by_rung(box))
        else:
            if id(offer) not in least:
                least[id(offer)] = offer.least()
            lowest = least[id(offer)]
            if lowest and not box.beaten(front, lowest.footprint):
                wait(offer, offer.rungs.by_context(box))


def _everything(worth: Worth, sequences: int) -> Loss:
    served = worth.served_base + worth.served * sequences
    pace = worth.pace
    paces = -pace.throughput, -pace.latency, -pace.tpot, -pace.cost_per_mtok
    return -worth.accuracy, -worth.accuracy_left, -worth.context, -worth.batch, -served, *paces
