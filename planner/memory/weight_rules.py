"""What of loading weights depends on the engine version and the GPU, as data."""

from dataclasses import dataclass

from planner.engine import EngineProfile
from planner.gpu import GPU
from planner.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRules:
    """How one engine version lays weights out on one GPU. Defaults are those of 0.33 on SM90.

    ``split_limit`` is the allocator's largest block that may be split while loading (0: no limit).
    ``multimodal_rope_factor`` multiplies the positions of a multimodal rotary table that newer versions keep short;
    ``latent_rope_bytes`` is the width of a yarn table of latent attention. ``capability`` is the compute capability,
    90 for SM90 (0: unknown).
    """

    split_limit: int = 20 * MIB
    multimodal_rope_factor: int = 1
    latent_rope_bytes: int | None = 4
    capability: int = 90


NEWEST = WeightRules()


def weight_rules(profile: EngineProfile, gpu: GPU | None) -> WeightRules:
    """Return the rules of an engine version on a GPU."""
    major, minor = (gpu.compute_capability if gpu else None) or (0, 0)
    return WeightRules(
        split_limit=profile.load_split_limit_mib * MIB,
        multimodal_rope_factor=profile.multimodal_rope_factor,
        latent_rope_bytes=4 if profile.latent_rope_single_precision else None,
        capability=10 * major + minor,
    )
