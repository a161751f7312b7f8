"""Place: the GPUs of one pool, as far as a server needs to know them."""

from dataclasses import dataclass

from planner.engine import EngineProfile
from planner.fleet import Fleet, Pool
from planner.gpu import GPU


@dataclass(frozen=True, slots=True)
class Place:
    """What a server would run on: GPUs of one pool, the memory of each that is free, an engine version.

    ``pool`` is the position of the pool in the fleet.
    """

    pool: int
    name: str
    gpu: GPU
    capacity_bytes: int
    gpu_count: int
    tensor_parallel_sizes: tuple[int, ...]
    profile: EngineProfile


def places(fleet: Fleet, profile: EngineProfile) -> tuple[Place, ...]:
    """Return the places of a fleet, one for each pool."""
    return tuple(_place(position, pool, profile) for position, pool in enumerate(fleet.pools))


def _place(position: int, pool: Pool, profile: EngineProfile) -> Place:
    return Place(
        pool=position,
        name=pool.name,
        gpu=pool.gpu,
        capacity_bytes=pool.capacity_bytes,
        gpu_count=pool.gpu_count,
        tensor_parallel_sizes=pool.tensor_parallel_sizes,
        profile=profile,
    )
