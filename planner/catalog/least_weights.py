"""Least weights: what the shipped checkpoints take at least, known before their configs are read.

``catalog/least-weights.json`` has it by a digest of the config, so that nothing is known of one that was changed. A
test works all of it out anew.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from planner.facts.variant import Model, Variant
from planner.resources import data_folder
from planner.tensors.identity import Same

FILE = "least-weights.json"


def known_least_bytes(model: Model, variant: Variant) -> int:
    """Return what ``planner.tensors.least`` says of a checkpoint, in bytes; 0 where it would have to be worked out."""
    return 0 if variant.path else _known_of(Same(model.config), Same(variant))


def digest(config: Mapping[str, Any], variant: Variant) -> str:
    """Return a digest of the config of a checkpoint, given that of its model."""
    own = [variant.config_changes, variant.quantization_config]
    return hashlib.sha256(_config(Same(config)) + _written(own)).hexdigest()[:16]


@functools.lru_cache(maxsize=8192)
def _known_of(config: Same[Mapping[str, Any]], variant: Same[Variant]) -> int:
    return _known().get(digest(config.value, variant.value), 0)


@functools.lru_cache(maxsize=4096)
def _config(config: Same[Mapping[str, Any]]) -> bytes:
    return hashlib.sha256(_written(config.value)).digest()


def _written(data: object) -> bytes:
    return msgspec.json.encode(data, order="sorted")


@functools.cache
def _known() -> Mapping[str, int]:
    return msgspec.json.decode((data_folder("catalog") / FILE).read_bytes(), type=dict[str, int])
