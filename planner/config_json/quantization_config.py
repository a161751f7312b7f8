"""The ``quantization_config`` of a checkpoint -> Quantization."""

from planner.config_json.compressed_tensors import compressed_tensors
from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel
from planner.quantization import Quantization, Rule, Storage, canonical

_PLAIN = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def parse_quantization(config: Fields, torch_dtype: str) -> Quantization:
    """Return how a checkpoint's weights are stored.

    Raises:
        UnsupportedModel: the method is not one this package can size.
        InvalidConfig: a field of the quantization config is missing or makes no sense.
    """
    settings = _settings(config)
    if settings is None:
        return Quantization(scheme=_PLAIN[torch_dtype])
    method = settings.text("quant_method").lower().replace("compressed_tensors", "compressed-tensors")
    if method in ("awq", "auto_awq"):
        return _awq(settings)
    if method in ("gptq", "auto_gptq"):
        return _gptq(settings)
    if method == "fp8":
        return _fp8(settings)
    if method == "compressed-tensors":
        return compressed_tensors(settings)
    if not method:
        raise settings.error("quant_method", "missing; it names the quantization format")
    raise UnsupportedModel(config.where, f"quantization method {method!r}")


def _settings(config: Fields) -> Fields | None:
    for holder in (config, config.section("text_config") if config.has("text_config") else None):
        for key in ("quantization_config", "compression_config"):
            if holder is not None and holder.has(key):
                return holder.section(key)
    return None


def _awq(settings: Fields) -> Quantization:
    """AWQ: 4-bit codes, scales in the model's dtype and 4-bit zero points per group (quantization/auto_awq.py)."""
    bits = settings.integer("bits" if settings.has("bits") else "w_bit", 4)
    if bits != 4:
        raise UnsupportedModel(settings.where, f"AWQ with {bits} bits")
    group = _group_size(settings, "group_size" if settings.has("group_size") else "q_group_size", 128)
    storage = Storage(name="awq", bits=4, group_size=group, zero_bits=4 if settings.flag("zero_point", True) else 0)
    return Quantization(
        method="awq", scheme="awq-int4", bits=4, group_size=group, linear=storage, experts=storage,
        rules=exempt(settings.texts("modules_to_not_convert"), "contains"),
    )  # fmt: skip


def _gptq(settings: Fields) -> Quantization:
    """GPTQ: codes, scales per group; zero points are dropped by the Marlin kernel, order indices are kept."""
    bits = settings.integer("bits")
    if bits not in (4, 8):
        raise UnsupportedModel(settings.where, f"GPTQ with {bits} bits")
    group = _group_size(settings, "group_size", 128)
    act_order = settings.flag("desc_act")
    symmetric = settings.flag("sym", True)
    storage = Storage(
        name="gptq",
        bits=bits,
        group_size=group,
        zero_bits=0 if symmetric else bits,
        index_bytes=8 if act_order else 0,
    )
    return Quantization(
        method="gptq", scheme=f"gptq-int{bits}", bits=bits, group_size=group, linear=storage, experts=storage,
        act_order=act_order, head=storage if settings.flag("lm_head") else None,
    )  # fmt: skip


def _fp8(settings: Fields) -> Quantization:
    """FP8 checkpoints: one byte per weight and fp32 scales per tensor or per block (quantization/fp8.py)."""
    block = settings.sequence("weight_block_size")
    storage = fp8_block(settings, block) if block else Storage(name="fp8", bits=8, row_group=0, scale_bytes=4)
    return Quantization(
        method="fp8", scheme="fp8", bits=8, group_size=storage.group_size, linear=storage, experts=storage,
        activation_bits=8,
        rules=exempt(settings.texts("ignored_layers") + settings.texts("modules_to_not_convert"), "exact"),
    )  # fmt: skip


def fp8_block(settings: Fields, block: tuple[object, ...]) -> Storage:
    """Return block-wise FP8: one fp32 scale per ``rows × columns`` block."""
    if len(block) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in block):
        raise settings.error("weight_block_size", f"expected two block sides, not {block!r}")
    rows, columns = (int(str(side)) for side in block)
    return Storage(name="fp8-block", bits=8, group_size=columns, row_group=rows, scale_bytes=4)


def exempt(paths: tuple[str, ...], match: str) -> tuple[Rule, ...]:
    """Return rules that leave the listed modules unquantized."""
    if match == "contains":
        return tuple(Rule("contains", path, None) for path in paths)
    return tuple(Rule("exact", canonical(path), None) for path in paths)


def _group_size(settings: Fields, name: str, default: int) -> int | None:
    value = settings.integer(name, default, minimum=-1)
    if value == 0:
        raise settings.error(name, "0 is not a group size")
    return None if value == -1 else value
