"""Place: the GPUs of one pool, as far as a server needs to know them."""

from dataclasses import dataclass

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.fleet import Fleet, Pool


@dataclass(frozen=True, slots=True)
class Place:
    """What a server would run on: GPUs of one pool, the memory of each that is free, an engine version.

    ``pool`` is the position of the pool in the fleet, ``nodes`` the pool itself.
    """

    pool: int
    nodes: Pool
    profile: EngineProfile

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
    return tuple(Place(pool=position, nodes=pool, profile=profile) for position, pool in enumerate(fleet.pools))
