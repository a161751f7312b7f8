"""The compressed-tensors format: groups of modules, each with its own weight arguments, and an ignore list."""

from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.quantization import Quantization, Rule, Storage, canonical


def compressed_tensors(settings: Fields) -> Quantization:
    """Return the storage each config group asks for.

    Source: ``quantization/compressed_tensors/compressed_tensors.py`` of vLLM 0.33.0 and the schemes beside it.
    """
    groups = settings.section("config_groups")
    if not groups.values:
        raise settings.error("config_groups", "missing; it says how weights are stored")
    rules = [_ignored(name) for name in settings.texts("ignore")]
    default: Storage | None = None
    first: tuple[str, Storage] | None = None
    for key in sorted(groups.values):
        group = groups.section(key)
        scheme, storage = _storage(group)
        first = first or (scheme, storage)
        for target in group.texts("targets"):
            if target == "Linear":
                default = storage
            elif target.startswith("re:"):
                rules.append(Rule("regex", target.removeprefix("re:"), storage))
            else:
                rules.append(Rule("exact", canonical(target), storage))
    if first is None:
        raise settings.error("config_groups", "empty; it says how weights are stored")
    scheme, main = first
    activation_bits = _activation_bits(groups)
    return Quantization(
        method="compressed-tensors", scheme=scheme, bits=main.bits, group_size=main.group_size, linear=default,
        experts=default, rules=tuple(rules), activation_bits=activation_bits, kv_cache_dtype=_kv_cache_dtype(settings),
    )  # fmt: skip


def _storage(group: Fields) -> tuple[str, Storage]:
    weights = group.section("weights")
    bits = weights.integer("num_bits")
    kind = weights.text("type", "int")
    strategy = weights.text("strategy", "tensor")
    symmetric = weights.flag("symmetric", True)
    group_size = weights.optional_integer("group_size", minimum=-1)
    group_size = None if group_size == -1 else group_size
    activations = group.section("input_activations")
    quantized_activations = bool(activations.values)
    if kind == "int" and not quantized_activations and bits in (4, 8):
        name = "w4a16" if bits == 4 else "w8a16"
        return name, Storage(
            name=name, bits=bits, group_size=group_size, zero_bits=0 if symmetric else bits, fixed_bytes=16
        )
    if kind == "int" and bits == 8:
        return "w8a8-int8", Storage(name="w8a8-int8", bits=8, row_group=_rows(strategy), scale_bytes=4)
    if kind == "float" and bits == 8:
        block = weights.sequence("block_structure")
        if strategy == "block":
            rows, columns = (int(side) for side in block)
            return "fp8", Storage(name="fp8-block", bits=8, group_size=columns, row_group=rows, scale_bytes=4)
        return "fp8", Storage(name="fp8", bits=8, row_group=_rows(strategy), scale_bytes=4)
    if kind == "float" and bits == 4 and group_size == 16:
        return "nvfp4", Storage(name="nvfp4", bits=4, group_size=16, scale_bytes=1, fixed_bytes=8)
    raise UnsupportedModel(group.where, f"compressed-tensors {kind}{bits} weights with strategy {strategy!r}")


def _rows(strategy: str) -> int:
    return 1 if strategy == "channel" else 0


def _activation_bits(groups: Fields) -> int:
    bits = [groups.section(key).section("input_activations").integer("num_bits", 16) for key in sorted(groups.values)]
    return min(bits)


def _ignored(name: str) -> Rule:
    if name.startswith("re:"):
        return Rule("regex", name.removeprefix("re:"), None)
    return Rule("exact", canonical(name), None)


def _kv_cache_dtype(settings: Fields) -> str | None:
    scheme = settings.section("kv_cache_scheme")
    return "fp8" if scheme.values and scheme.integer("num_bits", 8) == 8 else None
