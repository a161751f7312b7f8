"""Limits: variants and KV cache dtypes that an engine version refuses on a GPU, before any memory is counted."""

from planner.architecture import Architecture
from planner.engine import EngineProfile, parse_version
from planner.gpu import GPU
from planner.quantization import Quantization
from planner.variant import Model, Variant

Capability = tuple[int, int]

# The least compute capability per quantization method (vLLM 0.33.0, get_min_capability of each method's config class;
# Marlin kernels floor at 7.5, docs/features/quantization/README.md). compressed-tensors is decided by its scheme.
_METHOD_FLOORS: dict[str, Capability] = {
    "awq": (7, 5),
    "gptq": (6, 0),
    "fp8": (7, 5),
    "modelopt": (8, 0),
    "mxfp4": (8, 0),
    "gpt_oss_mxfp4": (8, 0),
    "compressed-tensors": (7, 5),
}
# Wheels and images of the engine are built for compute capability 7.5 and newer (CUDA 13 list of 0.33.0).
_BUILT_FOR: Capability = (7, 5)
# FP8 KV cache: FlashInfer serves 8.0, 8.6, 8.9 and 12.x for these head sizes, FlashAttention 9.0 and 10.x any
# (v1/attention/backends, 0.33.0); latent attention has FP8 kernels on 9.0 and newer only.
_FP8_CACHE_FLOOR: Capability = (8, 0)
_FP8_CACHE_HEADS = (64, 128, 256, 512)


def engine_refusal(model: Model, variant: Variant, profile: EngineProfile) -> str:
    """Return the engine version a checkpoint needs when the profile's is older, else an empty text."""
    needed = max(
        (text for text in (model.engine_minimum, variant.engine_minimum) if text), key=parse_version, default=""
    )
    return needed if needed and parse_version(needed) > parse_version(profile.version) else ""


def gpu_refusal(quantization: Quantization, gpu: GPU) -> str:
    """Say which compute capability a checkpoint's format needs when the GPU has less, else return an empty text."""
    if gpu.compute_capability is None:
        return ""
    needed = max(_BUILT_FOR, _METHOD_FLOORS.get(quantization.method or "", _BUILT_FOR))
    if gpu.compute_capability >= needed:
        return ""
    what = f"the {quantization.scheme} format" if quantization.method else "the engine"
    return f"{what} needs compute capability {_spell(needed)}; {gpu.name} has {_spell(gpu.compute_capability)}"


def cache_refusal(kv_cache_dtype: str, model: Model, architecture: Architecture, gpu: GPU) -> str:
    """Say why a KV cache dtype is not to be used with a model on a GPU, or return an empty text."""
    if kv_cache_dtype == "auto":
        return ""
    if evidence := model.cache_refusals.get(kv_cache_dtype):
        return evidence
    capability = gpu.compute_capability
    if capability is None:
        return ""
    if capability < _FP8_CACHE_FLOOR:
        return f"an fp8 KV cache needs compute capability 8.0; {gpu.name} has {_spell(capability)}"
    if capability[0] in (9, 10):
        return ""
    if architecture.is_latent:
        return f"an fp8 cache of latent attention needs compute capability 9.0; {gpu.name} has {_spell(capability)}"
    if architecture.head_dim not in _FP8_CACHE_HEADS:
        return f"no kernel for an fp8 KV cache with head size {architecture.head_dim} on {gpu.name}"
    return ""


def _spell(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"
