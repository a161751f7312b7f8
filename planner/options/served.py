"""What a server of a role would load: a variant's architecture and storage, as the role's task runs it."""

import functools
from typing import TypeVar

from planner.architecture import Architecture
from planner.catalog.stored import stored
from planner.config_json import as_pooling
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.fleet import POOLING_TASKS
from planner.tensors.identity import Same

T = TypeVar("T")


def served(model: Model, variant: Variant, task: str) -> tuple[Architecture, Quantization]:
    """Return architecture and quantization of a variant; a pooling task runs any model without output head and sampler.

    Raises:
        UnsupportedModel: the variant cannot be sized.
        InvalidConfig: its config is broken.
    """
    return _served(Same(model), Same(variant), task in POOLING_TASKS)


@functools.lru_cache(maxsize=8192)
def _served(model: Same[Model], variant: Same[Variant], pooling: bool) -> tuple[Architecture, Quantization]:
    """Return one object for all equal ones, in whatever role or checkpoint, so that its weights are added up once."""
    architecture, quantization = stored(model.value, variant.value)
    if pooling and not architecture.is_pooling:
        architecture = as_pooling(architecture)
    return _first_equal(architecture), _first_equal(quantization)


@functools.lru_cache(maxsize=8192)
def _first_equal(value: T) -> T:
    return value


def context_limit(model: Model, architecture: Architecture) -> int:
    """Return the longest context to plan for: the engine's own limit, or the publisher's where that is smaller."""
    return min(architecture.max_model_len, model.context_limit or architecture.max_model_len)
