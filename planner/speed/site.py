"""Site: where a server runs, as far as its speed is concerned."""

from dataclasses import dataclass

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.speed.constants import Device, Engine


@dataclass(frozen=True, slots=True)
class Site:
    """A GPU, what kernels reach on it (None: not measured), and the engine: its profile and its constants of speed."""

    gpu: GPU
    profile: EngineProfile
    device: Device | None
    engine: Engine
