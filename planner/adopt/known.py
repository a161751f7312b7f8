"""A server of somebody's files or logs as the memory model sees it, or why that cannot be said."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct

from planner.adopt.arguments import UNKNOWN
from planner.adopt.server import Server
from planner.catalog import Catalog
from planner.catalog.alike import alike
from planner.catalog.asked import AskedModel, asked_model
from planner.catalog.sized import sized
from planner.catalog.stored import stored
from planner.config_json.quantization_config import ONLINE
from planner.engine.profile import EngineProfile, load_profile
from planner.engine.speculation import DRAFTED, Speculation, speculation_of
from planner.errors import PlannerError, UnknownName
from planner.facts.gpu import GPU
from planner.memory.terms import Server as Sized
from planner.units import GIB

_FIELDS = {
    "max-model-len": "max_model_len",
    "max-num-seqs": "max_num_seqs",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "kv-cache-dtype": "kv_cache_dtype",
    "kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "dtype": "dtype",
    "tensor-parallel-size": "tensor_parallel_size",
    "pipeline-parallel-size": "pipeline_parallel_size",
    "data-parallel-size": "data_parallel_size",
    "decode-context-parallel-size": "context_parallel_size",
    "enable-expert-parallel": "expert_parallel",
    "enforce-eager": "enforce_eager",
    "block-size": "block_size",
    "enable-prefix-caching": "prefix_caching",
    "max-loras": "max_loras",
    "max-lora-rank": "max_lora_rank",
    "fully-sharded-loras": "fully_sharded_loras",
    "language-model-only": "language_model_only",
    "max-cudagraph-capture-size": "max_capture_size",
    "mamba-cache-dtype": "mamba_cache_dtype",
    "mamba-ssm-cache-dtype": "mamba_ssm_cache_dtype",
    "attention-backend": "attention_backend",
}
"""Flags that the memory model knows, and its names for them."""


class Known(Struct, frozen=True):
    """A server as the memory model sees it."""

    server: Server
    model: AskedModel
    profile: EngineProfile
    gpu: GPU

    def sized(self, flags: dict[str, Any]) -> tuple[Sized, EngineProfile]:
        """Return it with other flags, and the core of the engine that runs it."""
        given = given_flags(flags)
        drafts: Speculation | None = given.get("speculative")
        if drafts and (drafts.method in DRAFTED or (drafts.method == "mtp" and not self.model.architecture.heads)):
            del given["speculative"]  # what drafts is not known, so nothing is said of it
        return sized(self.model, self.gpu, self.profile, given)


def given_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that the memory model knows, by its names."""
    given = {_FIELDS[name]: value for name, value in flags.items() if name in _FIELDS}
    if flags.get("enable-lora"):
        given.setdefault("max_loras", 1)
    limits = flags.get("limit-mm-per-prompt")
    if isinstance(limits, dict):
        counts = {kind: one.get("count") if isinstance(one, dict) else one for kind, one in limits.items()}
        given["mm_limits"] = {str(kind): count for kind, count in counts.items() if isinstance(count, int)}
    given |= _captured(flags)
    if modules := flags.get("lora-target-modules"):
        given["lora_modules"] = tuple(modules) if isinstance(modules, list | tuple) else tuple(str(modules).split())
    if drafts := _speculation(flags):
        given["speculative"] = drafts
    if offload := flags.get("cpu-offload-gb"):
        given["cpu_offload_bytes"] = round(float(offload) * GIB)
    if flags.get("quantization") in ONLINE:
        given["quantization"] = flags["quantization"]
    if given.get("max_model_len") in ("auto", -1):
        del given["max_model_len"]
    return given


def _captured(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes that CUDA graphs are captured for, as an option or a part of ``--compilation-config`` says."""
    config = flags.get("compilation-config")
    config = config if isinstance(config, dict) else {}
    sizes = flags.get("cudagraph-capture-sizes", config.get("cudagraph_capture_sizes"))
    found: dict[str, Any] = {}
    if isinstance(sizes, list) and sizes and all(isinstance(size, int) for size in sizes):
        found["capture_sizes"] = tuple(sizes)
    if isinstance(most := config.get("max_cudagraph_capture_size"), int):
        found["max_capture_size"] = most
    return found


def _speculation(flags: Mapping[str, Any]) -> Speculation | None:
    """Return what a server drafts ahead: one option as JSON, or one for each part."""
    stated = flags.get("speculative-config")
    if isinstance(stated, str):
        try:
            stated = json.loads(stated)
        except ValueError:
            return None
    parts = {"method": "spec-method", "model": "spec-model", "num_speculative_tokens": "spec-tokens"}
    found = dict(stated) if isinstance(stated, dict) else {}
    found |= {part: flags[flag] for part, flag in parts.items() if flag in flags}
    return speculation_of(found)


def known(server: Server, gpu: GPU | None, catalog: Catalog) -> Known | str:
    """Return what is needed to size a server, or why that cannot be done."""
    if UNKNOWN.search(server.model):
        return f"the model is only known where it runs: {server.model}"
    try:
        card = gpu or (catalog.gpu(server.gpu_name) if server.gpu_name else None)
        if card is None:
            return "the file does not name the GPU; say it with --gpu"
        profile = load_profile(server.engine_version)
        model = _model(catalog, stored_at(server))
    except PlannerError as error:
        return str(error)
    unknown = [name for name in _FIELDS if UNKNOWN.search(str(server.flags.get(name, "")))]
    if unknown:
        return f"--{unknown[0]} is only known where it runs"
    if not server.model:
        return "the model is not named"
    return Known(server, model, profile, card)


def stored_at(server: Server) -> str:
    """Return the model's name; where the engine is given a folder that a platform fills, that of what it fills it with.

    Source: ``STORAGE_URI`` of KServe's storage initializer.
    """
    uri = server.environment.get("STORAGE_URI", "")
    return uri.removeprefix("hf://").split(":")[0] if uri.startswith("hf://") else server.model


def _model(catalog: Catalog, name: str) -> AskedModel:
    """Return a model by its name, by the last part of a path on another machine, or one that is alike."""
    last = PurePosixPath(name).name
    with contextlib.suppress(UnknownName):
        if not name.startswith("/"):
            return asked_model(catalog, name)
    found = None if catalog.lists(last) else alike(catalog, last)
    if found is None:
        return asked_model(catalog, last)
    architecture, quantization = stored(*found)
    return AskedModel(architecture, quantization, (f"sized like {found[1].repository}",))
