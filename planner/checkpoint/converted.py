"""Which modules of an AWQ or GPTQ checkpoint were left unquantized: the config may not say, the headers do."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from planner.checkpoint.safetensors import StoredTensor

_PLAIN = ("F16", "BF16", "F32")
# Never quantized, or governed by a flag of their own.
_ALWAYS_PLAIN = ("embed_tokens", "lm_head", "gate", "router", "shared_expert_gate")
_SAYS = {"awq": ("modules_to_not_convert",), "gptq": ("dynamic", "modules_in_block_to_quantize")}


def with_modules_left_alone(config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> Mapping[str, Any]:
    """Return a config that names the modules left alone, as the engine completes it from the headers.

    Source: ``maybe_update_config`` in ``quantization/auto_awq.py`` and ``auto_gptq.py`` of vLLM 0.33.0: a module is
    quantized if one of its tensors is stored as anything but 16- or 32-bit floats.
    """
    settings = config.get("quantization_config")
    if not tensors or not isinstance(settings, Mapping):
        return config
    method = str(settings.get("quant_method", "")).removeprefix("auto_")
    if method not in _SAYS or any(settings.get(key) for key in _SAYS[method]):
        return config
    prefixes = left_alone(tensors)
    if not prefixes:
        return config
    changed: dict[str, Any] = {"modules_to_not_convert": prefixes}
    if method == "gptq":
        changed = {"dynamic": {f"-:{re.escape(prefix)}": {} for prefix in prefixes}}
    return {**config, "quantization_config": {**settings, **changed}}


def left_alone(tensors: Mapping[str, StoredTensor]) -> list[str]:
    """Return the shortest module prefixes under which nothing is quantized; single vectors do not count."""
    quantized = {name.rpartition(".")[0] for name, tensor in tensors.items() if tensor.dtype not in _PLAIN}
    if not quantized:
        return []
    above = {part for module in quantized for part in _ancestors(module)}
    plain = {
        name.rpartition(".")[0]
        for name, tensor in tensors.items()
        if tensor.dtype in _PLAIN and len(tensor.shape) > 1 and name.endswith(".weight")
    }
    found = {
        next(part for part in _ancestors(module) if part not in above)
        for module in plain - quantized
        if module.rpartition(".")[2] not in _ALWAYS_PLAIN
    }
    return sorted(found)


def _ancestors(module: str) -> Iterable[str]:
    """Yield the prefixes of a module path, shortest first, itself last."""
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
