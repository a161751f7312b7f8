"""What the engine refuses before it loads anything: devices, formats, dtypes, attention, lengths."""

import functools
from collections.abc import Iterator
from itertools import chain

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.engine.faults import Case, Fault, possible_faults
from planner.engine.flags import ServeFlags, model_lengths
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.engine.versions import parse_version
from planner.facts.gpu import BF16_CAPABILITY, GPU, dotted
from planner.facts.quantization import Quantization
from planner.memory.attention import attention_refusals
from planner.memory.context_parallel import context_refusals
from planner.memory.features import feature_reasons
from planner.memory.validity import invalid
from planner.memory.vision import whole_item
from planner.tensors.identity import Same
from planner.tensors.kv_packed import AMD_ALONE, PACKED, unfit
from planner.tensors.kv_pages import suits

_HALF = ("float16", "half")
_FP8_CACHE_CAPABILITY = 80
# config/model.py:_FLOAT16_NOT_SUPPORTED_MODELS, 0.11.0 to 0.33.0.
_NO_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")
# Classes made of models/qwen2.py:Qwen2Model, 0.10.2 to 0.33.0.
_ALIKE = (
    "Qwen2ForCausalLM", "Qwen3ForCausalLM", "MiMoForCausalLM", "Qwen2Model", "Qwen3Model", "Qwen2ForRewardModel",
    "Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification",
)  # fmt: skip


def refusal(
    architecture: Architecture,
    quantization: Quantization,
    flags: ServeFlags,
    profile: EngineProfile,
    gpu: GPU,
) -> Refusal | None:
    """Return the first reason for which this engine version would not even load the model, or None."""
    kernels = replace(flags, max_model_len=1, max_num_seqs=1, max_num_batched_tokens=1, gpu_memory_utilization=1)
    model, where = (Same(architecture), Same(quantization)), (Same(profile), Same(gpu))
    found = _kernel_refusal(*model, kernels, *where) or next(_length_reasons(architecture, flags, profile), None)
    found = found or next(_option_reasons(flags, profile), None) or invalid(architecture, quantization, flags, profile)
    found = found or next(feature_reasons(architecture, flags, profile), None)
    found = found or next(context_refusals(architecture, quantization, flags, profile, gpu), None)
    return found or next(_fault_reasons(architecture, quantization, flags, profile, gpu), None)


@functools.lru_cache(maxsize=8192)
def _kernel_refusal(
    of: Same[Architecture], stored: Same[Quantization], flags: ServeFlags, engine: Same[EngineProfile], on: Same[GPU]
) -> Refusal | None:
    """Return the first reason that no length, batch or number of sequences changes; a plan tries hundreds of them."""
    architecture, quantization, profile, gpu = of.value, stored.value, engine.value, on.value
    reasons = chain(
        _architecture_reasons(architecture, profile),
        _device_reasons(quantization, profile, gpu),
        _format_reasons(quantization, flags, profile),
        _dtype_reasons(architecture, quantization, flags, profile, gpu),
        attention_refusals(architecture, quantization, flags, profile, gpu),
    )
    return next(reasons, None)


def _fault_reasons(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> Iterator[Refusal]:
    case = Case(version=profile.version, gpu=gpu, architecture=architecture, quantization=quantization, flags=flags)
    model = Same(architecture), Same(quantization)
    for fault in faults_in_reach(*model, Same(profile), Same(gpu), flags.ranks):
        if fault.refuses and fault.settings.hold(case):
            yield refused("known-fault", engine=str(profile), account=fault.account)


@functools.lru_cache(maxsize=8192)
def faults_in_reach(
    of: Same[Architecture], stored: Same[Quantization], engine: Same[EngineProfile], on: Same[GPU], ranks: int
) -> tuple[Fault, ...]:
    """Return the faults that settings alone decide about, for all servers of a model on so many GPUs."""
    return possible_faults(engine.value.version, on.value, of.value, stored.value, ranks)


def _architecture_reasons(architecture: Architecture, profile: EngineProfile) -> Iterator[Refusal]:
    if architecture.name in profile.unknown_architectures:
        yield refused("unknown-class", engine=str(profile), architecture=architecture.name)
    if last := profile.dropped_architectures.get(architecture.name):
        yield refused("dropped-class", engine=str(profile), architecture=architecture.name, last=last)
    if architecture.windows_from is not None and architecture.name in _ALIKE:
        name, first, layers = architecture.name, architecture.windows_from, architecture.num_layers
        yield refused("windows-on-some-layers", engine=str(profile), architecture=name, first=first, layers=layers)


def _device_reasons(quantization: Quantization, profile: EngineProfile, gpu: GPU) -> Iterator[Refusal]:
    capability = gpu.capability
    if capability is None:
        return
    here: dict[str, str] = {"engine": str(profile), "capability": dotted(capability), "gpu": gpu.name}
    if capability < profile.least_capability:
        yield refused("least-capability", **here)
    method = quantization.method or ""
    *formats, key = _keys(quantization)
    needed = next(
        (profile.method_capability[name] for name in (*formats, key, method) if name in profile.method_capability), 0
    )
    newest = profile.method_ceiling.get(key, capability)
    if capability > newest:
        yield refused("no-newer-kernels", **here, scheme=quantization.scheme, newest=dotted(newest))
    if capability < needed:
        yield refused("method-capability", method=method, needed=dotted(needed), capability=dotted(capability))


def _keys(quantization: Quantization) -> tuple[str, ...]:
    """Return what settings call a checkpoint's format: by how linear layers are stored, then by the scheme."""
    stored = (quantization.linear.name,) if quantization.linear else ()
    return tuple(f"{quantization.method}/{name}" for name in (*stored, quantization.scheme))


def _format_reasons(quantization: Quantization, flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    method = quantization.method
    if flags.quantization and flags.quantization not in profile.online_quantizations:
        known = ", ".join(profile.online_quantizations)
        yield refused("online-quantization", engine=str(profile), quantization=flags.quantization, known=known)
    if method and method not in profile.method_capability:
        yield refused("quantization-method", engine=str(profile), method=method)
    for key in _keys(quantization):
        first = profile.formats_since.get(key)
        if first and parse_version(profile.version) < parse_version(first):
            name = key.partition("/")[2]
            yield refused("unread-format", engine=str(profile), method=str(method), format=name, first=first)
            break
    if quantization.act_order and not profile.activation_order:
        yield refused("activation-order", engine=str(profile), method=str(method))


def _dtype_reasons(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> Iterator[Refusal]:
    capability = gpu.capability
    needed = quantization.dtype_needed
    bfloat = flags.dtype == "bfloat16" or needed == "bfloat16"
    if bfloat and capability is not None and capability < BF16_CAPABILITY:
        yield refused("bfloat16-capability", gpu=gpu.name, capability=dotted(capability))
    if flags.dtype in _HALF and architecture.model_type in _NO_FLOAT16:
        yield refused("no-float16", model_type=architecture.model_type)
    if needed and flags.dtype not in ("auto", needed) and not (needed == "float16" and flags.dtype in _HALF):
        yield refused("method-dtype", dtype=flags.dtype, method=str(quantization.method), needed=needed)
    if flags.kv_cache_dtype not in profile.kv_cache_dtypes:
        yield refused("cache-dtype", engine=str(profile), cache=flags.kv_cache_dtype)
    if any(layer.attention and not suits(layer.attention, flags.kv_cache_dtype) for layer in architecture.layers):
        yield refused("cache-attention", cache=flags.kv_cache_dtype, architecture=architecture.name)
    else:
        yield from _packed_reasons(architecture, flags.kv_cache_dtype, gpu)
    low = flags.kv_cache_dtype.startswith("fp8")
    if low and capability is not None and capability < _FP8_CACHE_CAPABILITY:
        yield refused("cache-capability", cache=flags.kv_cache_dtype, gpu=gpu.name, capability=dotted(capability))


def _packed_reasons(architecture: Architecture, kv_cache_dtype: str, gpu: GPU) -> Iterator[Refusal]:
    if kv_cache_dtype not in PACKED:
        return
    if kv_cache_dtype in AMD_ALONE and gpu.vendor != "amd":
        yield refused("cache-amd", cache=kv_cache_dtype)
    rotary = max((table.width for table in architecture.rotaries), default=architecture.head_dim)
    sizes = {layer.attention.head_dim for layer in architecture.layers if layer.attention}
    for why in filter(None, (unfit(kv_cache_dtype, size, rotary) for size in sorted(sizes))):
        yield refused("cache-head-size", why=why)


def _length_reasons(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    _, longest = model_lengths(architecture, profile)
    if flags.max_model_len > longest:
        yield refused("context-limit", max_model_len=flags.max_model_len, longest=longest)
    if flags.max_num_batched_tokens < flags.max_num_seqs:
        yield refused("batch-below-sequences", batch=flags.max_num_batched_tokens, sequences=flags.max_num_seqs)
    item = whole_item(architecture, flags, profile)
    if flags.max_num_batched_tokens < item:
        batch, name = flags.max_num_batched_tokens, architecture.name
        yield refused("batch-below-item", engine=str(profile), batch=batch, item=item, architecture=name)


def _option_reasons(flags: ServeFlags, profile: EngineProfile) -> Iterator[Refusal]:
    if flags.language_model_only and not profile.has_language_model_only:
        yield refused("no-option", engine=str(profile), option="--language-model-only")
    if flags.kv_cache_memory_bytes is not None and not profile.has_kv_cache_memory_bytes:
        yield refused("no-option", engine=str(profile), option="--kv-cache-memory-bytes")
