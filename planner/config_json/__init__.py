"""A Hugging Face ``config.json`` as data -> Architecture and Quantization; what is unknown is refused by name."""

from collections.abc import Mapping
from typing import Any

from planner.architecture import Architecture
from planner.config_json.decoder import decoder
from planner.config_json.fields import Fields
from planner.config_json.quantization_config import parse_quantization
from planner.config_json.registry import TEXT
from planner.config_json.wrappers import WRAPPERS, wrapped
from planner.errors import InvalidConfig, UnsupportedModel
from planner.quantization import Quantization

__all__ = ["parse_config"]


def parse_config(config: Mapping[str, Any], *, where: str) -> tuple[Architecture, Quantization]:
    """Return what a model is made of and how its weights are stored.

    ``where`` names the file or catalog entry in errors.

    Raises:
        UnsupportedModel: the architecture or the quantization format is not one this package can size.
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    if not isinstance(config, Mapping):
        raise InvalidConfig(where, "", "expected a JSON object")
    fields = Fields(where, config)
    name = architecture_name(fields)
    if name in WRAPPERS:
        architecture = wrapped(name, fields)
    elif name in TEXT:
        architecture = decoder(name, TEXT[name], fields)
    else:
        raise UnsupportedModel(where, f"architecture {name}")
    return architecture, parse_quantization(fields, architecture.torch_dtype)


def architecture_name(fields: Fields) -> str:
    """Return the model class the config names first."""
    names = fields.texts("architectures")
    if not names:
        raise fields.error("architectures", "missing; it names the model class")
    return names[0]
