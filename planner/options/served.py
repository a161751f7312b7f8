"""What a server of a role would load: a variant's architecture and storage, as the role's task runs it."""

from planner.architecture import Architecture
from planner.config_json import as_pooling, parse_config
from planner.fleet import POOLING_TASKS
from planner.quantization import Quantization
from planner.variant import Model, Variant


def served(model: Model, variant: Variant, task: str) -> tuple[Architecture, Quantization]:
    """Return architecture and quantization of a variant; a pooling task runs any model without output head and sampler.

    Raises:
        UnsupportedModel: the variant cannot be sized.
        InvalidConfig: its config is broken.
    """
    architecture, quantization = parse_config(model.config_for(variant), where=variant.repository)
    if task in POOLING_TASKS and not architecture.is_pooling:
        architecture = as_pooling(architecture)
    return architecture, quantization


def context_limit(model: Model, architecture: Architecture) -> int:
    """Return the longest context to plan for: the engine's own limit, or the publisher's where that is smaller."""
    return min(architecture.max_model_len, model.context_limit or architecture.max_model_len)
