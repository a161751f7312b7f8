"""A measured row -> what the memory model says about it."""

import functools
import json
from typing import Any

from benchmarks.memory_fidelity.table import FOLDER, Row
from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.catalog.catalog import Catalog
from planner.config_json import parse_config
from planner.config_json.quantization_config import while_loading
from planner.engine.flags import default_flags
from planner.engine.profile import EngineProfile, load_profile
from planner.facts.gpu import GPU, with_memory
from planner.facts.quantization import Quantization
from planner.memory.core import older_core, running_core
from planner.memory.estimate import Estimate, estimate
from planner.memory.started import started
from planner.memory.terms import Server
from planner.units import GIB


@functools.cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


@functools.cache
def model(name: str, config: str) -> tuple[Architecture, Quantization]:
    """Return a row's model, from its own config file or from the catalog."""
    where, data = config_of(name, config)
    return parse_config(data, where=where)


def config_of(name: str, config: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the content of a row's config.json."""
    if config:
        return config, json.loads((FOLDER / "configs" / config).read_text(encoding="utf-8"))["config"]
    base, variant = catalog().find(name)
    return variant.repository, base.config_for(variant)


def predict(row: Row) -> Estimate:
    """Return the estimate for a row; flags that are not known take the engine's defaults."""
    server, gpu, profile = described(row)
    return estimate(server, gpu, profile, round(row.in_use_gib * GIB))


def described(row: Row) -> tuple[Server, GPU, EngineProfile]:
    """Return what a row started, on which GPU, with which engine."""
    architecture, quantization = model(row.model, row.config)
    if row.quantization:
        quantization = while_loading(row.quantization)
    gpu = catalog().gpu(row.gpu)
    if row.total_gib is not None:
        gpu = with_memory(gpu, round(row.total_gib * GIB))
    profile = load_profile(row.version)
    if row.runner == "v0" and profile.runner != "v0":
        profile = older_core(profile)
    profile = running_core(
        profile,
        gpu,
        architecture,
        kv_cache_dtype=row.kv_cache_dtype,
        dtype=row.dtype,
        pipeline_parallel_size=row.pipeline_parallel_size,
    )
    architecture = started(
        architecture, {"mm_limits": row.mm_limits, "language_model_only": row.language_model_only}, profile
    )
    flags = default_flags(
        profile,
        gpu,
        architecture,
        max_model_len=row.max_model_len,
        max_num_seqs=row.max_num_seqs,
        max_num_batched_tokens=row.max_num_batched_tokens,
        gpu_memory_utilization=row.gpu_memory_utilization,
        tensor_parallel_size=row.tensor_parallel_size,
        pipeline_parallel_size=row.pipeline_parallel_size,
        data_parallel_size=row.data_parallel_size,
        expert_parallel=row.expert_parallel,
        enforce_eager=row.enforce_eager,
        dtype=row.dtype,
        quantization=row.quantization,
        kv_cache_dtype=row.kv_cache_dtype,
        prefix_caching=row.prefix_caching,
        compile_cache=row.compile_cache or None,
        max_loras=row.max_loras,
        max_lora_rank=row.max_lora_rank,
        language_model_only=row.language_model_only,
        mm_limits=row.mm_limits,
        cpu_offload_bytes=round(row.cpu_offload_gib * GIB),
    )
    return Server(architecture=architecture, quantization=quantization, flags=flags), gpu, profile
