"""Role x catalog -> options: the variants that pins and floors leave, at every rung of every ladder, with memory.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So each candidate is first sized at its lowest and its highest rung alone, and candidates that others
overshadow are not looked at further.
"""

from collections.abc import Sequence

from planner.catalog import Catalog
from planner.engine import EngineProfile
from planner.fleet import Fleet, Role
from planner.options.candidates import Place, allowed, candidates, pinned_out
from planner.options.figures import RoleFigures
from planner.options.option import Option, Prepared, Rejection, RoleOptions
from planner.options.prune import Span, overshadowed, prune
from planner.options.rungs import Rungs
from planner.options.worth import measure


def prepare(fleet: Fleet, catalog: Catalog, profile: EngineProfile) -> Prepared:
    """Return the options of every role of a fleet."""
    capacity = fleet.gpu.memory_bytes - fleet.memory_in_use_bytes
    place = Place(fleet.gpu, capacity, profile)
    return Prepared(
        gpu=fleet.gpu,
        profile=profile,
        capacity_bytes=capacity,
        roles=tuple(prepare_role(role, place, catalog) for role in fleet.roles),
    )


def prepare_role(role: Role, place: Place, catalog: Catalog) -> RoleOptions:
    """Return the options of one role, undominated and in canonical order, and its rejections, sorted."""
    ladders, refused = _ladders(role, place, catalog)
    spans = [Span(lowest=rungs.lowest(), highest=rungs.highest()) for rungs in ladders]
    found: list[Option] = []
    for rungs, span in zip(ladders, spans, strict=True):
        if span.lowest.least_bytes > place.capacity_bytes:
            needed = span.lowest.least_bytes
            refused.append(rungs.candidate.rejected(role, "memory", needed, place.capacity_bytes))
            found.append(span.lowest)
        elif overshadowed(span, spans):
            found.append(span.lowest)
        else:
            found.extend(rungs.fitting())
    found.sort(key=_canonical)
    return RoleOptions(
        role=role,
        options=prune(fitting(found, place.capacity_bytes)),
        considered=tuple(found),
        rejections=tuple(sorted(set(refused))),
    )


def fitting(options: Sequence[Option], capacity_bytes: int) -> list[Option]:
    """Return the options that fit an otherwise empty GPU."""
    return [option for option in options if option.least_bytes <= capacity_bytes]


def _ladders(role: Role, place: Place, catalog: Catalog) -> tuple[list[Rungs], list[Rejection]]:
    """Return the candidates whose lowest rung is an option if it fits, and why the others are out."""
    figures = RoleFigures(role, catalog)
    best = measure([figures.of(model, variant, "auto", role.context_min) for model, variant in allowed(role)])
    ladders, refused = [], pinned_out(role)
    for candidate in candidates(role, place):
        if isinstance(candidate, Rejection):
            refused.append(candidate)
            continue
        rungs = Rungs(role, place, candidate, figures, best)
        if rejection := rungs.refusal():
            refused.append(rejection)
        else:
            ladders.append(rungs)
    return ladders, refused


def _canonical(option: Option) -> tuple[int | str, ...]:
    """Order options by worth, then by name, so that equal fleets list equal options whatever the catalog's order."""
    value = option.worth
    return (
        -value.accuracy,
        -value.accuracy_left,
        option.kv_cache_dtype,
        option.variant.repository,
        -value.context,
        -value.batch,
        option.sequences_max,
    )
