"""Write what the engine's config classes assume for absent keys, and which keys they also know by another name.

Runs in the engine's environment (see README.md), not in the planner's. Transformers 5 declares every class as a typed
dataclass, so its defaults, its alternative spellings and the classes of nested configs are read, not run; the engine's
own classes, which go first, say the same in the signature of their constructor.
"""

import dataclasses
import inspect
import json
import re
import sys
import typing
from typing import Any

import transformers
import vllm
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from vllm.transformers_utils.config import _CONFIG_REGISTRY

# Nothing of these changes a size.
_COSMETIC = re.compile(
    r"token_id|token_index|_index$|dropout|dropped|^output_(hidden|attention|router|scores|past)|use_cache|_eps|epsilon|_loss|jitter|initializer|_prob$|_std"
    r"|^is_decoder|^time_|^apply_|^mask_|^bos_|^eos_|^pad_|^num_return|cross_attention|add_cross|gradient|chunk_size_feed"
    r"|is_encoder_decoder|scoring|norm_topk|topk_group|^n_group$|softcapping|temperature|^return_|problem|^_"
)
_TEXTS = re.compile(r"dtype|types?$|pattern|ratios?$|^use_bidirectional")
_RATIOS = re.compile(r"ratio|factor|multiplier|expand")


def main() -> None:
    """Print one JSON object: the library's version and what each model type's class says."""
    found: dict[str, Any] = {}
    own = {name: _CONFIG_REGISTRY[name] for name in _CONFIG_REGISTRY}
    for name, cls in sorted({**dict(CONFIG_MAPPING.items()), **own}.items()):
        _describe(name, cls, found)
    source = f"transformers {transformers.__version__}, vLLM {vllm.__version__}"
    json.dump({"source": source, "classes": found}, sys.stdout, separators=(",", ":"), sort_keys=True)


def _describe(name: str, cls: Any, found: dict[str, Any]) -> None:
    if name in found:
        return
    entry: dict[str, Any] = {"defaults": {}, "required": []}
    found[name] = entry
    for key, default, nullable in _declared(cls):
        if _COSMETIC.search(key) or default is None or not _sizes(key, default):
            continue
        entry["defaults"][key] = default
        if not nullable:
            entry["required"].append(key)
    entry["defaults"] |= _rope(cls)
    names = {common: own for common, own in cls.attribute_map.items() if not _COSMETIC.search(common)}
    if names:
        entry["names"] = names
    sections = {}
    for section, inner in cls.sub_configs.items():
        if not getattr(inner, "model_type", ""):  # any class may stand there; what a bare config has is the default
            inner = type(getattr(_bare(cls), section, None))
        kind = getattr(inner, "model_type", "")
        if kind:
            sections[section] = kind
            _describe(kind, inner, found)
    if sections:
        entry["sections"] = sections


def _bare(cls: Any) -> Any:
    try:
        return cls()
    except Exception:  # classes that need arguments
        return None


def _rope(cls: Any) -> dict[str, Any]:
    """Return what a class assumes of its rope: the share of a head that rotates, and scaling if there is any."""
    rope = getattr(_bare(cls), "rope_parameters", None)
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        return {}
    found = {}
    if rope.get("partial_rotary_factor") not in (None, 1.0):
        found["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope.get("rope_type", "default") not in ("default", "axial"):
        found["rope_parameters"] = rope
    return found


def _declared(cls: Any) -> "typing.Iterator[tuple[str, Any, bool]]":
    """Yield name, default and whether ``null`` is allowed; untyped constructors allow it."""
    if "def __init__(" not in inspect.getsource(cls):
        for field in dataclasses.fields(cls):
            value = field.default
            if field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            if value is not dataclasses.MISSING:
                yield field.name, list(value) if isinstance(value, tuple) else value, "None" in str(field.type)
        return
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            yield name, parameter.default, True


def _sizes(name: str, value: Any) -> bool:
    if isinstance(value, bool | int):
        return True
    if isinstance(value, float):
        return bool(_RATIOS.search(name))
    if isinstance(value, str):
        return bool(_TEXTS.search(name))
    return isinstance(value, list) and len(value) <= 64 and all(isinstance(item, int | str) for item in value)


if __name__ == "__main__":
    main()
