"""Which engine core runs a server: 0.8 and 0.9 have two, and take the older one for what the newer cannot do yet."""

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.engine.profile import EngineProfile, load_profile
from planner.errors import UnsupportedModel
from planner.facts.gpu import GPU

_HOPPER = (9, 0)
_AMPERE = (8, 0)
# The last version that had only the older core.
_OLDER = "0.7.3"
# What a version keeps whichever core it runs: the formats it loads, the kernels it has, what devices cost.
_SHARED = (
    "version", "exact", "devices", "unknown_architectures", "dropped_architectures",
    "kv_cache_dtypes", "least_capability", "method_capability",
    "method_ceiling", "formats_since", "online_quantizations", "activation_order", "load_split_limit_mib",
    "multimodal_rope_factor", "latent_rope_single_precision", "transformers_classes", "mxfp4_hopper",
    "block_fp8_marlin_below", "whole_shared_experts",
)  # fmt: skip


def older_core(profile: EngineProfile) -> EngineProfile:
    """Return the profile of a version's older core."""
    return replace(load_profile(_OLDER), **{name: getattr(profile, name) for name in _SHARED})


def running_core(
    profile: EngineProfile,
    gpu: GPU,
    architecture: Architecture,
    *,
    kv_cache_dtype: str = "auto",
    dtype: str = "auto",
    pipeline_parallel_size: int = 1,
) -> EngineProfile:
    """Return the profile of the core that runs a server: ``profile``, or that of the older core under its version.

    Source: ``engine/arg_utils.py:_is_v1_supported_oracle``, vLLM 0.8.3 to 0.10.2.

    Raises:
        UnsupportedModel: the older core keeps recurrent states outside its KV cache, which is not sized.
    """
    capability = gpu.compute_capability
    reasons = {
        "old-gpu": capability is not None and capability < _AMPERE,
        "other-vendor": gpu.vendor not in ("nvidia", "unknown"),
        "fp8-cache": kv_cache_dtype.startswith("fp8") and capability != _HOPPER,
        "float32": dtype in ("float", "float32"),
        "pooling": architecture.is_pooling,
        "stages": pipeline_parallel_size > 1,
        "state": architecture.has_state,
    }
    if any(reasons[name] for name in profile.older_core):
        profile = older_core(profile)
    if profile.runner == "v0" and architecture.has_state:
        raise UnsupportedModel(
            architecture.name,
            f"recurrent layers on the older engine core of {profile}",
            "0.10 is the first version sized",
        )
    return profile
