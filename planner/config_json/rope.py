"""Rotary tables and the context limit, derived from a config as the engine derives them."""

from collections.abc import Mapping

from planner.architecture import Layer, Rotary
from planner.config_json.fields import Fields

# Keys that may carry the trained length, in the engine's order (transformers_utils/model_arch_config_convertor.py:
# derive_max_model_len_and_key, vLLM 0.33.0).
LENGTH_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_MAX_LENGTH = 1 << 27
# Scalings whose factor is already inside max_position_embeddings (config/model.py:_get_and_verify_max_len, 0.33.0).
_INCLUDED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "mrope", "default", "")
# What the engine assumes when no key states a length (same function).
_DEFAULT_LENGTH = 2048
_LONG = ("longrope", "su")
_YARN = ("yarn", "deepseek_yarn", "deepseek_llama_scaling")


def context_limits(text: Fields) -> tuple[int, int]:
    """Return the context the engine takes when none is given, and the longest it accepts.

    Source: ``config/model.py:_get_and_verify_max_len`` and ``model_arch_config_convertor.py`` of vLLM 0.33.0. A yarn
    factor is not applied again; longrope models default to their original length.
    """
    lengths = [length for key in LENGTH_KEYS if (length := text.optional_integer(key, maximum=_MAX_LENGTH))]
    stated = text.optional_integer("model_max_length", maximum=_MAX_LENGTH)
    limit = stated or min(lengths, default=_DEFAULT_LENGTH)
    rope = settings(text)
    kind = _type(rope)
    if kind not in _INCLUDED and "gemma3" not in text.text("model_type"):
        limit = int(limit * rope.number("factor", 1.0))
    original = text.optional_integer("original_max_position_embeddings", maximum=_MAX_LENGTH)
    return (original or limit if kind in _LONG else limit), limit


def scaled_limit(text: Fields) -> int:
    """Return the context that engines before 0.30 take of a YaRN model, and the longest they accept; 0 for others.

    They multiply the original length by the factor, whatever the config says of positions, also where the rope is that
    of one kind of layers among several. Source:
    ``_get_and_verify_max_len`` of vLLM 0.10.2 to 0.29.0, in ``config/__init__.py`` and then ``config/model.py``.
    """
    if "gemma3" in text.text("model_type"):
        return 0
    rope = settings(text)
    for each in (rope, *_per_kind(rope).values()):
        original = each.optional_integer("original_max_position_embeddings", maximum=_MAX_LENGTH)
        if _type(each) == "yarn" and original:
            return min(_MAX_LENGTH, int(original * each.number("factor", 1.0)))
    return 0


def rotaries(
    text: Fields, head_dim: int, layers: tuple[Layer, ...], *, unscaled_windows: bool = False
) -> tuple[Rotary, ...]:
    """Return the distinct rotary tables of a model: one, or one per kind of attention with its own rope."""
    rope = settings(text)
    per_kind = _per_kind(rope)
    if per_kind:
        windows = {bool(layer.attention.window) for layer in layers if layer.attention}
        unused = "full_attention" if windows == {True} else "sliding_attention" if windows == {False} else ""
        per_kind.pop(unused, None)
        sizes = {kind: _head_dim(layers, kind, head_dim) for kind in per_kind}
        distinct = {(repr(rope.get(kind)), sizes[kind]): kind for kind in sorted(per_kind, reverse=True)}
        return tuple(table(text, per_kind[kind], sizes[kind]) for kind in sorted(distinct.values()))
    tables = [table(text, rope, head_dim)]
    if unscaled_windows and _type(rope) not in ("", "default"):
        tables.append(table(text, Fields(text.where, {}), head_dim))
    if text.get("rope_local_base_freq") is not None:  # Gemma 3: local layers have a rope of their own, unscaled
        tables.append(table(text, Fields(text.where, {}), head_dim))
    if text.get("swa_rope_theta") is not None and text.get("swa_rope_theta") != text.get("rope_theta"):  # MiMo-V2
        tables.append(table(text, rope, head_dim))
    return tuple(tables)


def settings(text: Fields) -> Fields:
    """Return ``rope_parameters`` of newer configs, ``rope_scaling`` of older ones, or what the class assumes."""
    return text.section(
        "rope_scaling" if text.has("rope_scaling") and not text.has("rope_parameters") else "rope_parameters"
    )


def _per_kind(rope: Fields) -> dict[str, Fields]:
    """Return the rope of each kind of layers, by its name; nothing where all have the same."""
    return {key: rope.section(key) for key, value in rope.values.items() if isinstance(value, Mapping)}


def _type(rope: Fields) -> str:
    return rope.text("rope_type") or rope.text("type")


def _head_dim(layers: tuple[Layer, ...], kind: str, default: int) -> int:
    """Return the head size of the layers a per-kind rope applies to."""
    for layer in layers:
        if layer.attention and bool(layer.attention.window) == (kind == "sliding_attention"):
            return layer.attention.head_dim
    return default


def table(text: Fields, rope: Fields, head_dim: int) -> Rotary:
    """Return one table.

    Source: ``layers/rotary_embedding`` of vLLM 0.33.0: it covers ``max_position_embeddings`` positions; linear
    scaling multiplies them by the factor, yarn covers original length times factor, longrope keeps a short and a long
    table. Multimodal rope has four times the positions; Qwen3-VL and its kin gave that up in 0.32.
    """
    positions = text.integer("max_position_embeddings", 8192, maximum=_MAX_LENGTH)
    if text.text("model_type") == "cohere":  # models/commandr.py
        positions = text.integer("model_max_length", positions, maximum=_MAX_LENGTH)
    kind = _type(rope)
    if kind == "linear":
        positions = int(positions * rope.number("factor", 1.0))
    elif kind in _YARN:
        original = rope.integer("original_max_position_embeddings", positions, maximum=_MAX_LENGTH)
        positions = int(original * rope.number("factor", 1.0))
    elif kind in _LONG:
        stated = text.integer("original_max_position_embeddings", positions, maximum=_MAX_LENGTH)
        positions += rope.integer("original_max_position_embeddings", stated, maximum=_MAX_LENGTH)
    share = rope.number("partial_rotary_factor", text.number("partial_rotary_factor", 1.0))
    width = text.optional_integer("rotary_dim") or int(head_dim * share)
    if kind == "proportional":  # Gemma 4 spreads the share over the whole head
        width = head_dim
    older_factor = 1
    if text.text("model_type").startswith(("qwen3_vl", "qwen3_5")):
        older_factor = 4
    elif rope.has("mrope_section"):
        positions *= 4
    return Rotary(
        positions,
        width,
        dtype_bytes=4 if text.text("model_type") == "gpt_oss" else None,  # models/gpt_oss.py asks for fp32
        older_factor=older_factor,
        single_precision=kind in _YARN and text.has("kv_lora_rank"),
    )
