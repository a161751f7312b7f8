"""Least weights: what the shipped checkpoints take at least, known before their configs are read.

``catalog/least-weights.json`` has it by a digest of the config, so that nothing is known of one that was changed. A
test works all of it out anew.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from planner.facts.variant import Model, Variant
from planner.resources import data_folder
from planner.tensors.identity import Same

FILE = "least-weights.json"


def known_least_bytes(model: Model, variant: Variant) -> int:
    """Return what ``planner.tensors.least`` says of a checkpoint, in bytes; 0 where it would have to be worked out."""
    return 0 if variant.path else _known().get(digest(model, variant), 0)


def digest(model: Model, variant: Variant) -> str:
    """Return a digest of the config of a checkpoint."""
    own = json.dumps([variant.config_changes, variant.quantization_config], sort_keys=True, default=str)
    return hashlib.sha256(f"{_config(Same(model.config))} {own}".encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4096)
def _config(config: Same[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(config.value, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def _known() -> Mapping[str, int]:
    found: Mapping[str, int] = json.loads((data_folder("catalog") / FILE).read_text(encoding="utf-8"))
    return found
