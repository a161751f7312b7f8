"""Sizing: the least memory each role can be served with, and whether a changed fleet could be served at all.

Only the smallest option of every shape (pool, GPUs per server, number of servers) is asked about: if the fleet does not
fit with these, it does not fit with any other.
"""

from collections.abc import Iterable
from dataclasses import replace

from planner.catalog import Catalog
from planner.engine import EngineProfile
from planner.fleet import Fleet, Role
from planner.options import Option, Prepared, RoleOptions, places, prepare_role
from planner.solve.problem import PoolProblem, Problem, RoleProblem
from planner.solve.search import feasible
from planner.solve.translate import apart, candidate, pools, problem, stacked
from planner.units import MIB


class Sizing:
    """Answers about fleets that differ in a few lines; roles seen before are not sized again."""

    def __init__(self, catalog: Catalog, profile: EngineProfile) -> None:
        self.catalog = catalog
        self.profile = profile
        self._seen: dict[tuple[object, ...], RoleOptions] = {}

    def options(self, fleet: Fleet, role: Role) -> RoleOptions:
        """Return the options of a role on the GPUs of a fleet."""
        key = (
            role.name, role.context_min, role.context_wish, role.concurrency_min, role.recovery_floor,
            role.score_floor, role.schemes, role.variant, role.kv_cache_dtype, role.replicas,
            role.tensor_parallel_sizes, role.pipeline_parallel_sizes, role.pools,
            *((pool.gpu.name, pool.capacity_bytes, pool.gpus_per_node, pool.nodes) for pool in fleet.pools),
        )  # fmt: skip
        if key not in self._seen:
            self._seen[key] = prepare_role(role, places(fleet, self.profile), self.catalog)
        return self._seen[key]

    def least(self, fleet: Fleet, role: Role) -> Option | None:
        """Return the option with the least memory in all, fit or not; None when no variant is left at all."""
        found = self.options(fleet, role).considered
        return min(found, key=lambda option: option.total_bytes, default=None)

    def fits(self, fleet: Fleet) -> bool:
        """Whether all required roles of a fleet can be served."""
        return self._fits(fleet, 0)

    def solved(self, fleet: Fleet) -> bool:
        """Whether the solver finds a plan for a fleet: the proof of what ``fits`` says."""
        roles = tuple(self.options(fleet, role) for role in fleet.roles)
        if not all(found.options or found.role.optional for found in roles):
            return False
        prepared = Prepared(places=places(fleet, self.profile), profile=self.profile, roles=roles)
        return feasible(problem(fleet, prepared))

    def deficit_bytes(self, fleet: Fleet) -> int:
        """Return how much more memory each GPU would need, 0 when none or when no amount would help.

        Exact for one GPU; for more it is rounded up to MiB.
        """
        smallest = [self.least(fleet, role) for role in _required(fleet)]
        known = [option for option in smallest if option]
        if len(known) < len(smallest) or self.fits(fleet):
            return 0
        if fleet.gpu_count == 1:
            return sum(option.least_bytes for option in known) - fleet.pools[0].capacity_bytes
        low, high = 0, sum(option.total_bytes for option in known)
        if not self._fits(fleet, high):
            return 0
        while high - low > MIB:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fits(fleet, middle) else (middle, high)
        return high

    def _fits(self, fleet: Fleet, more_bytes: int) -> bool:
        """Whether a fleet could be served if every GPU had so much more memory."""
        roles = _required(fleet)
        shapes = [list(_smallest(self.options(fleet, role).considered)) for role in roles]
        if not all(shapes):
            return False
        if fleet.gpu_count == 1:
            taken = sum(min(option.least_bytes for option in options) for options in shapes)
            return taken <= fleet.pools[0].capacity_bytes + more_bytes
        members = [
            RoleProblem(
                name=role.name,
                candidates=tuple(replace(candidate(1, option, ()), most=option.sequences_min) for option in options),
                stacked=stacked(role, sum(pool.gpu_count for pool in fleet.pools_of(role))),
                spread=role.spread == "node",
            )
            for role, options in zip(roles, shapes, strict=True)
        ]
        grown = tuple(_grown(pool, more_bytes) for pool in pools(fleet))
        return feasible(Problem(roles=tuple(members), pools=grown, stages=(), apart=apart(roles)))


def _grown(pool: PoolProblem, more_bytes: int) -> PoolProblem:
    return replace(pool, capacity=pool.capacity + more_bytes)


def _required(fleet: Fleet) -> list[Role]:
    return [role for role in fleet.roles if not role.optional]


def _smallest(options: Iterable[Option]) -> Iterable[Option]:
    """Return the option with the least memory of every shape."""
    found: dict[object, Option] = {}
    for option in options:
        shape = option.layout, option.tensor_parallel_size
        if shape not in found or option.least_bytes < found[shape].least_bytes:
            found[shape] = option
    return found.values()
