"""Servers that run today -> the fleet.yaml that asks for the same, so that a solve can improve it."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from planner.adopt.known import stored_at
from planner.adopt.server import Server
from planner.catalog import Catalog
from planner.catalog.stored import stored
from planner.engine.profile import load_profile
from planner.engine.settings import SETTINGS
from planner.engine.versions import parse_version
from planner.errors import InvalidConfig, PlannerError, SourceUnavailable, UnknownName, UnsupportedModel
from planner.facts.gpu import GPU
from planner.facts.variant import Model, Variant
from planner.yaml_text import yaml_text

_TASKS = ("embedding", "rerank", "vision", "code", "general", "transcription")
"""Tasks from the most special to the most general: a model's first of these is what its server is taken to do."""
_DEFAULT_SEQUENCES = 256


def to_fleet(servers: Sequence[Server], gpu: GPU, catalog: Catalog, name: str) -> tuple[str, tuple[str, ...]]:
    """Return fleet.yaml as text, and one sentence for each server or setting that it cannot say.

    The text is empty where no server can be a role.

    Each role has one candidate, the checkpoint that runs, with the server's own context, KV cache type and parallel
    sizes; its concurrency is that of the server's limit, as a target.
    """
    roles: dict[str, Any] = {}
    left: list[str] = []
    for server in servers:
        role, untold = _told(server, catalog)
        left += untold
        if role is not None:
            roles[_role_name(server, roles)] = role
            left += [f"{server.name}: --{flag} {_left_out(flag)}" for flag in server.flags if flag not in _SAID]
    if not roles:
        return "", tuple(left)
    document: dict[str, Any] = {"name": _plain(name)}
    versions = {server.engine_version for server in servers if server.engine_version}
    if len(versions) == 1:
        version = versions.pop()
        if _planned(version):
            document["engine"] = {"name": "vllm", "version": ".".join(map(str, parse_version(version)))}
        else:
            left.append(f"vllm {version} cannot be told the size of its KV cache, so the fleet names no version")
    document["gpu"] = {"name": gpu.name, "count": _gpus(servers)}
    document["roles"] = roles
    return yaml_text(document, flow=None, width=110), tuple(left)


def _told(server: Server, catalog: Catalog) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the role of a server, None where it can be none, and what it cannot say or takes for granted."""
    try:
        found = _checkpoint(server, catalog)
    except (InvalidConfig, UnsupportedModel) as error:
        return None, [f"{server.name}: {str(error).splitlines()[0]}"]
    if found is None:
        return None, [f"{server.name}: {server.model} is not in the catalog; `planner catalog add` adds it"]
    model, variant, taken_for = found
    left = [f"{server.name}: {server.model} is taken for {variant.repository}"] if taken_for else []
    role = _role(server, model, variant)
    longest = stored(model, variant)[0].longest_model_len
    if role["context"] > longest:
        left.append(f"{server.name}: the model has no more context than {longest}; {role['context']} is left out")
        role["context"] = longest
    return role, left


_SAID = frozenset(
    ("max-model-len", "max-num-seqs", "kv-cache-dtype", "tensor-parallel-size", "pipeline-parallel-size", "port",
     "host", "served-model-name", "trust-remote-code", "gpu-memory-utilization", "max-num-batched-tokens", "runner",
     "enable-auto-tool-choice", "tool-call-parser", "reasoning-parser", "enable-prefix-caching", "revision",
     "enable-chunked-prefill", "download-dir", "kv-cache-memory-bytes", "tokenizer")
)  # fmt: skip
"""Flags that are carried over, or that a plan decides itself."""
_KEYS = {
    **{option: setting.key for setting in SETTINGS for option in setting.options},
    "--data-parallel-size": "data_parallel",
    "--enable-expert-parallel": "expert_parallel",
}
"""Keys of a role that ask for what some other flags do."""


def _left_out(flag: str) -> str:
    """Say of a flag that is not carried over whether a fleet can ask for it."""
    key = _KEYS.get(f"--{flag}")
    return f"is left out; the key {key} of a role asks for it" if key else "has no key in a fleet"


def _checkpoint(server: Server, catalog: Catalog) -> tuple[Model, Variant, bool] | None:
    """Return what a server loads, and whether that is told by the name of a folder alone; None if it cannot be."""
    try:
        return *catalog.find(server.model), False
    except (SourceUnavailable, UnknownName):
        pass
    try:
        return *catalog.find(PurePosixPath(stored_at(server)).name), True
    except PlannerError:
        return None


def _planned(version: str) -> bool:
    """Whether a fleet may name an engine version: a plan fixes the size of KV caches."""
    try:
        return load_profile(version).has_kv_cache_memory_bytes
    except UnknownName:
        return False


def _role(server: Server, model: Model, variant: Variant) -> dict[str, Any]:
    flags = server.flags
    pooling = flags.get("runner") == "pooling"
    tasks = [task for task in _TASKS if task in model.tasks and (not pooling or task in _TASKS[:2])]
    role: dict[str, Any] = {
        "task": next(iter(tasks), model.tasks[0]),
        "models": [model.repository],
        "variant": variant.repository,
    }
    length = flags.get("max-model-len")
    role["context"] = length if isinstance(length, int) and length > 0 else _own_context(model)
    sequences = flags.get("max-num-seqs")
    role["concurrency"] = {"min": 1, "target": sequences if isinstance(sequences, int) else _DEFAULT_SEQUENCES}
    dtype = str(flags.get("kv-cache-dtype", "auto"))
    role["kv_cache_dtype"] = "fp8" if dtype.startswith("fp8") else "auto"
    for key, flag in (("tensor_parallel", "tensor-parallel-size"), ("pipeline_parallel", "pipeline-parallel-size")):
        role[key] = flags[flag] if isinstance(flags.get(flag), int) else 1
    port = flags.get("port")
    if isinstance(port, int) and port >= 1024 and port != 8000:
        role["port"] = port
    if server.replicas > 1:
        role["replicas"] = server.replicas
    if flags.get("trust-remote-code"):
        role["trust_remote_code"] = True
    return role


def _own_context(model: Model) -> int:
    text = model.config.get("text_config", {})
    length = model.config.get("max_position_embeddings") or text.get("max_position_embeddings") or 8192
    return int(length)


def _gpus(servers: Sequence[Server]) -> int:
    """Return how many GPUs the servers use together: those that are named, or the most that one of them splits over."""
    named = {device for server in servers for device in server.gpu_ids}
    splits = [
        int(server.flags.get("tensor-parallel-size") or 1) * int(server.flags.get("pipeline-parallel-size") or 1)
        for server in servers
        if not isinstance(server.flags.get("tensor-parallel-size"), str)
    ]
    stated = sum(server.gpus or 0 for server in servers)
    return max([len(named), stated, *splits, 1])


def _role_name(server: Server, taken: dict[str, Any]) -> str:
    names = server.flags.get("served-model-name")
    name = _plain(str(names[0]) if isinstance(names, list) and names else server.name)
    number = 2
    while name in taken:
        name, number = f"{name.rstrip('0123456789')}{number}", number + 1
    return name


def _plain(name: str) -> str:
    """Return a name as fleets and roles may have it."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63] or "fleet"
