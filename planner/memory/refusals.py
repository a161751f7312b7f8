"""What the engine refuses before it loads anything: devices, formats, dtypes, lengths."""

from collections.abc import Iterator

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.validity import invalid
from planner.tensors.kv_packed import AMD_ALONE, PACKED, unfit
from planner.tensors.kv_pages import suits

_HALF = ("float16", "half")
_BF16_CAPABILITY = 80
_FP8_CACHE_CAPABILITY = 80
# config/model.py:_FLOAT16_NOT_SUPPORTED_MODELS, 0.11.0 to 0.33.0.
_NO_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")


def refusal(
    architecture: Architecture,
    quantization: Quantization,
    flags: ServeFlags,
    profile: EngineProfile,
    gpu: GPU,
) -> str | None:
    """Return the first reason for which this engine version would not even load the model, or None."""
    reasons = (
        *_architecture_reasons(architecture, profile),
        *_device_reasons(quantization, profile, gpu),
        *_format_reasons(quantization, flags, profile),
        *_dtype_reasons(architecture, quantization, flags, profile, gpu),
        *_length_reasons(architecture, flags, profile),
        *_option_reasons(flags, profile),
    )
    return next(iter(reasons), None) or invalid(architecture, quantization, flags, profile)


def _architecture_reasons(architecture: Architecture, profile: EngineProfile) -> Iterator[str]:
    if architecture.name in profile.unknown_architectures:
        yield f"{profile} does not know the architecture {architecture.name} yet"


def _device_reasons(quantization: Quantization, profile: EngineProfile, gpu: GPU) -> Iterator[str]:
    capability = _capability(gpu)
    if capability is None:
        return
    if capability < profile.least_capability:
        yield f"{profile} has no kernels for compute capability {_dotted(capability)} ({gpu.name})"
    method = quantization.method or ""
    key = f"{method}/{quantization.scheme}"
    needed = profile.method_capability.get(key, profile.method_capability.get(method, 0))
    newest = profile.method_ceiling.get(key, capability)
    if capability > newest:
        yield (
            f"{profile} has no {quantization.scheme} kernels for compute capability {_dotted(capability)} "
            f"({gpu.name}), none above {_dotted(newest)}"
        )
    if capability < needed:
        yield (
            f"the quantization method {method} is not supported for the current GPU: minimum capability "
            f"{_dotted(needed)}, current capability {_dotted(capability)}"
        )


def _format_reasons(quantization: Quantization, flags: ServeFlags, profile: EngineProfile) -> Iterator[str]:
    if flags.quantization and flags.quantization not in profile.online_quantizations:
        known = ", ".join(profile.online_quantizations)
        yield f"{profile} does not quantize while loading as {flags.quantization}; it knows {known}"
    if quantization.method and quantization.method not in profile.method_capability:
        yield f"{profile} does not load checkpoints of the quantization method {quantization.method}"
    if quantization.act_order and not profile.activation_order:
        yield (
            f"{profile} no longer supports {quantization.method} checkpoints whose groups are ordered by activation "
            "(desc_act, actorder)"
        )


def _dtype_reasons(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> Iterator[str]:
    capability = _capability(gpu)
    needed = quantization.dtype_needed
    bfloat = flags.dtype == "bfloat16" or needed == "bfloat16"
    if bfloat and capability is not None and capability < _BF16_CAPABILITY:
        yield f"bfloat16 needs compute capability 8.0; {gpu.name} has {_dotted(capability)}: use dtype half"
    if flags.dtype in _HALF and architecture.model_type in _NO_FLOAT16:
        yield f"the model type {architecture.model_type} does not support float16 (numerical instability)"
    if needed and flags.dtype not in ("auto", needed) and not (needed == "float16" and flags.dtype in _HALF):
        yield f"{flags.dtype} is not supported for quantization method {quantization.method}: it needs {needed}"
    if flags.kv_cache_dtype not in profile.kv_cache_dtypes:
        yield f"{profile} has no KV cache dtype {flags.kv_cache_dtype}"
    if any(layer.attention and not suits(layer.attention, flags.kv_cache_dtype) for layer in architecture.layers):
        yield f"{flags.kv_cache_dtype} KV cache is not for the attention of {architecture.name}"
    else:
        yield from _packed_reasons(architecture, flags.kv_cache_dtype, gpu)
    low = flags.kv_cache_dtype.startswith("fp8")
    if low and capability is not None and capability < _FP8_CACHE_CAPABILITY:
        yield f"{flags.kv_cache_dtype} KV cache needs compute capability 8.0; {gpu.name} has {_dotted(capability)}"


def _packed_reasons(architecture: Architecture, kv_cache_dtype: str, gpu: GPU) -> Iterator[str]:
    if kv_cache_dtype not in PACKED:
        return
    if kv_cache_dtype in AMD_ALONE and gpu.vendor != "amd":
        yield f"{kv_cache_dtype} KV cache has kernels for AMD GPUs alone"
    rotary = max((table.width for table in architecture.rotaries), default=architecture.head_dim)
    sizes = {layer.attention.head_dim for layer in architecture.layers if layer.attention}
    yield from filter(None, (unfit(kv_cache_dtype, size, rotary) for size in sorted(sizes)))


def _length_reasons(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Iterator[str]:
    longest = architecture.longest_model_len
    if flags.max_model_len > longest:
        yield f"max_model_len ({flags.max_model_len}) is greater than the derived max_model_len ({longest})"
    if flags.max_num_batched_tokens < flags.max_num_seqs:
        yield (
            f"max_num_batched_tokens ({flags.max_num_batched_tokens}) must be at least max_num_seqs "
            f"({flags.max_num_seqs})"
        )


def _option_reasons(flags: ServeFlags, profile: EngineProfile) -> Iterator[str]:
    if flags.language_model_only and not profile.has_language_model_only:
        yield f"{profile} has no option --language-model-only"
    if flags.kv_cache_memory_bytes is not None and not profile.has_kv_cache_memory_bytes:
        yield f"{profile} has no option --kv-cache-memory-bytes"


def _capability(gpu: GPU) -> int | None:
    """Return the compute capability of an NVIDIA GPU as the engine writes it: 89 for 8.9."""
    if gpu.vendor != "nvidia" or gpu.compute_capability is None:
        return None
    major, minor = gpu.compute_capability
    return 10 * major + minor


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
