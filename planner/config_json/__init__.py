"""Config_json: a ``config.json`` as data in; Architecture and Quantization, or a refusal by name, out."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture
from planner.config_json.classes import config_class
from planner.config_json.decoder import decoder
from planner.config_json.drafters import eagle3, is_eagle3
from planner.config_json.fields import Fields
from planner.config_json.heads import heads
from planner.config_json.pooling import as_pooling, is_pooling_decoder, pooling_decoder
from planner.config_json.quantization_config import parse_quantization
from planner.config_json.registry import TEXT
from planner.errors import InvalidConfig, UnsupportedModel
from planner.facts.quantization import Quantization

__all__ = ["as_pooling", "parse_config"]

# Parts of class names that mark a draft model, which only works beside its target.
_DRAFTS = ("Eagle", "MTP", "Mtp", "NextN", "Medusa", "MLPSpeculator", "DFlash", "DSpark", "Speculator")


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
    fields = replace(fields, known=config_class(fields.text("model_type")).at_the_top())
    names = fields.texts("architectures")
    if not names:
        raise fields.error("architectures", "missing; it names the model class")
    architecture = _parsed(_Facts(_written(config), names[0], fields))
    return architecture, parse_quantization(fields, architecture.torch_dtype)


class _Facts(Struct, frozen=True, eq=False):
    """A config by what an architecture is made from; of its quantization that is the method alone."""

    written: str
    name: str
    fields: Fields

    def __hash__(self) -> int:
        return hash((self.written, self.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Facts) and (self.written, self.name) == (other.written, other.name)


def _written(config: Mapping[str, Any]) -> str:
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, Mapping) else quantization
    return json.dumps({**config, "quantization_config": method}, default=str)


@functools.lru_cache(maxsize=2048)
def _parsed(facts: _Facts) -> Architecture:
    """Return the architecture of a config; most checkpoints of a model differ in their quantization alone."""
    architecture = _architecture(facts.name, facts.fields)
    found = heads(architecture, facts.fields)
    return replace(architecture, heads=found) if found else architecture


def _architecture(name: str, fields: Fields) -> Architecture:
    if is_eagle3(name, fields):
        return eagle3(name, fields)
    if name in TEXT:
        return decoder(name, TEXT[name], fields)
    return _other(name, fields)


def _other(name: str, fields: Fields) -> Architecture:
    """Return the architecture of what is no plain language model, whose readers are loaded when there is one."""
    from planner.config_json.encoders import ENCODERS, encoder
    from planner.config_json.whisper import WHISPER, whisper
    from planner.config_json.wrappers import WRAPPERS, wrapped

    if name == WHISPER:
        return whisper(fields)
    if name in WRAPPERS:
        return wrapped(name, fields)
    if name in ENCODERS:
        return encoder(name, ENCODERS[name], fields)
    if is_pooling_decoder(name):
        return pooling_decoder(name, fields)
    if any(part in name for part in _DRAFTS):
        raise UnsupportedModel(
            fields.where,
            f"draft model {name}",
            "of models that draft for another, EAGLE-3 heads of Llama and Qwen3 layers and whole models are sized",
        )
    raise UnsupportedModel(fields.where, f"architecture {name}")
