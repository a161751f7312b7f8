"""torchao checkpoints: one config for all linear layers, or one per module name."""

import re

from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization, Rule, Storage, canonical

_INT8 = Storage(name="torchao-int8", bits=8)
_FP8_ROWS = Storage(name="fp8-channel", bits=8, scale_bytes=4)
_FP8_TENSOR = Storage(name="fp8", bits=8, row_group=0, scale_bytes=4)
_INT4_GROUP = 128
_WHOLE_ROWS = {"Int8WeightOnlyConfig": "w8a16", "Int8DynamicActivationInt8WeightConfig": "w8a8-int8"}


def torchao(settings: Fields) -> Quantization:
    """Return the storage a torchao checkpoint uses; experts, embeddings and the output head are never quantized.

    Source: ``quantization/torchao.py`` of vLLM 0.33.0; the tensors are torchao's own (``quant_api.py``).
    """
    default = settings.section("quant_type").section("default")
    skipped = tuple(
        Rule("regex", rf"(?:.*\.)?{re.escape(name)}(?:\..*)?$", None)
        for name in settings.texts("modules_to_not_convert")
    )
    if default.text("_type") == "ModuleFqnToConfig":
        return _by_module(default.section("_data").section("module_fqn_to_config"), skipped)
    scheme, storage = _storage(default)
    return Quantization(
        method="torchao", scheme=scheme, bits=storage.bits, group_size=storage.group_size, linear=storage, rules=skipped
    )


def _by_module(modules: Fields, skipped: tuple[Rule, ...]) -> Quantization:
    """Each module named, by its path or by a pattern after ``re:``; the rest as ``_default`` says."""
    rules = list(skipped)
    schemes: list[tuple[str, Storage]] = []
    default: Storage | None = None
    for name in sorted(modules.values):
        found = None if modules.get(name) is None else _storage(modules.section(name))
        if found:
            schemes.append(found)
        storage = found[1] if found else None
        if name == "_default":
            default = storage
        elif name.startswith("re:"):
            rules.append(Rule("regex", modules.pattern(name, name.removeprefix("re:")) + "$", storage))
        else:
            rules.append(Rule("exact", canonical(name), storage))
    if not schemes:
        raise modules.error("_default", "missing; no module has a quantization")
    scheme, main = min(schemes, key=lambda pair: pair[1].bits)
    return Quantization(
        method="torchao", scheme=scheme, bits=main.bits, group_size=main.group_size, linear=default, rules=tuple(rules)
    )


def _storage(config: Fields) -> tuple[str, Storage]:
    """Return our scheme name and the storage of one config."""
    kind, data = config.text("_type"), config.section("_data")
    if kind == "Int4WeightOnlyConfig":
        group = data.integer("group_size", _INT4_GROUP)
        return "w4a16", Storage(name="torchao-int4", bits=4, group_size=group, zero_bits=16)
    if kind in _WHOLE_ROWS:
        return _WHOLE_ROWS[kind], _INT8
    if kind == "Float8WeightOnlyConfig":
        return "fp8", _FP8_ROWS
    if kind == "Float8DynamicActivationFloat8WeightConfig":
        granularity = data.get("granularity")
        rows = "PerRow" in repr(granularity)
        return "fp8", _FP8_ROWS if rows else _FP8_TENSOR
    raise UnsupportedModel(config.where, f"torchao config {kind or 'none'!r}")
