"""The ``quantization_config`` of a checkpoint -> Quantization."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from planner.config_json.compressed_tensors import NVFP4, compressed_tensors
from planner.config_json.fields import Fields
from planner.config_json.modelopt import modelopt
from planner.config_json.quark import quark
from planner.config_json.torchao import torchao
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization, Rule, Storage, canonical

_PLAIN = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def parse_quantization(config: Fields, torch_dtype: str) -> Quantization:
    """Return how a checkpoint's weights are stored.

    Raises:
        UnsupportedModel: the method is not one this package can size.
        InvalidConfig: a field of the quantization config is missing or makes no sense.
    """
    settings = quantization_settings(config)
    if settings is None:
        return Quantization(scheme=_PLAIN[torch_dtype])
    method = _method(settings)
    if method not in _METHODS:
        raise UnsupportedModel(config.where, f"quantization method {method!r}")
    found = _METHODS[method](settings)
    if method == "fp8" and config.text("model_type") == "deepseek_v4" and config.text("expert_dtype", "fp4") == "fp4":
        # models/deepseek_v4/quant_config.py, vLLM 0.33.0
        return replace(found, experts=NVFP4 if settings.text("moe_quant_algo").upper() == "NVFP4" else MXFP4)
    return found


def quantization_settings(config: Fields) -> Fields | None:
    """Return what a config says of its quantization: at its top or, of some wrappers, with their language model."""
    for holder in (config, config.section("text_config") if config.has("text_config") else None):
        for key in ("quantization_config", "compression_config"):
            if holder is not None and holder.has(key):
                return holder.section(key)
    return None


def _method(settings: Fields) -> str:
    """Return the method's name; ModelOpt exports may name their producer instead."""
    method = settings.text("quant_method").lower().replace("compressed_tensors", "compressed-tensors")
    producer = settings.section("producer").text("name") if settings.has("producer") else ""
    if not method and (producer == "modelopt" or settings.has("quant_algo")):
        return "modelopt"
    if not method:
        raise settings.error("quant_method", "missing; it names the quantization format")
    return method


def _awq(settings: Fields) -> Quantization:
    """AWQ: 4-bit codes, scales in the model's dtype and 4-bit zero points per group (quantization/auto_awq.py)."""
    bits = settings.integer("bits" if settings.has("bits") else "w_bit", 4)
    if bits not in (4, 8):
        raise UnsupportedModel(settings.where, f"AWQ with {bits} bits")
    group = group_size(settings, "group_size" if settings.has("group_size") else "q_group_size", 128)
    zeros = bits if settings.flag("zero_point", True) else 0
    storage = Storage(name="awq", bits=bits, group_size=group, zero_bits=zeros)
    return Quantization(
        method="awq", scheme=f"awq-int{bits}", bits=bits, group_size=group, linear=storage, experts=storage,
        head=storage if settings.flag("lm_head") else None,
        rules=contains(settings.texts("modules_to_not_convert")),
    )  # fmt: skip


def _gptq(settings: Fields) -> Quantization:
    """GPTQ: codes and scales per group; zero points are dropped by the Marlin kernel, order indices are kept."""
    bits = settings.integer("bits")
    if bits not in (4, 8):
        raise UnsupportedModel(settings.where, f"GPTQ with {bits} bits")
    group = group_size(settings, "group_size", 128)
    act_order = settings.flag("desc_act") and group is not None
    storage = Storage(
        name="gptq",
        bits=bits,
        group_size=group,
        zero_bits=0 if settings.flag("sym", True) else bits,
        index_bytes=8 if act_order else 0,
    )
    listed = _modules_in_block(settings)
    chosen = tuple(Rule("contains", name, storage) for name in listed)
    rest = None if listed else storage
    return Quantization(
        method="gptq", scheme=f"gptq-int{bits}", bits=bits, group_size=group, linear=rest, experts=rest,
        act_order=act_order, head=storage if settings.flag("lm_head") else None,
        rules=(*_dynamic(settings, storage), *chosen),
    )  # fmt: skip


def _modules_in_block(settings: Fields) -> tuple[str, ...]:
    """Return the modules Optimum's exports name as quantized, in lists of lists; none means all are."""
    names: list[str] = []
    for index, entry in enumerate(settings.sequence("modules_in_block_to_quantize")):
        for name in entry if isinstance(entry, list | tuple) else (entry,):
            if not isinstance(name, str) or not name:
                raise settings.error(f"modules_in_block_to_quantize[{index}]", "expected module names")
            names.append(name)
    return tuple(names)


def _dynamic(settings: Fields, storage: Storage) -> tuple[Rule, ...]:
    """Return GPTQModel's per-module overrides: ``-:pattern`` leaves out, ``+:pattern`` changes bits or group size."""
    rules: list[Rule] = []
    for pattern in sorted(settings.section("dynamic").values):
        text = settings.pattern("dynamic", pattern[2:] if pattern.startswith(("+:", "-:")) else pattern)
        if pattern.startswith("-:"):
            rules.append(Rule("regex", text, None))
            continue
        override = settings.section("dynamic").section(pattern)
        bits = override.integer("bits", storage.bits)
        changed = replace(storage, bits=bits, group_size=group_size(override, "group_size", storage.group_size or -1))
        rules.append(Rule("regex", text, changed))
    return tuple(rules)


def _auto_round(settings: Fields) -> Quantization:
    """AutoRound (Intel neural compressor) packs as GPTQ or AWQ do (quantization/inc)."""
    if settings.integer("bits", 4) not in (4, 8):
        raise UnsupportedModel(settings.where, f"AutoRound with {settings.integer('bits')} bits")
    found = _gptq(settings)
    extra = settings.section("extra_config")
    rules = [
        Rule("exact", canonical(path), None)
        for path in sorted(extra.values)
        if extra.section(path).integer("bits") >= 16
    ]
    head = extra.section("lm_head") if extra.has("lm_head") else None
    if head and head.integer("bits", found.bits) < 16:
        found = replace(found, head=found.linear)
    return replace(found, method="auto-round", rules=(*found.rules, *rules))


def _fp8(settings: Fields) -> Quantization:
    """FP8 checkpoints: one byte per weight and fp32 scales per tensor or per block (quantization/fp8.py)."""
    block = settings.sequence("weight_block_size")
    storage = _fp8_block(settings, block) if block else FP8_TENSOR
    names = settings.texts("ignored_layers") + settings.texts("modules_to_not_convert")
    return Quantization(
        method="fp8", scheme="fp8", bits=8, group_size=storage.group_size, linear=storage, experts=storage,
        rules=exact(names),
    )  # fmt: skip


def while_loading(name: str) -> Quantization:
    """Return how an unquantized checkpoint is stored when the engine quantizes it while loading (``--quantization``).

    Source: ``quantization/fp8.py`` 0.19.0, ``quantization/online/fp8.py`` 0.33.0; measured 8.49 GiB for Llama-3.1-8B
    (H100, 0.19.0, llm-d-planner#205).

    Raises:
        KeyError: it is not one of ``ONLINE``.
    """
    storage = ONLINE[name]
    return Quantization(
        method="fp8", scheme="fp8", bits=8, group_size=storage.group_size, linear=storage, experts=storage,
    )  # fmt: skip


def _fbgemm_fp8(settings: Fields) -> Quantization:
    """FBGEMM FP8: one byte per weight and one fp32 scale per output (quantization/fbgemm_fp8.py)."""
    storage = Storage(name="fp8-channel", bits=8, scale_bytes=4)
    return Quantization(
        method="fbgemm_fp8", scheme="fp8", bits=8, linear=storage,
        rules=exact(settings.texts("modules_to_not_convert")),
    )  # fmt: skip


def _fp8_block(settings: Fields, block: tuple[object, ...]) -> Storage:
    """Return block-wise FP8: one fp32 scale per ``rows × columns`` block."""
    sides = [side for side in block if isinstance(side, int) and not isinstance(side, bool) and 0 < side <= 4096]
    if len(block) != 2 or len(sides) != 2:
        raise settings.error("weight_block_size", f"expected two block sides, not {block!r}")
    rows, columns = sides
    return Storage(name="fp8-block", bits=8, group_size=columns, row_group=rows, scale_bytes=4)


def _mxfp4(settings: Fields) -> Quantization:
    """MXFP4 of gpt-oss: experts alone, 4-bit codes with one byte of scale per 32 inputs (quantization/mxfp4.py)."""
    return Quantization(method="mxfp4", scheme="mxfp4", bits=4, group_size=32, experts=MXFP4, dtype_needed="bfloat16")


def _bitsandbytes(settings: Fields) -> Quantization:
    """bitsandbytes: 4-bit codes with one maximum per 64 weights, or 8-bit with one per output.

    Checkpoints with double quantization keep maxima as one byte (measured: Qwen2.5-7B 5.2032 GiB), others as fp32.
    """
    skipped = contains(settings.texts("llm_int8_skip_modules"))
    if settings.flag("load_in_8bit"):
        storage = Storage(name="bnb-int8", bits=8, scale_bytes=4)
        return Quantization(method="bitsandbytes", scheme="bnb-int8", bits=8, linear=storage, rules=skipped)
    scale_bytes = 1 if settings.flag("bnb_4bit_use_double_quant") else 4
    storage = Storage(name="bnb-4bit", bits=4, group_size=64, scale_bytes=scale_bytes)
    return Quantization(method="bitsandbytes", scheme="bnb-4bit", bits=4, group_size=64, linear=storage, rules=skipped)


def group_size(settings: Fields, name: str, default: int) -> int | None:
    """Return the inputs that share a scale; -1 means all of them."""
    value = settings.integer(name, default, minimum=-1)
    if value == 0:
        raise settings.error(name, "0 is not a group size")
    return None if value == -1 else value


def exact(paths: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return rules that leave the modules of these paths unquantized."""
    return tuple(Rule("exact", canonical(path), None) for path in paths)


def contains(paths: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return rules that leave every module unquantized whose path contains one of the texts."""
    return tuple(Rule("contains", path, None) for path in paths)


FP8_TENSOR = Storage(name="fp8", bits=8, row_group=0, scale_bytes=4, fixed_bytes=4)
ONLINE: Mapping[str, Storage] = {
    "fp8": FP8_TENSOR,
    "fp8_per_tensor": FP8_TENSOR,
    "fp8_per_channel": Storage(name="fp8-channel", bits=8, scale_bytes=4),
    "fp8_per_block": Storage(name="fp8-block", bits=8, group_size=128, row_group=128, scale_bytes=4),
}
MXFP4 = Storage(name="mxfp4", bits=4, group_size=32, scale_bytes=1)

_METHODS: Mapping[str, Callable[[Fields], Quantization]] = {
    "awq": _awq, "auto_awq": _awq, "gptq": _gptq, "auto_gptq": _gptq, "auto-round": _auto_round,
    "intel/auto-round": _auto_round, "fp8": _fp8, "fbgemm_fp8": _fbgemm_fp8, "compressed-tensors": compressed_tensors,
    "modelopt": modelopt, "modelopt_fp4": modelopt, "modelopt_mixed": modelopt, "mxfp4": _mxfp4,
    "gpt_oss_mxfp4": _mxfp4, "bitsandbytes": _bitsandbytes, "quark": quark, "torchao": torchao,
}  # fmt: skip
