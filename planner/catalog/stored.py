"""What a variant's checkpoint holds, and how much more it may hold where its config was not seen."""

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.config_json import parse_config
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant


def stored(model: Model, variant: Variant) -> tuple[Architecture, Quantization]:
    """Return architecture and quantization of a variant; ``widest`` is set where fields of its config are assumed.

    Raises:
        UnsupportedModel: the variant cannot be sized.
        InvalidConfig: its config is broken.
    """
    architecture, quantization = parse_config(model.config_for(variant), where=variant.repository)
    if variant.unseen:
        _, widest = parse_config(model.widest_config_for(variant), where=variant.repository)
        quantization = replace(quantization, widest=widest)
    return architecture, quantization
