"""Files of platforms that start vLLM: the production stack's Helm values, llama-swap, SkyPilot, a ``--config`` file."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from planner.adopt.documents import at, texts
from planner.adopt.kubernetes import Found
from planner.adopt.launch import Launch, launches
from planner.adopt.scope import Scope
from planner.adopt.shell import Command, commands

_VALUES = {
    "tensorParallelSize": "--tensor-parallel-size", "pipelineParallelSize": "--pipeline-parallel-size",
    "maxModelLen": "--max-model-len", "maxNumSeqs": "--max-num-seqs",
    "gpuMemoryUtilization": "--gpu-memory-utilization",
    "dtype": "--dtype", "maxLoras": "--max-loras", "kvCacheDtype": "--kv-cache-dtype", "runner": "--runner",
    "maxNumBatchedTokens": "--max-num-batched-tokens", "tokenizer": "--tokenizer", "revision": "--revision",
}  # fmt: skip
"""Fields of ``vllmConfig`` and the options they become (templates/deployment-vllm-multi.yaml of vllm-stack 0.1.12)."""


def helm_values(document: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the servers of the production stack's values: what its chart writes, ``extraArgs`` last."""
    for model in at(document, "servingEngineSpec", "modelSpec") or []:
        if not isinstance(model, dict):
            continue
        config = model.get("vllmConfig") if isinstance(model.get("vllmConfig"), dict) else {}
        assert isinstance(config, dict)
        words = [str(model.get("modelURL") or ""), "--host", "0.0.0.0", "--port", "8000"]
        if (chunked := config.get("enableChunkedPrefill")) is not None:
            words.append("--enable-chunked-prefill" if chunked else "--no-enable-chunked-prefill")
        words.append("--enable-prefix-caching" if config.get("enablePrefixCaching") else "--no-enable-prefix-caching")
        for key, flag in _VALUES.items():
            if config.get(key) is not None:
                words += [flag, str(config[key])]
        if model.get("enableLoRA"):
            words.append("--enable-lora")
        if model.get("enableTool") and model.get("toolCallParser"):
            words += ["--enable-auto-tool-choice", "--tool-call-parser", str(model["toolCallParser"])]
        if model.get("chatTemplate"):
            words += ["--chat-template", str(model["chatTemplate"])]
        words += texts(config.get("extraArgs"))
        image = f"{model.get('repository') or 'vllm'}:{model.get('tag') or ''}"
        gpus = model.get("requestGPU")
        name = str(model.get("name") or "")
        environment = {
            str(entry["name"]): str(entry.get("value", f"${{{entry['name']}}}"))
            for entry in model.get("env") or []
            if isinstance(entry, dict) and "name" in entry
        }
        launch = Launch(tuple(words), environment, image, name, int(str(gpus)) if str(gpus).isdigit() else None)
        replicas = model.get("replicaCount")
        yield Found(name, launch, replicas=int(str(replicas)) if str(replicas).isdigit() else 1)


def ray_serve(document: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the servers of Ray Serve's LLM application, whose ``engine_kwargs`` are the engine's options.

    Source: LLMConfig in python/ray/llm/_internal/serve, Ray 2.50.
    """
    applications = document.get("applications")
    for application in applications if isinstance(applications, list) else []:
        configs = at(application, "args", "llm_configs")
        for config in configs if isinstance(configs, list) else []:
            loading = at(config, "model_loading_config") or {}
            name = str(at(loading, "model_id") or "")
            source = at(loading, "model_source")
            words = [str(source) if isinstance(source, str) else name, *_words(at(config, "engine_kwargs"))]
            scaling = at(config, "deployment_config", "autoscaling_config", "min_replicas")
            count = at(config, "deployment_config", "num_replicas") or scaling
            replicas = int(str(count)) if str(count).isdigit() else 1
            environment = {str(key): str(value) for key, value in (at(config, "runtime_env", "env_vars") or {}).items()}
            kind = str(at(config, "accelerator_type") or "")
            yield Found(name, Launch(tuple(words), environment, name=name), replicas=replicas, gpu_name=kind)


def _words(options: object) -> Iterator[str]:
    """Yield the words that say the same as a map of options."""
    for key, value in options.items() if isinstance(options, dict) else ():
        flag = f"--{str(key).replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else flag.replace("--", "--no-", 1)
        elif isinstance(value, list):
            yield from (flag, *map(str, value))
        elif value is not None:
            yield from (flag, json.dumps(value) if isinstance(value, dict) else str(value))


def llama_swap(document: Mapping[str, Any], scope: Scope) -> Iterator[tuple[str, Launch | None]]:
    """Yield the models of llama-swap, each with its start of the engine, or None where another one serves it."""
    macros = {str(key): str(value) for key, value in (document.get("macros") or {}).items()}
    for name, model in (document.get("models") or {}).items():
        if not isinstance(model, dict):
            continue
        own = {**macros, **{str(key): str(value) for key, value in (model.get("macros") or {}).items()}}
        text = _macros(str(model.get("cmd") or ""), {**own, "MODEL_ID": str(name)})
        environment = dict(entry.split("=", 1) for entry in texts(model.get("env")) if "=" in entry)
        found = [
            launch
            for command in commands(_one_line(text), Scope(read=scope.read))
            for launch in launches(replace(command, environment={**environment, **command.environment}), scope)
        ]
        yield str(name), found[0] if found else None


def sky(document: Mapping[str, Any], name: str, scope: Scope) -> Iterator[Found]:
    """Yield the servers of a SkyPilot task, or of each replica of its service."""
    accelerators = at(document, "resources", "accelerators")
    kind, count = _accelerators(accelerators)
    environment = {str(key): str(value) for key, value in (document.get("envs") or {}).items() if value is not None}
    known = {**environment, "SKYPILOT_NUM_GPUS_PER_NODE": str(count)} if count else environment
    image = str(at(document, "resources", "image_id") or "").removeprefix("docker:")
    inner = Scope(variables=dict(known), read=scope.read)
    for command in commands(str(document.get("run") or ""), inner):
        merged = Command(command.words, {**environment, **command.environment}, command.line)
        for launch in launches(merged, inner):
            least = at(document, "service", "replica_policy", "min_replicas") or at(document, "service", "replicas")
            around = Launch(
                launch.words, launch.environment, launch.image or image, launch.name, launch.gpus or count,
                launch.gpu_ids, launch.line,
            )  # fmt: skip
            replicas = int(str(least)) if str(least).isdigit() else 1
            nodes = at(document, "num_nodes")
            yield Found(name, around, int(str(nodes)) if str(nodes).isdigit() else 1, replicas, kind)


def config_file(document: Mapping[str, Any], name: str) -> Launch:
    """Return the start that a ``vllm serve --config`` file describes by itself."""
    return Launch(("--config", name))


def _accelerators(value: object) -> tuple[str, int | None]:
    """Return the kind of GPU named and its number: ``L4:1``, ``{L4: 1}``; of several, ``[L4:1, A10G:1]``, no kind."""
    several = isinstance(value, dict | list) and len(value) > 1
    first = next(iter(value), "") if isinstance(value, dict | list) else value
    if isinstance(value, dict) and isinstance(value.get(first), int):
        return "" if several else str(first), int(value[first])
    kind, _, count = str(first or "").partition(":")
    return "" if several else kind, int(count) if count.isdigit() else 1 if kind else None


def _macros(text: str, macros: Mapping[str, str]) -> str:
    """Put llama-swap's macros in; ``${PORT}`` and others that only it knows stay."""
    for _ in range(8):
        put = re.sub(r"\$\{([\w-]+)\}", lambda match: macros.get(match[1], match[0]), text)
        if put == text or len(put) > 1 << 18:
            break
        text = put
    return text


def _one_line(text: str) -> str:
    """Return a command of several lines as one: llama-swap splits it itself, and drops lines of comments."""
    lines = [line.rstrip().removesuffix("\\") for line in text.splitlines() if not line.lstrip().startswith("#")]
    return " ".join(lines)
