"""Site: where a server runs, as far as its speed is concerned."""

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.speed.constants import Device, Engine


class Site(Struct, frozen=True):
    """A GPU, what kernels reach on it (None: not measured), and the engine: its profile and its constants of speed."""

    gpu: GPU
    profile: EngineProfile
    device: Device | None
    engine: Engine
