"""AMD Quark exports: one scheme for all linear layers, with patterns of layers that have another, or none."""

from planner.config_json.compressed_tensors import NVFP4
from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization, Rule, Storage, canonical

_GROUP = 32  # of the microscaling formats


def quark(settings: Fields) -> Quantization:
    """Return the storage a Quark export uses.

    Source: ``quantization/quark/quark.py`` and the schemes beside it, vLLM 0.33.0: a layer's own pattern goes before
    the scheme for all; the output head is never quantized.
    """
    if not settings.section("export").values:
        raise settings.error("export", "missing; it says how the weights were written")
    scheme, main = _storage(settings.section("global_quant_config"))
    rules = [_left_alone(settings, name) for name in settings.texts("exclude")]
    layers = settings.section("layer_quant_config")
    rules += [
        Rule("glob", canonical(pattern), _storage(layers.section(pattern))[1])
        for pattern in sorted(layers.values)
        if layers.section(pattern).has("weight")
    ]
    return Quantization(
        method="quark", scheme=scheme, bits=main.bits, group_size=main.group_size, linear=main, experts=main,
        rules=tuple(rules), kv_cache_dtype="fp8" if settings.section("export").sequence("kv_cache_group") else None,
    )  # fmt: skip


def _left_alone(settings: Fields, name: str) -> Rule:
    if name.startswith("re:"):
        return Rule("regex", settings.pattern("exclude", name.removeprefix("re:")), None)
    return Rule("exact", canonical(name), None)


def _storage(config: Fields) -> tuple[str, Storage]:
    """Return our scheme name and the storage of one scheme."""
    weight = config.get("weight")
    if isinstance(weight, list | tuple) and len(weight) == 1:
        weight = weight[0]
    if isinstance(weight, list | tuple):
        return _two_levels(config, weight)
    weights = config.section("weight")
    dtype, scheme = weights.text("dtype"), weights.text("qscheme")
    inputs = config.get("input_tensors")
    static = isinstance(inputs, dict) and not inputs.get("is_dynamic")
    input_scale = 4 if static else 0
    if dtype == "fp8_e4m3" and scheme == "per_group" and weights.integer("group_size") == _GROUP:
        return "mxfp8", Storage(name="mxfp8", bits=8, group_size=_GROUP, scale_bytes=1)
    if dtype == "fp8_e4m3" and scheme == "per_block":
        return "fp8", Storage(name="fp8-block", bits=8, group_size=128, row_group=128, scale_bytes=4)
    if dtype in ("fp8_e4m3", "int8") and scheme in ("per_tensor", "per_channel") and isinstance(inputs, dict):
        kind = "fp8" if dtype == "fp8_e4m3" else "w8a8-int8"
        name = f"{kind}-channel" if kind == "fp8" and scheme == "per_channel" else kind
        rows = int(scheme == "per_channel")
        return kind, Storage(name=name, bits=8, row_group=rows, scale_bytes=4, fixed_bytes=input_scale)
    if dtype == "fp4" and scheme == "per_group" and weights.integer("group_size") == _GROUP:
        return "mxfp4", Storage(name="quark-mxfp4", bits=4, group_size=_GROUP, scale_bytes=1, fixed_bytes=input_scale)
    if dtype in ("int4", "uint4") and inputs is None and scheme == "per_group":
        zeros = 0 if weights.flag("symmetric", True) else 4
        group = weights.integer("group_size")
        return "w4a16", Storage(name="quark-int4", bits=4, group_size=group, zero_bits=zeros)
    raise UnsupportedModel(config.where, f"Quark weights of type {dtype or 'none'!r} with scheme {scheme or 'none'!r}")


def _two_levels(config: Fields, weights: "list[object] | tuple[object, ...]") -> tuple[str, Storage]:
    """Return NVFP4, which has a scale per group and one per matrix; FP8 holding INT4 is not sized."""
    dtypes = [level.get("dtype") for level in weights if isinstance(level, dict)]
    if dtypes[:1] == ["fp4"] and len(weights) == 2:
        return "nvfp4", NVFP4
    raise UnsupportedModel(config.where, f"Quark weights in levels of {dtypes!r}")
