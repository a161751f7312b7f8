"""Within: the options that the best plan and its runner-up may have, found with plans of few checkpoints.

Where roles name no models, hundreds of checkpoints would be sized of which most reach less than a plan that is found
quickly among the most accurate ones for their size. That plan and the best with another combination of variants tell
what is enough. Whichever turns out best, one of the two has another combination, so the runner-up reaches it too.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from planner import cache
from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet
from planner.options import Prepared, prepare
from planner.options.candidates import allowed
from planner.options.enough import Within, prepare_within
from planner.options.likely import likely
from planner.options.needed import FEW, Needed, question_of_all
from planner.options.option import RoleOptions
from planner.options.place import places
from planner.options.prepare import missed, prepare_few
from planner.options.problem import most_of, problem, ranges, stages
from planner.options.reach import Reach
from planner.options.worth import counts_speed
from planner.search import watch
from planner.search.budget import BUDGET, BudgetSpent, purse, spending
from planner.search.known import known
from planner.search.problem import MINIMAL_CHANGE, Answer, Decided

MANY = 4 * FEW
"""Checkpoints of all roles together from which on it is quicker to find a plan first."""

_WIDEST = 1 << 50
"""What the ranges of the stages that are weighed together multiply to at most."""


def prepared_within(fleet: Fleet, catalog: Catalog, profile: EngineProfile, *, avoid: bool = True) -> Prepared:
    """Return the options of a fleet that its best plan and the runner-up may have, or more."""
    if not _suits(fleet):
        return prepare(fleet, catalog, profile, avoid=avoid)
    asked = question_of_all(fleet.roles, places(fleet, profile), catalog, stages(fleet.objective), avoid=avoid)
    place = f"within-{asked[:2]}"
    with spending(BUDGET) as own:
        looks, seconds = own.looks, own.left
        before = cache.recall(place, asked)
        if before is not None and before["of"] <= looks and before["within"] <= seconds:
            own.looks, own.left = looks - before["looks"], seconds - before["seconds"]
            reach = Reach.read(before["reach"])
            needed = {name: Needed.read(found) for name, found in before["needed"].items()}
            found = prepare_within(fleet, catalog, profile, reach, needed, avoid=avoid)
            assert found is not None
            return found.prepared
        new = _prepared_anew(fleet, catalog, profile, avoid=avoid)
        if isinstance(new, Prepared):
            return new
        if new.missed is None:
            kept = {name: needed.written() for name, needed in new.needed.items()}
            taken = {"looks": looks - own.looks, "seconds": seconds - own.left}
            own.left = seconds - taken["seconds"]  # to the last digit what is left where this is remembered
            limits = {"of": looks, "within": seconds}
            cache.keep(place, asked, {"reach": new.reach.written(), "needed": kept, **taken, **limits})
        return new.prepared


def _prepared_anew(fleet: Fleet, catalog: Catalog, profile: EngineProfile, *, avoid: bool) -> Within | Prepared:
    """Return the options that may be needed, with why; without that where it could not be told what may be."""
    begun = purse().looks
    watch.task("a first plan")
    weights = _weights(ranges(stages(fleet.objective), fleet))
    few = _few(fleet, catalog, profile, avoid=avoid) if weights else None
    hopeless = purse().looks < begun - purse().looks  # all that a plan may need take more looks than a few did
    best = known(problem(fleet, few), weights) if few and not hopeless else None
    watch.task("")
    if few is None:
        return prepare(fleet, catalog, profile, avoid=avoid)
    if hopeless:
        return _few_alone(fleet, few)
    if best is None:
        return _all_or_few(fleet, catalog, profile, few, avoid=avoid)
    reach = Reach(stages(fleet.objective)[: len(weights)], best.value, best.prices, _alone(fleet, few))
    try:
        found = prepare_within(
            fleet, catalog, profile, reach, None, few, partial(_reached, fleet, weights), avoid=avoid
        )
    except BudgetSpent:
        return _few_alone(fleet, few)
    if found is None:
        every = _all_or_few(fleet, catalog, profile, few, avoid=avoid)
        return replace(every, begun=_begun(few, best.decided))
    if not all(one.options for one in found.prepared.roles):
        return prepare(fleet, catalog, profile, avoid=avoid)
    return found


def _all_or_few(fleet: Fleet, catalog: Catalog, profile: EngineProfile, few: Prepared, *, avoid: bool) -> Prepared:
    """Return all options, or a few that may be a plan where there is no time even for some of each role."""
    try:
        return prepare(fleet, catalog, profile, avoid=avoid)
    except BudgetSpent:
        return _few_alone(fleet, few)


def begun_with(fleet: Fleet, prepared: Prepared) -> Prepared | None:
    """Return the options of the plan that was found first, where all that may be better is too much; None without one.

    What a better plan has to have may go together so rarely, on many GPUs that are nearly full, that none is found.
    """
    return _few_alone(fleet, replace(prepared, roles=prepared.begun)) if prepared.begun else None


def _few_alone(fleet: Fleet, few: Prepared) -> Prepared:
    """Return a few options of each role, where there was no time to look at any others."""
    cut = tuple(replace(one, cut=True, missed=most_of(stages(fleet.objective)[0])) for one in few.roles)
    found = replace(few, roles=cut)
    return replace(found, missed=missed(fleet, found))


def bounded(answer: Answer, prepared: Prepared) -> Answer:
    """Return an answer whose bound covers the options that there was no time to look at, as far as any bound does.

    What stays as it was comes before that where it counts most: such options are always looked at.
    """
    if not prepared.cut:
        return answer
    position = 1 if answer.stages[0].name == MINIMAL_CHANGE else 0
    stages = [replace(stage, proven=stage.proven and place < position) for place, stage in enumerate(answer.stages)]
    if prepared.missed is not None:
        stage = stages[position]
        stages[position] = replace(stage, bound=max(stage.bound, prepared.missed))
    return replace(answer, stages=tuple(stages))


def _suits(fleet: Fleet) -> bool:
    """Whether only what is worth most counts, there are many checkpoints, and what a plan reaches adds up."""
    if any(role.across_pools for role in fleet.roles):
        return False
    counted = fleet.floors or fleet.time_share or MINIMAL_CHANGE in fleet.objective or counts_speed(fleet.objective)
    return not counted and sum(len(allowed(role)) for role in fleet.roles) > MANY


def _few(fleet: Fleet, catalog: Catalog, profile: EngineProfile, *, avoid: bool) -> Prepared | None:
    """Return a few options of every role; None where a role has none."""
    where = places(fleet, profile)
    some = {role.name: Needed(likely(role, where, catalog), faulty=False) for role in fleet.roles}
    few = prepare_few(fleet, catalog, profile, some, avoid=avoid)
    return few if all(one.options for one in few.roles) else None


def _begun(few: Prepared, decided: Sequence[Decided]) -> tuple[RoleOptions, ...]:
    """Return the option that was decided for each role, none for those that are left out."""
    pairs = zip(few.roles, decided, strict=True)
    return tuple(replace(one, options=(one.options[choice[0]],) if choice else ()) for one, choice in pairs)


def _reached(fleet: Fleet, weights: tuple[int, ...], some: Prepared) -> int | None:
    """Return what the runner-up of a plan of some options reaches; None where none was found."""
    best = known(problem(fleet, some), weights)
    other = known(problem(fleet, some, barred=_chosen(some, best.decided)), weights) if best else None
    return min(best.value, other.value) if best and other else None


def _alone(fleet: Fleet, few: Prepared) -> frozenset[str]:
    found = problem(fleet, few)
    return frozenset(role.name for number, role in enumerate(found.roles) if found.alone(number))


def _chosen(few: Prepared, decided: Sequence[Decided]) -> Mapping[str, str]:
    """Return the variants that were decided for the roles that are served."""
    pairs = zip(few.roles, decided, strict=True)
    return {one.role.name: one.options[choice[0]].variant.repository for one, choice in pairs if choice}


def _weights(most: Sequence[int]) -> tuple[int, ...]:
    """Return a weight for each of the first stages that all later ones of them together cannot make up."""
    found: list[int] = []
    width = 1
    for count in range(1, len(most) + 1):
        width *= most[count - 1] + 1
        if width >= _WIDEST:
            break
        found = [math.prod(one + 1 for one in most[place + 1 : count]) for place in range(count)]
    return tuple(found)
