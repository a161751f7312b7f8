"""A model as a server is started with it: without what no prompt brings, and with the heads that draft tokens."""

import functools
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from planner.architecture import Architecture, Layer
from planner.engine.profile import EngineProfile
from planner.engine.speculation import DRAFTED, Speculation
from planner.memory.vision import without_encoder
from planner.tensors.identity import Same


def started(
    architecture: Architecture, flags: Mapping[str, Any], profile: EngineProfile, drafter: Architecture | None = None
) -> Architecture:
    """Return the architecture that a server with ``flags`` as given builds; the same object for the same question.

    A ``drafter`` is the model that drafts, where one does.
    """
    blind = without_encoder(architecture, flags, profile)
    speculation: Speculation | None = flags.get("speculative")
    if not (blind or speculation):
        return architecture
    return _started(Same(architecture), blind, speculation, Same(drafter) if drafter else None)


@functools.lru_cache(maxsize=4096)
def _started(
    of: Same[Architecture], blind: bool, speculation: Speculation | None, drafter: Same[Architecture] | None
) -> Architecture:
    found = replace(of.value, vision=None) if blind else of.value
    if speculation is None:
        return found
    verifying = {layer: _verifying(layer, speculation.tokens) for layer in dict.fromkeys(found.layers)}
    layers = tuple(verifying[layer] for layer in found.layers)
    if speculation.method in DRAFTED:
        return replace(found, layers=layers, drafter=_beside(drafter.value, found) if drafter else None)
    if speculation.method != "mtp":
        return replace(found, layers=layers)
    return replace(found, layers=(*layers, *found.heads), drafted=len(found.heads))


def _beside(drafter: Architecture, model: Architecture) -> Architecture:
    """Return a drafter whose rotary tables reach as far as the model does, if it is a head of it.

    Source: ``config/speculative.py:_maybe_override_draft_max_position_embeddings`` 0.33.0; before, they are shorter.
    """
    if not drafter.target_hidden_size:
        return drafter
    reach = tuple(replace(table, positions=max(table.positions, model.max_model_len)) for table in drafter.rotaries)
    return replace(drafter, rotaries=reach)


def _verifying(layer: Layer, tokens: int) -> Layer:
    """Return a layer whose recurrent state, if it has one, can go back to any of the drafts that are verified."""
    return replace(layer, state=replace(layer.state, lookahead=tokens)) if layer.state else layer
