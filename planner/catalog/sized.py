"""A model as people ask for it, and the flags they start it with -> the server that the memory model sizes."""

from collections.abc import Mapping
from typing import Any

from planner.architecture import Architecture
from planner.catalog.asked import AskedModel
from planner.config_json.quantization_config import while_loading
from planner.engine.flags import default_flags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory.core import running_core
from planner.memory.started import started
from planner.memory.terms import Server


def sized(
    model: AskedModel,
    gpu: GPU,
    profile: EngineProfile,
    given: Mapping[str, Any],
    drafter: Architecture | None = None,
) -> tuple[Server, EngineProfile]:
    """Return the server that ``given`` fields of ``ServeFlags`` start, and the core of the engine that runs it.

    A ``drafter`` is the model that drafts tokens for it.
    """
    core = running_core(
        profile,
        gpu,
        model.architecture,
        kv_cache_dtype=str(given.get("kv_cache_dtype", "auto")),
        dtype=str(given.get("dtype", "auto")),
        pipeline_parallel_size=int(given.get("pipeline_parallel_size", 1)),
    )
    architecture, quantization = started(model.architecture, given, core, drafter), model.quantization
    if given.get("quantization"):
        quantization = while_loading(str(given["quantization"]))
    flags = default_flags(core, gpu, architecture, **given)
    return Server(architecture=architecture, quantization=quantization, flags=flags), core
