"""Place: the GPUs of one pool, as far as a server needs to know them."""

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.fleet import Fleet, Pool, Role
from planner.options.worth import counts_speed
from planner.speed.planned import ALONE


class Place(Struct, frozen=True):
    """What a server would run on: GPUs of one pool, the memory of each that is free, an engine version.

    ``pool`` is the position of the pool in the fleet, ``nodes`` the pool itself. ``busy`` says by role how much of a
    GPU's time may be asked for at most.
    """

    pool: int
    nodes: Pool
    profile: EngineProfile
    busy: tuple[tuple[str, int], ...] = ()

    def busy_permille(self, role: str) -> int:
        """Return how many thousandths of a GPU's time a server of a role and all others that may be there ask for."""
        return dict(self.busy).get(role, ALONE)

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self.nodes.name

    @property
    def gpu(self) -> GPU:
        """The kind of GPU."""
        return self.nodes.gpu

    @property
    def capacity_bytes(self) -> int:
        """What servers may take of each GPU."""
        return self.nodes.capacity_bytes


def places(fleet: Fleet, profile: EngineProfile) -> tuple[Place, ...]:
    """Return the places of a fleet, one for each pool."""
    counted = counts_speed(fleet.objective)
    return tuple(
        Place(
            pool=position,
            nodes=pool,
            profile=profile,
            busy=tuple((role.name, _busy(fleet, role, pool)) for role in fleet.roles if counted or role.wants_speed),
        )
        for position, pool in enumerate(fleet.pools)
    )


def _busy(fleet: Fleet, role: Role, pool: Pool) -> int:
    """Return what a server of a role and every other that may be awake on its GPUs ask for of the time of one."""
    others = [
        other
        for other in fleet.roles
        if other.name != role.name
        and role.shares_with(other)
        and not fleet.excludes(role.name, other.name)
        and pool in fleet.pools_of(other)
    ]
    own = role.busy_permille * (_together(role) - 1)
    return ALONE + own + sum(other.busy_permille * _together(other) for other in others)


def _together(role: Role) -> int:
    """Return how many servers of a role may be on one GPU."""
    return 1 if role.spread or role.wants_speed or role.replicas is None else role.replicas
