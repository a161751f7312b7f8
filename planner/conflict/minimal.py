"""No plan: why not, from the cheapest explanation to the dearest.

First the roles that no option is left for; then the least memory every role takes against what there is; then the
deletion filter: requirements are dropped one after another and stay dropped while the rest is still impossible, so that
what remains cannot be met together, and could without any one of it.
"""

from collections.abc import Iterator, Sequence

from planner.catalog import Catalog
from planner.conflict.changes import PINS, changes, pairs
from planner.conflict.requirements import Relaxable, as_required, requirements, without
from planner.conflict.sizing import Sizing
from planner.fleet import Fleet, Role
from planner.options import Option, Prepared, Rejection, RoleOptions, prepare
from planner.plan import Conflict, Need, NoPlan, Supply
from planner.search import watch
from planner.search.budget import BudgetSpent


def conflict(fleet: Fleet, catalog: Catalog, prepared: Prepared) -> NoPlan:
    """Return the explanation of a fleet that cannot be served.

    When all roles are optional, each of them is too large, and so they are explained as if they were required.
    """
    watch.task("there is no plan; looking for what would help")
    sizing = Sizing(catalog, prepared.profile)
    asked = fleet
    if all(role.optional for role in fleet.roles):
        fleet = as_required(fleet)
        prepared = prepare(fleet, catalog, prepared.profile)
    required = [found for found in prepared.roles if not found.role.optional]
    rejected = tuple(_rejections(required, sizing))
    smallest, conflicts, deficit_bytes = _explained(fleet, [found.role for found in required], sizing)
    helping = changes(asked, sizing)
    two = () if helping or not conflicts else pairs(asked, _alone(fleet, conflicts[0]), sizing)
    return NoPlan(
        fleet=fleet.name,
        gpus=tuple(
            Supply(pool=p.name, gpu=p.gpu.name, count=p.gpu_count, capacity_bytes=p.capacity_bytes) for p in fleet.pools
        ),
        empty_roles=tuple(found.role.name for found in required if not found.options),
        rejections=rejected,
        needs=tuple(_need(fleet, option) for option in smallest if option),
        deficit_bytes=deficit_bytes,
        conflicts=tuple(found for core in conflicts for found in _conflict(fleet, core, sizing)),
        changes=helping,
        pairs=two,
        cut=sizing.cut,
    )


def _rejections(required: Sequence[RoleOptions], sizing: Sizing) -> Iterator[Rejection]:
    """Yield why variants are out, of roles without options first where there is no time for all."""
    known: dict[str, tuple[Rejection, ...]] = {}
    for found in sorted(required, key=lambda found: bool(found.options)):
        if sizing.affords(found.role):
            known[found.role.name] = found.considered.rejections
    for found in required:
        yield from known.get(found.role.name, ())


def _explained(
    fleet: Fleet, required: Sequence[Role], sizing: Sizing
) -> tuple[list[Option | None], list[tuple[Relaxable, ...]], int]:
    """Return smallest options, minimal conflicts, and what memory is missing, as far as the budget goes."""
    smallest: list[Option | None] = []
    conflicts: list[tuple[Relaxable, ...]] = []
    try:
        smallest += [sizing.least(fleet, role) for role in required]
        conflicts += cores(fleet, sizing)
        return smallest, conflicts, sizing.deficit_bytes(fleet)
    except BudgetSpent:
        sizing.cut = True
        return smallest, conflicts, 0


def cores(fleet: Fleet, sizing: Sizing) -> Iterator[tuple[Relaxable, ...]]:
    """Yield minimal conflicts that have no requirement in common, until what is left of the fleet can be served."""
    dropped: list[Relaxable] = []
    while not _possible(rest := without(fleet, dropped), sizing) and (core := minimal(rest, sizing)):
        yield core
        dropped += core


def _conflict(fleet: Fleet, core: Sequence[Relaxable], sizing: Sizing) -> Iterator[Conflict]:
    """Yield what is said of a conflict, unless there is no budget left for that."""
    try:
        yield Conflict(
            requirements=tuple(item.requirement for item in core),
            deficit_bytes=sizing.deficit_bytes(_alone(fleet, core)),
            decisive=all(sizing.fits(without(fleet, [item])) for item in core),
        )
    except BudgetSpent:
        sizing.cut = True


def _alone(fleet: Fleet, core: Sequence[Relaxable]) -> Fleet:
    """Return the fleet with the requirements of a conflict alone."""
    kept = {item.requirement for item in core}
    return without(fleet, [item for item in requirements(fleet) if item.requirement not in kept])


def minimal(fleet: Fleet, sizing: Sizing) -> tuple[Relaxable, ...]:
    """Return requirements that cannot be met together, none of which can be left out.

    Requirements are tried from the last to the first, so that the answer is the same every time and prefers those of
    the first roles. A server may take more without a pin of the engine than with it, and a role that wants speed may
    have it only while others are kept away: what was kept before such a requirement went need not be decisive any more,
    and is tried again.
    """
    everything = requirements(fleet)
    kept = _needed(fleet, everything, sizing)
    wants_speed = any(role.wants_speed for role in fleet.roles)
    while dropped := [item for item in everything if item not in kept]:
        if not (wants_speed or any(item.requirement.path.rpartition(".")[2] in PINS for item in dropped)):
            break
        fleet, everything = without(fleet, dropped), kept
        kept = _needed(fleet, kept, sizing)
    return kept


def _needed(fleet: Fleet, items: Sequence[Relaxable], sizing: Sizing) -> tuple[Relaxable, ...]:
    """Return what is left of some requirements when each is dropped without which a fleet is still impossible."""
    dropped: list[Relaxable] = []
    for item in reversed(items):
        if not _possible(without(fleet, [*dropped, item]), sizing):
            dropped.append(item)
    gone = {item.requirement for item in dropped}
    return tuple(item for item in items if item.requirement not in gone)


def _possible(fleet: Fleet, sizing: Sizing) -> bool:
    """Whether what a fleet requires can be had; roles that may be left out require nothing."""
    return all(role.optional for role in fleet.roles) or sizing.fits(fleet)


def _need(fleet: Fleet, option: Option) -> Need:
    return Need(
        role=option.role,
        needed_bytes=option.least_bytes,
        repository=option.variant.repository,
        kv_cache_dtype=option.kv_cache_dtype,
        max_model_len=option.max_model_len,
        max_num_seqs=option.sequences_min * option.data_parallel_size,
        max_num_batched_tokens=option.max_num_batched_tokens,
        pool=fleet.pools[option.pool].name,
        tensor_parallel_size=option.tensor_parallel_size,
        pipeline_parallel_size=option.pipeline_parallel_size,
        data_parallel_size=option.data_parallel_size,
        replicas=option.replicas,
    )
