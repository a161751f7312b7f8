"""Sizing: the least memory each role can be served with, and whether a changed fleet could be served at all.

A role takes one option on one GPU, so the option with the least memory is the best one to ask about: if the fleet does
not fit with it, it does not fit with any other.
"""

from planner.catalog import Catalog
from planner.engine import EngineProfile
from planner.fleet import Fleet, Role
from planner.gpu import GPU
from planner.options import Option, Place, Prepared, RoleOptions, prepare_role
from planner.solve.problem import Candidate, PoolProblem, Problem, RoleProblem
from planner.solve.search import feasible
from planner.solve.translate import problem
from planner.units import MIB


class Sizing:
    """Answers about fleets that differ in a few lines; roles seen before are not sized again."""

    def __init__(self, catalog: Catalog, profile: EngineProfile) -> None:
        self.catalog = catalog
        self.profile = profile
        self._seen: dict[tuple[object, ...], RoleOptions] = {}

    def options(self, role: Role, gpu: GPU, capacity_bytes: int) -> RoleOptions:
        """Return the options of a role on a GPU with so much free memory."""
        key = (
            role.name, role.context_min, role.context_wish, role.concurrency_min, role.recovery_floor,
            role.score_floor, role.schemes, role.variant, role.kv_cache_dtype, gpu.name, capacity_bytes,
        )  # fmt: skip
        if key not in self._seen:
            self._seen[key] = prepare_role(role, Place(gpu, capacity_bytes, self.profile), self.catalog)
        return self._seen[key]

    def least(self, fleet: Fleet, role: Role) -> Option | None:
        """Return the option with the least memory, fit or not; None when no variant is left at all."""
        found = self.options(role, fleet.gpu, capacity_bytes(fleet)).considered
        return min(found, key=lambda option: option.least_bytes, default=None)

    def fits(self, fleet: Fleet) -> bool:
        """Whether all roles of a fleet can be served."""
        sizes = self._sizes(fleet)
        return sizes is not None and _pack(sizes, capacity_bytes(fleet), fleet.gpu_count)

    def solved(self, fleet: Fleet) -> bool:
        """Whether the solver finds a plan for a fleet: the proof of what ``fits`` says."""
        roles = tuple(self.options(role, fleet.gpu, capacity_bytes(fleet)) for role in fleet.roles)
        if not all(found.options for found in roles):
            return False
        prepared = Prepared(gpu=fleet.gpu, profile=self.profile, capacity_bytes=capacity_bytes(fleet), roles=roles)
        return feasible(problem(fleet, prepared))

    def deficit_bytes(self, fleet: Fleet) -> int:
        """Return how much more memory each GPU would need, 0 when none or when no amount would help.

        Exact for one GPU; for more it is rounded up to MiB.
        """
        sizes, capacity = self._sizes(fleet), capacity_bytes(fleet)
        if sizes is None:
            return 0
        if fleet.gpu_count == 1:
            return max(0, sum(sizes) - capacity)
        low, high = 0, max(0, sum(sizes) - capacity)
        while high - low >= MIB:
            middle = (low + high) // 2
            low, high = (low, middle) if _pack(sizes, capacity + middle, fleet.gpu_count) else (middle, high)
        return high

    def _sizes(self, fleet: Fleet) -> list[int] | None:
        smallest = [self.least(fleet, role) for role in fleet.roles]
        sizes = [option.least_bytes for option in smallest if option]
        return sizes if len(sizes) == len(fleet.roles) else None


def capacity_bytes(fleet: Fleet) -> int:
    """Return what servers may take of each GPU."""
    return fleet.gpu.memory_bytes - fleet.memory_in_use_bytes


def _pack(sizes: list[int], capacity: int, count: int) -> bool:
    """Whether items of these sizes fit into ``count`` GPUs of one capacity."""
    if sum(sizes) > capacity * count:
        return False
    if count == 1:
        return True
    items = [
        RoleProblem(name=f"item {index}", candidates=(_item(size),))
        for index, size in enumerate(sorted(sizes, reverse=True))
    ]
    return feasible(Problem(roles=tuple(items), pools=(PoolProblem(capacity=capacity, width=count),), stages=()))


def _item(size: int) -> Candidate:
    return Candidate(
        fixed=size, per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0,
        peak_per_sequence=0, least=1, most=1, worth=(),
    )  # fmt: skip
