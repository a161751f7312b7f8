"""Sizing: the least memory each role can be served with, and whether a changed fleet could be served at all.

Only the smallest option of every shape (pool, GPUs per server, number of servers) is asked about: if the fleet does not
fit with these, it does not fit with any other.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.options import Considered, Option, Place, Prepared, RoleOptions, places, prepare_role
from planner.options.candidates import allowed
from planner.options.looks import BOX, LEAST, OFFER, Looks
from planner.options.paces import Pacing
from planner.options.problem import CONCURRENCY, apart, candidate, pools, problem, stacked, turns
from planner.search.budget import BUDGET, BudgetSpent
from planner.search.feasible import feasible
from planner.search.problem import PoolProblem, Problem, RoleProblem
from planner.units import MIB

_LAYOUTS = 4
"""Offers of a checkpoint, roughly, each with its smallest option: two KV cache types and a few splits over GPUs."""


class Sizing:
    """Answers about fleets that differ in a few lines; what a role takes in a pool seen before is not sized again.

    Every answer raises BudgetSpent when there are no looks left for it, or the solver could not tell; ``cut`` says that
    this ended what was asked.
    """

    def __init__(self, catalog: Catalog, profile: EngineProfile) -> None:
        self._looks = Looks.most()
        self.cut = False
        self.catalog = catalog
        self.profile = profile
        self._smallest: dict[object, tuple[Option, ...]] = {}
        self._options: dict[object, tuple[Option, ...]] = {}

    def smallest(self, fleet: Fleet, role: Role) -> list[Option]:
        """Return the smallest option of every candidate of a role on the GPUs of a fleet, fit or not."""
        found: list[Option] = []
        for place in places(fleet, self.profile):
            pacing = self._pacing(fleet)
            key = _key(role, place), pacing is not None
            if key not in self._smallest:
                if self._looks.spent:
                    raise BudgetSpent(BUDGET)
                sized = self._smallest[key] = Considered(role, [place], self.catalog, pacing=pacing).smallest()
                self._looks.take((OFFER + LEAST) * len({_layout(option) for option in sized}) + BOX * len(sized))
            found += self._smallest[key]
        return found

    def affords(self, role: Role) -> bool:
        """Whether there are looks for all that a role leaves open, which are taken then: some layouts of each."""
        if self._looks.spent:
            self.cut = True
            return False
        self._looks.take((OFFER + LEAST) * _LAYOUTS * len(allowed(role)))
        return True

    def least(self, fleet: Fleet, role: Role) -> Option | None:
        """Return the option with the least memory in all, fit or not; None when no variant is left at all."""
        return min(self.smallest(fleet, role), key=lambda option: option.total_bytes, default=None)

    def fits(self, fleet: Fleet) -> bool:
        """Whether all required roles of a fleet can be served, or one role where all are optional."""
        return any(self._fits(fleet, roles, 0) for roles in _enough(fleet))

    def solved(self, fleet: Fleet) -> bool:
        """Whether the solver finds a plan for a fleet: the proof of what ``fits`` says."""
        return any(self._solved(fleet, roles) for roles in _enough(fleet))

    def _solved(self, fleet: Fleet, served: Sequence[Role]) -> bool:
        where = places(fleet, self.profile)
        roles = tuple(self._prepared(role, where, self._pacing(fleet)) for role in served)
        if not all(found.options for found in roles):
            return False
        prepared = Prepared(places=where, profile=self.profile, roles=roles, speed=self.catalog.speed)
        return not roles or feasible(problem(fleet, prepared))

    def _pacing(self, fleet: Fleet) -> Pacing | None:
        """Return what leaves servers the batches that they have where the objective counts speed."""
        found = Pacing.of(fleet.objective, self.catalog.speed, priced=fleet.priced)
        return replace(found, counted=False) if found else None

    def _prepared(self, role: Role, where: Sequence[Place], pacing: Pacing | None) -> RoleOptions:
        """Return the options of a role, one place after another."""
        found: list[Option] = []
        alone = replace(role, context_wish=role.context_min, concurrency_min=1) if role.across_pools else role
        for place in where:
            key = _key(alone, place), pacing is not None
            if key not in self._options:
                counted = (CONCURRENCY,) if role.across_pools else ()  # of one pool, requests are to be had too
                self._options[key] = prepare_role(alone, [place], self.catalog, counted, pacing=pacing).options
            found += self._options[key]
        return RoleOptions(role=role, options=tuple(found), considered=Considered(role, where, self.catalog))

    def deficit_bytes(self, fleet: Fleet) -> int:
        """Return how much more memory each GPU would need, 0 when none or when no amount would help.

        Exact for one GPU; for more it is rounded up to MiB.
        """
        roles = _required(fleet)
        smallest = [self.least(fleet, role) for role in roles]
        known = [option for option in smallest if option]
        if len(known) < len(smallest) or self.fits(fleet):
            return 0
        alone = fleet.gpu_count == 1 and not fleet.time_share
        if alone and self._fits(fleet, roles, missing := _missing_of_one(fleet, known)):
            return missing
        low, high = 0, sum(option.total_bytes for option in known)
        if not self._fits(fleet, roles, high):
            return 0
        while high - low > MIB:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fits(fleet, roles, middle) else (middle, high)
        return high

    def _fits(self, fleet: Fleet, roles: Sequence[Role], more_bytes: int) -> bool:
        """Whether some roles of a fleet could be served if every GPU had so much more memory."""
        if not roles:
            return True
        if any(role.across_pools for role in roles):  # what is enough of one pool hangs on the others
            return not more_bytes and self._solved(fleet, roles)
        shapes = [list(_of_every_shape(self.smallest(fleet, role))) for role in roles]
        if not all(shapes):
            return False
        taking = turns(fleet, roles)
        if fleet.gpu_count == 1 and not (apart(roles) or taking or any(role.spread for role in roles)):
            least = [min(options, key=lambda option: option.total_bytes) for options in shapes]
            return _missing_of_one(fleet, least) <= more_bytes
        grown = tuple(_grown(pool, more_bytes) for pool in pools(fleet))
        members = tuple(_smallest(role, options, grown) for role, options in zip(roles, shapes, strict=True))
        host = fleet.host_memory_bytes
        return feasible(Problem(roles=members, pools=grown, stages=(), apart=apart(roles), turns=taking, host=host))


def _missing_of_one(fleet: Fleet, options: Sequence[Option]) -> int:
    """Return what the only GPU of a fleet lacks for options, all servers of each."""
    return sum(option.total_bytes for option in options) - fleet.pools[0].capacity_bytes


def _smallest(role: Role, options: Sequence[Option], where: Sequence[PoolProblem]) -> RoleProblem:
    """Return a role whose servers take no more than they must."""
    candidates = tuple(replace(candidate(1, option, ()), most=option.sequences_min) for option in options)
    number = stacked(role, candidates, where)
    return RoleProblem(name=role.name, candidates=candidates, stacked=number, spread=role.spread == "node")


def _grown(pool: PoolProblem, more_bytes: int) -> PoolProblem:
    return replace(pool, capacity=pool.capacity + more_bytes)


def _required(fleet: Fleet) -> list[Role]:
    return [role for role in fleet.roles if not role.optional]


def _enough(fleet: Fleet) -> list[list[Role]]:
    """Return the roles that must be served for a plan: the required ones, or any where all are optional."""
    if fleet.roles and all(role.optional for role in fleet.roles):
        return [[replace(role, optional=False)] for role in fleet.roles]
    return [_required(fleet)]


def _key(role: Role, place: Place) -> object:
    """Return what decides about a role's options in a place; models and their variants are told by their names."""
    pool = place.nodes
    shape = place.pool, pool.name, pool.gpu.name, pool.capacity_bytes, pool.gpus_per_node, pool.nodes, place.busy
    parts = tuple(replace(part, models=()) for part in role.parts)
    named = tuple((model.repository, *(variant.repository for variant in model.variants)) for model in role.models)
    return replace(role, models=(), parts=parts), named, shape


def _layout(option: Option) -> tuple[object, ...]:
    """Return what makes options of one offer, which are sized together."""
    return replace(option.server.flags, max_num_seqs=1), option.variant.repository


def _of_every_shape(options: Iterable[Option]) -> Iterable[Option]:
    """Return the option with the least memory of every shape."""
    found: dict[object, Option] = {}
    for option in options:
        shape = option.layout, option.needs
        if shape not in found or option.least_bytes < found[shape].least_bytes:
            found[shape] = option
    return found.values()
