"""NVIDIA ModelOpt exports: FP8 or NVFP4, one algorithm for all layers or one per layer."""

from msgspec.structs import replace

from planner.config_json.compressed_tensors import NVFP4
from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization, Rule, Storage, canonical

_FP8 = Storage(name="fp8", bits=8, row_group=0, scale_bytes=4, fixed_bytes=4)
_STORAGE = {
    "FP8": _FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Storage(name="fp8-channel", bits=8, scale_bytes=4),
    "FP8_PB_WO": Storage(name="fp8-block", bits=8, group_size=128, row_group=128, scale_bytes=4),
    "NVFP4": NVFP4,
    "W4A16_NVFP4": NVFP4,
    "MXFP8": Storage(name="mxfp8", bits=8, group_size=32, scale_bytes=1),
}
_SCHEMES = {"nvfp4": "nvfp4", "mxfp8": "mxfp8"}


def modelopt(settings: Fields) -> Quantization:
    """Return the storage a ModelOpt export uses.

    The settings are those of ``config.json`` (flat) or of ``hf_quant_config.json`` (under ``quantization``). Source:
    ``quantization/modelopt.py`` of vLLM 0.33.0. Excluded modules may be patterns with ``*``.
    """
    inner = settings.section("quantization") if settings.has("quantization") else settings
    algorithm = inner.text("quant_algo").upper()
    names = inner.texts("exclude_modules") + inner.texts("ignore")
    excluded = [rule for name in names for rule in _excluded(name)]
    if algorithm == "MIXED_PRECISION" or (not algorithm and inner.has("config_groups")):
        return _mixed(inner, excluded)
    storage = _storage(inner, algorithm)
    found = Quantization(
        method="modelopt", scheme=_SCHEMES.get(storage.name, "fp8"), bits=storage.bits,
        group_size=storage.group_size, linear=storage, experts=storage, rules=tuple(excluded),
        kv_cache_dtype=_kv_cache_dtype(inner),
    )  # fmt: skip
    return replace(found, head=found.storage("lm_head"))


def _mixed(inner: Fields, excluded: list[Rule]) -> Quantization:
    """Each layer listed with its own algorithm; what is not listed is unquantized."""
    named: dict[str, Storage | None] = {}
    patterns = list(excluded)
    layers = inner.section("quantized_layers")
    for path in sorted(layers.values):
        named[canonical(path)] = _storage(inner, layers.section(path).text("quant_algo").upper())
    groups = inner.section("config_groups")
    for key in sorted(groups.values):
        group = groups.section(key)
        weights = group.section("weights")
        storage = _FP8 if weights.integer("num_bits", 8) == 8 else NVFP4
        for target in group.texts("targets"):
            if "*" in target:
                patterns.append(Rule("glob", target, storage))
            else:
                named[canonical(target)] = storage
    if not named and not patterns:
        raise inner.error("quantized_layers", "missing; a mixed export lists the algorithm of each layer")
    smallest = min((storage for storage in named.values() if storage), key=lambda storage: storage.bits, default=NVFP4)
    found = Quantization(
        method="modelopt", scheme="mixed", bits=smallest.bits, group_size=smallest.group_size,
        named=_with_experts(named), rules=tuple(patterns),
        kv_cache_dtype=_kv_cache_dtype(inner),
    )  # fmt: skip
    excluded_head = any(rule.matches(("lm_head",)) for rule in excluded)
    return replace(found, head=None if excluded_head else found.storage("lm_head"))


def _with_experts(named: dict[str, Storage | None]) -> dict[str, Storage | None]:
    """Add an entry for all experts of a layer, which are listed singly."""
    found = dict(named)
    for path, storage in named.items():
        head, separator, _ = path.partition(".experts.")
        if separator:
            found.setdefault(f"{head}.experts", storage)
    return found


def _storage(inner: Fields, algorithm: str) -> Storage:
    if algorithm not in _STORAGE:
        raise UnsupportedModel(inner.where, f"ModelOpt algorithm {algorithm or 'none'!r}")
    return _STORAGE[algorithm]


def _excluded(name: str) -> tuple[Rule, ...]:
    """Return rules for an excluded module: a glob, or any piece of a path (``is_layer_excluded`` of the same file).

    A path is also looked for without the wrappers of its checkpoint, at the beginning, since the engine renames it.
    """
    if "*" in name:
        return (Rule("glob", name, None),)
    return (Rule("prefix", canonical(name), None), Rule("contains", name, None))


def _kv_cache_dtype(inner: Fields) -> str | None:
    if inner.text("kv_cache_quant_algo").upper() == "FP8":
        return "fp8"
    scheme = inner.get("kv_cache_scheme")
    if isinstance(scheme, str):
        return "fp8" if scheme.upper() == "FP8" else None
    if isinstance(scheme, dict):
        return "fp8" if scheme.get("num_bits") == 8 and scheme.get("type") == "float" else None
    return None
