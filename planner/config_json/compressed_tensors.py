"""The compressed-tensors format: groups of modules, each with its own weight arguments, and an ignore list."""

from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization, Rule, Storage, canonical

# 4-bit codes, one FP8 scale per 16 inputs, an fp32 scale per matrix and one for its inputs.
NVFP4 = Storage(name="nvfp4", bits=4, group_size=16, scale_bytes=1, fixed_bytes=8)


def compressed_tensors(settings: Fields) -> Quantization:
    """Return the storage each config group asks for.

    Source: ``quantization/compressed_tensors/compressed_tensors.py`` of vLLM 0.33.0 and the schemes beside it.
    """
    groups = settings.section("config_groups")
    if not groups.values:
        raise settings.error("config_groups", "missing; it says how weights are stored")
    rules = [_ignored(settings, name) for name in settings.texts("ignore")]
    default: Storage | None = None
    found: list[tuple[str, Storage]] = []
    for key in sorted(groups.values):
        group = groups.section(key)
        scheme, storage = _storage(group)
        found.append((scheme, storage))
        for target in group.texts("targets"):
            if target == "Linear":
                default = storage
            elif target.startswith("re:"):
                rules.append(Rule("regex", group.pattern("targets", target.removeprefix("re:")), storage))
            else:
                rules.append(Rule("exact", canonical(target), storage))
    scheme, main = min(found, key=lambda pair: pair[1].bits)
    return Quantization(
        method="compressed-tensors", scheme=scheme, bits=main.bits, group_size=main.group_size, linear=default,
        experts=default, rules=tuple(rules), head=_head(rules),
        act_order=any(storage.index_bytes for _, storage in found), kv_cache_dtype=_kv_cache_dtype(settings),
    )  # fmt: skip


def _storage(group: Fields) -> tuple[str, Storage]:
    """Return our scheme name and the storage of one config group."""
    weights = group.section("weights")
    bits = weights.integer("num_bits")
    kind = weights.text("type", "int")
    strategy = weights.text("strategy", "tensor")
    group_size = weights.optional_integer("group_size", minimum=-1)
    group_size = None if group_size == -1 or strategy in ("channel", "tensor") else group_size
    dynamic = bool(group.section("input_activations").values)
    if kind == "int" and not dynamic and bits in (4, 8):
        return _weight_only(weights, bits, group_size)
    if kind == "int" and bits == 8:
        return "w8a8-int8", Storage(name="w8a8-int8", bits=8, row_group=_rows(strategy), scale_bytes=4)
    if kind == "float" and bits == 8 and group_size == 32:
        return "mxfp8", Storage(name="mxfp8", bits=8, group_size=32, scale_bytes=1)
    if kind == "float" and bits == 8:
        return "fp8", _fp8(weights, strategy)
    if kind == "float" and bits == 4 and group_size == 16:
        return "nvfp4", NVFP4
    if kind == "float" and bits == 4 and group_size == 32:
        return "mxfp4", Storage(name="mxfp4", bits=4, group_size=32, scale_bytes=1)
    raise UnsupportedModel(group.where, f"compressed-tensors {kind}{bits} weights with strategy {strategy!r}")


def _weight_only(weights: Fields, bits: int, group_size: int | None) -> tuple[str, Storage]:
    """Return integer codes with scales per group, as Marlin and Machete read them; the shape is kept as two int64."""
    name = "w4a16" if bits == 4 else "w8a16"
    ordered = weights.text("actorder") in ("group", "dynamic")
    return name, Storage(
        name=name,
        bits=bits,
        group_size=group_size,
        zero_bits=0 if weights.flag("symmetric", True) else bits,
        index_bytes=8 if ordered and group_size else 0,
        fixed_bytes=16,
    )


def _fp8(weights: Fields, strategy: str) -> Storage:
    if strategy != "block":
        name = "fp8-channel" if strategy == "channel" else "fp8"
        return Storage(name=name, bits=8, row_group=_rows(strategy), scale_bytes=4)
    block = weights.sequence("block_structure")
    if len(block) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in block):
        raise weights.error("block_structure", f"expected two block sides, not {block!r}")
    return Storage(name="fp8-block", bits=8, group_size=int(block[1]), row_group=int(block[0]), scale_bytes=4)


def _head(rules: list[Rule]) -> Storage | None:
    """Return how the output head is stored: only a target that names it quantizes it."""
    return next((rule.storage for rule in rules if rule.matches(("lm_head",))), None)


def _rows(strategy: str) -> int:
    return 1 if strategy == "channel" else 0


def _ignored(settings: Fields, name: str) -> Rule:
    if name.startswith("re:"):
        return Rule("regex", settings.pattern("ignore", name.removeprefix("re:")), None)
    return Rule("exact", canonical(name), None)


def _kv_cache_dtype(settings: Fields) -> str | None:
    scheme = settings.section("kv_cache_scheme")
    return "fp8" if scheme.values and scheme.integer("num_bits", 8) == 8 else None
