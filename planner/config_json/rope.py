"""Rotary tables and the context limit, derived from a config as the engine derives them."""

from collections.abc import Mapping
from typing import Any

from planner.architecture import Rotary
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


def rope_parameters(text: Fields) -> Fields:
    """Return the rope settings of a model: ``rope_parameters`` of newer configs or ``rope_scaling`` of older ones.

    Models with one rope per layer type nest one object per type; this returns the outer object.
    """
    return text.section("rope_parameters" if text.has("rope_parameters") else "rope_scaling")


def rope_type(rope: Fields) -> str:
    """Return the scaling type under either of its two keys."""
    return rope.text("rope_type") or rope.text("type")


def max_model_len(text: Fields) -> int:
    """Return the context limit the engine derives when none is given.

    Source: ``config/model.py:_get_and_verify_max_len`` and ``model_arch_config_convertor.py`` of vLLM 0.33.0. A yarn
    factor is not applied again; longrope falls back to the original length.
    """
    lengths = [length for key in LENGTH_KEYS if (length := text.optional_integer(key, maximum=_MAX_LENGTH))]
    limit: float = text.optional_integer("model_max_length", maximum=_MAX_LENGTH) or min(
        lengths, default=_DEFAULT_LENGTH
    )
    rope = rope_parameters(text)
    kind = rope_type(rope)
    if kind == "longrope" or kind == "su":
        return text.optional_integer("original_max_position_embeddings", maximum=_MAX_LENGTH) or int(limit)
    if kind not in _INCLUDED and "gemma3" not in text.text("model_type"):
        limit *= rope.number("factor", 1.0)
    return int(limit)


def rotary(text: Fields, head_dim: int, rope: Fields | None = None) -> Rotary:
    """Return the rotary table of a rope.

    Source: ``layers/rotary_embedding`` of vLLM 0.33.0: a table covers ``max_position_embeddings`` positions; linear
    and dynamic scaling multiply them by the factor, yarn covers original length times factor, longrope keeps a short
    and a long table, and multimodal rope four times the positions.
    """
    rope = rope_parameters(text) if rope is None else rope
    width = _width(text, rope, head_dim)
    positions = text.integer("max_position_embeddings", 8192, maximum=_MAX_LENGTH)
    kind = rope_type(rope)
    multimodal = 4 if rope.has("mrope_section") else 1
    if kind in ("linear", "dynamic") and not rope.has("alpha"):
        positions = int(positions * rope.number("factor", 1.0))
    elif kind in ("yarn", "deepseek_yarn", "deepseek_llama_scaling"):
        original = rope.integer("original_max_position_embeddings", positions, maximum=_MAX_LENGTH)
        positions = int(original * multimodal * rope.number("factor", 1.0))
        multimodal = 1
    elif kind in ("longrope", "su"):
        original = rope.integer(
            "original_max_position_embeddings",
            text.integer("original_max_position_embeddings", positions, maximum=_MAX_LENGTH),
            maximum=_MAX_LENGTH,
        )
        positions += original
    return Rotary(positions * multimodal, width)


def _width(text: Fields, rope: Fields, head_dim: int) -> int:
    share = rope.number("partial_rotary_factor", text.number("partial_rotary_factor", 1.0))
    return int(head_dim * share)


def nested(rope: Fields) -> Mapping[str, Any]:
    """Return the per-layer-type ropes of a nested setting, or an empty mapping."""
    return {key: value for key, value in rope.values.items() if isinstance(value, Mapping)}
