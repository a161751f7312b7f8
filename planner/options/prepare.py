"""Role x catalog -> options: the variants that pins and floors leave, at every rung of every ladder, with memory.

Sizing every rung of every variant takes most of the time of a plan when a role names no models and the catalog has
hundreds. So each candidate is first sized at its lowest and its highest rung alone, and candidates that others
overshadow are not looked at further.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options import replicas
from planner.options.candidates import Candidate, allowed, candidates, pinned_out
from planner.options.figures import RoleFigures
from planner.options.option import Option, Prepared, Rejection, RoleOptions
from planner.options.place import Place, places
from planner.options.prune import Span, overshadowed
from planner.options.rungs import Rungs
from planner.options.worth import measure
from planner.units import ceil_div

STAGES = (2, 3, 4, 6, 8, 12, 16)
"""Numbers of pipeline stages that are tried, one after another, where fewer fit nowhere in a pool."""


@dataclass(frozen=True, slots=True)
class _Ladder:
    """A candidate that is an option if its lowest rung fits, with the loads its servers may have."""

    rungs: Rungs
    loads: tuple[replicas.Load, ...]
    lowest: Option

    @property
    def candidate(self) -> Candidate:
        """The candidate."""
        return self.rungs.candidate

    @property
    def fits(self) -> bool:
        """Whether the lowest rung fits empty GPUs."""
        return self.lowest.least_bytes <= self.candidate.place.capacity_bytes

    def options(self) -> Iterator[Option]:
        """Yield the options of every load."""
        for load in self.loads:
            yield from replace(self.rungs, load=load).fitting()

    def smallest(self) -> Iterator[Option]:
        """Yield the smallest option of every load."""
        for load in self.loads:
            yield replace(self.rungs, load=load).lowest()


def prepare(fleet: Fleet, catalog: Catalog, profile: EngineProfile) -> Prepared:
    """Return the options of every role of a fleet."""
    where = places(fleet, profile)
    roles = tuple(prepare_role(role, where, catalog) for role in fleet.roles)
    return Prepared(places=where, profile=profile, roles=roles)


def prepare_role(role: Role, where: Sequence[Place], catalog: Catalog) -> RoleOptions:
    """Return the options of one role in canonical order, and its rejections, sorted."""
    ladders, refused = _ladders(role, where, catalog)
    spans = [Span(lowest=ladder.lowest, highest=ladder.rungs.highest()) for ladder in ladders if ladder.fits]
    spans.sort(key=lambda span: span.highest.least_bytes)
    worthwhile = {id(span.lowest) for span in spans if not overshadowed(span, spans)}
    found: list[Option] = []
    for ladder in ladders:
        if not ladder.fits:
            capacity = ladder.candidate.place.capacity_bytes
            refused.append(ladder.candidate.rejected(role, "memory", ladder.lowest.least_bytes, capacity))
        found.extend(ladder.options() if id(ladder.lowest) in worthwhile else ladder.smallest())
    found.sort(key=_canonical)
    return RoleOptions(
        role=role,
        options=fitting(found, where),
        considered=tuple(found),
        rejections=tuple(_telling(refused, found, where)),
    )


def smallest(role: Role, where: Sequence[Place], catalog: Catalog) -> tuple[Option, ...]:
    """Return the smallest option of every candidate and load, whether it fits or not; the most accurate ones first."""
    ladders, _ = _ladders(role, where, catalog)
    return tuple(sorted((option for ladder in ladders for option in ladder.smallest()), key=_canonical))


def fitting(options: Sequence[Option], where: Sequence[Place]) -> tuple[Option, ...]:
    """Return the options that fit otherwise empty GPUs."""
    capacity = {place.pool: place.capacity_bytes for place in where}
    return tuple(option for option in options if option.least_bytes <= capacity[option.pool])


def _ladders(role: Role, where: Sequence[Place], catalog: Catalog) -> tuple[list[_Ladder], list[Rejection]]:
    """Return the candidates whose lowest rung is an option if it fits, and why the others are out.

    Where the role leaves the number of pipeline stages open, no place has more than it takes for one candidate to fit.
    """
    ladders, refused = _ladders_of(role, where, catalog)
    for stages in STAGES if role.pipeline_parallel_sizes is None else ():
        served = {ladder.candidate.place.pool for ladder in ladders if ladder.fits}
        if others := [place for place in where if place.pool not in served and place.nodes.splits(stages)]:
            more = _ladders_of(replace(role, pipeline_parallel_sizes=(stages,)), others, catalog)
            ladders, refused = ladders + more[0], refused + more[1]
    return ladders, refused


def _ladders_of(role: Role, where: Sequence[Place], catalog: Catalog) -> tuple[list[_Ladder], list[Rejection]]:
    """Return the same with the role's own numbers of pipeline stages, or with a single stage."""
    figures = RoleFigures(role, catalog)
    best = measure([figures.of(model, variant, "auto", role.context_min) for model, variant in allowed(role)])
    ladders, refused = [], pinned_out(role)
    for candidate in candidates(role, where):
        if isinstance(candidate, Rejection):
            refused.append(candidate)
            continue
        stages = candidate.pipeline_parallel_size
        counts = replicas.counts(role, candidate.place, candidate.tensor_parallel_size, stages)
        rungs = Rungs(role, candidate, _widest(role, counts), figures, best)
        if rejection := rungs.refusal():
            refused.append(rejection)
            continue
        loads = tuple(load for count in counts for load in replicas.loads(role, count))
        ladders.append(_Ladder(rungs, loads, rungs.lowest()))
    return ladders, refused


def _widest(role: Role, counts: Sequence[int]) -> replicas.Load:
    """Return the load that covers those of any number of replicas."""
    least, most = ceil_div(role.concurrency_min, counts[-1]), ceil_div(role.concurrency_target, counts[0])
    return replicas.Load(replicas=1, least=least, most=most, served_base=0, served=0)


def _telling(refused: Sequence[Rejection], found: Sequence[Option], where: Sequence[Place]) -> Iterator[Rejection]:
    """Yield, sorted, the rejections a reader wants: of a variant that is an option somewhere, none about other places.

    A variant that fits no place is told once for each KV cache dtype, at the place where it comes closest.
    """
    options = {(o.variant.repository, o.kv_cache_dtype) for o in fitting(found, where)}
    closest: dict[tuple[str, str], Rejection] = {}
    for rejection in sorted(set(refused), key=lambda item: (item.reason == "memory", item.wanted - item.found, item)):
        key = rejection.repository, rejection.kv_cache_dtype
        if rejection.pool and key in options:
            continue
        closest.setdefault(key if rejection.pool else (rejection.repository, ""), rejection)
    yield from sorted(closest.values())


def _canonical(option: Option) -> tuple[int | str, ...]:
    """Order options by worth, then by name, so that equal fleets list equal options whatever the catalog's order."""
    value = option.worth
    return (
        -value.accuracy,
        -value.accuracy_left,
        option.kv_cache_dtype,
        option.variant.repository,
        option.pool,
        option.pipeline_parallel_size,
        option.tensor_parallel_size,
        option.replicas,
        -value.context,
        -value.batch,
        option.sequences_min,
        option.sequences_max,
    )
