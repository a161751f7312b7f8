"""Kubernetes manifests: pods of any workload, groups of LeaderWorkerSet, and KServe's services with their runtimes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.adopt.documents import at, texts
from planner.adopt.launch import Launch, image_launches
from planner.adopt.scope import Scope, Value
from planner.adopt.templates import show

_REFERENCE = re.compile(r"\$\((\w+)\)|\$\$")
_GPU = re.compile(r"(?:nvidia\.com/(?:gpu|mig-.+)|amd\.com/gpu)$")
_OWN_NAMES = ("--model_id", "--model_name", "--model_dir", "--backend", "--return_token_type_ids")
_OWN = re.compile(rf"(?:{'|'.join(_OWN_NAMES)})=")
_DEEPEST = 20
_PODS = {
    "Pod": ("spec",), "Deployment": ("spec", "template", "spec"), "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"), "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"), "Rollout": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}  # fmt: skip
"""Kind -> where the pod's own specification is."""


class Found(Struct, frozen=True):
    """A start in a manifest, and over how many nodes and in how many copies it runs."""

    name: str
    launch: Launch
    nodes: int = 1
    replicas: int = 1
    gpu_name: str = ""


def manifests(documents: Sequence[Mapping[str, Any]], scope: Scope) -> Iterator[Found]:
    """Yield the starts of the engine in the documents of one or several files, which belong together."""
    maps = _config_maps(documents)
    for document in documents:
        kind = document.get("kind")
        if path := _PODS.get(str(kind)):
            for found in _pod(at(document, *path), maps, scope):
                yield _with(found, replicas=_count(at(document, "spec", "replicas")))
        elif kind == "LeaderWorkerSet":
            yield from _group(document, maps, scope)
        elif kind == "InferenceService":
            yield from _service(document, documents, maps, scope)
        elif kind == "LLMInferenceService":
            yield from _llm_service(document, maps, scope)
        elif kind == "Model" and str(at(document, "spec", "engine")).upper() == "VLLM":
            yield _kubeai(document)
        elif kind not in ("ServingRuntime", "ClusterServingRuntime"):
            name = str(at(document, "metadata", "name") or "")
            yield from (_named(found, name) for pod in _pods(document, 0) for found in _pod(pod, maps, scope))


def _group(document: Mapping[str, Any], maps: Mapping[str, dict[str, str]], scope: Scope) -> Iterator[Found]:
    template = at(document, "spec", "leaderWorkerTemplate")
    size = _count(at(template, "size"))
    worker = at(template, "workerTemplate", "spec")
    leader = at(template, "leaderTemplate", "spec") or worker
    inside = Scope(variables={"LWS_GROUP_SIZE": str(size)}, read=scope.read)
    for found in _pod(leader, maps, inside):
        gpus = (found.launch.gpus or 0) * size
        found = replace(found, launch=replace(found.launch, gpus=gpus or None))
        yield _with(found, nodes=size, replicas=_count(at(document, "spec", "replicas")))


def _service(
    document: Mapping[str, Any],
    documents: Sequence[Mapping[str, Any]],
    maps: Mapping[str, dict[str, str]],
    scope: Scope,
) -> Iterator[Found]:
    """A service's own container, or that of its runtime with the service's arguments behind its own."""
    name = str(at(document, "metadata", "name") or "")
    predictor = at(document, "spec", "predictor")
    model = at(predictor, "model")
    if not isinstance(model, dict):
        yield from (_named(found, name) for found in _pod(predictor, maps, scope))
        return
    wanted = model.get("runtime")
    runtimes = [one for one in documents if one.get("kind") in ("ServingRuntime", "ClusterServingRuntime")]
    runtime = next((one for one in runtimes if wanted in (None, at(one, "metadata", "name"))), None)
    containers = at(runtime, "spec", "containers") or [{"image": "vllm"}]
    if runtime is None and at(model, "modelFormat", "name") == "huggingface":
        model = {**model, "args": _of_hugging_face(texts(model.get("args")), name)}
    container = dict(containers[0]) if isinstance(containers, list) and isinstance(containers[0], dict) else {}
    merged = {
        **container,
        "command": model.get("command") or container.get("command"),
        "args": [*texts(container.get("args")), *texts(model.get("args"))],
        "env": [
            *({"name": "STORAGE_URI", "value": uri} for uri in [model.get("storageUri")] if uri),
            *(container.get("env") or []),
            *(model.get("env") or []),
        ],
        "resources": model.get("resources") or container.get("resources"),
    }
    filled = _filled(merged, name)
    replicas = _count(at(predictor, "minReplicas"))
    for found in _container(filled, maps, scope):
        yield _with(_named(found, name), replicas=replicas)


def _llm_service(document: Mapping[str, Any], maps: Mapping[str, dict[str, str]], scope: Scope) -> Iterator[Found]:
    name = str(at(document, "metadata", "name") or "")
    spec = document.get("spec")
    uri = str(at(spec, "model", "uri") or "")
    tensor = at(spec, "parallelism", "tensor")
    model, _, revision = uri.removeprefix("hf://").partition(":") if uri.startswith("hf://") else (uri, "", "")
    extra = ["--model", model] if model else []
    extra += ["--revision", revision] if revision else []
    extra += ["--tensor-parallel-size", str(tensor)] if tensor else []
    template = at(spec, "template")
    containers = at(template, "containers")
    for container in containers if isinstance(containers, list) else []:
        if at(container, "name") == "main":  # added to the command of KServe's own template
            extra += str(_environment(container, maps).get("VLLM_ADDITIONAL_ARGS", "")).split()
    for found in _pod(template, maps, scope, extra):
        yield _with(_named(found, name), replicas=_count(at(spec, "replicas")))


def _pods(value: object, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the pods in a document of any other kind."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("containers"), list):
        yield value
    elif depth < _DEEPEST:
        for one in inner:
            yield from _pods(one, depth + 1)


def _kubeai(document: Mapping[str, Any]) -> Found:
    """Return the server of a model of KubeAI.

    Source: ``vLLMPodForModel`` in internal/modelcontroller/engine_vllm.go, KubeAI 0.21: the model, its name, ``args``.
    """
    name = str(at(document, "metadata", "name") or "")
    spec = document["spec"]
    url = str(spec.get("url") or "")
    model = re.sub(r"^\w+://", "", url) if url.startswith("hf://") else "/model"
    profile, _, count = str(spec.get("resourceProfile") or "").partition(":")
    environment = {str(key): str(value) for key, value in (at(spec, "env") or {}).items()}
    words = ["--model", model, "--served-model-name", name, *texts(spec.get("args"))]
    gpus = int(count) if count.isdigit() and "gpu" in profile else None
    return Found(name, Launch(tuple(words), environment, "", name, gpus), replicas=_count(spec.get("minReplicas")))


def _of_hugging_face(words: Sequence[str], name: str) -> list[str]:
    """Return the engine's words of KServe's own server, which names model and checkpoint its own way.

    Source: python/huggingfaceserver/huggingfaceserver/__main__.py of KServe 0.15; what it does not know goes to vLLM.
    """
    joined = dict(word.removeprefix("--").split("=", 1) for word in words if _OWN.match(word))
    rest = [word for word in words if not _OWN.match(word)]
    for index, word in enumerate(list(rest)):
        if word in _OWN_NAMES and index + 1 < len(rest):
            joined[word.removeprefix("--")] = rest[index + 1]
            rest[index : index + 2] = ["", ""]
    model = joined.get("model_id") or joined.get("model_dir") or "/mnt/models"
    return ["--model", model, "--served-model-name", joined.get("model_name", name), *(word for word in rest if word)]


def _filled(container: dict[str, Any], name: str) -> dict[str, Any]:
    """Put in what KServe fills: ``{{.Name}}`` is the service's name."""
    words = [re.sub(r"\{\{\s*\.Name\s*\}\}", name, show(word)) for word in texts(container.get("args"))]
    return {**container, "args": words}


def _config_maps(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found = {}
    for document in documents:
        data = document.get("data")
        if document.get("kind") == "ConfigMap" and isinstance(data, dict):
            found[str(at(document, "metadata", "name"))] = {str(key): str(value) for key, value in data.items()}
    return found


def _pod(spec: object, maps: Mapping[str, dict[str, str]], scope: Scope, extra: Sequence[str] = ()) -> Iterator[Found]:
    containers = at(spec, "containers")
    selector = at(spec, "nodeSelector") or {}
    product = next(
        (str(value) for key, value in selector.items() if str(key).endswith(("gpu.product", "gke-accelerator"))), ""
    )
    for container in containers if isinstance(containers, list) else []:
        if isinstance(container, dict):
            given = {**container, "args": [*texts(container.get("args")), *extra]} if extra else container
            for found in _container(given, maps, scope):
                yield _with(found, gpu_name=product)


def _container(container: Mapping[str, Any], maps: Mapping[str, dict[str, str]], scope: Scope) -> Iterator[Found]:
    name = str(container.get("name") or "")
    environment = _environment(container, maps)
    variables = {**scope.variables, **environment}
    entrypoint = [_expanded(word, variables) for word in texts(container.get("command"))]
    arguments = [_expanded(word, variables) for word in texts(container.get("args"))]
    around = Launch((), environment, str(container.get("image") or ""), name, _gpus(container))
    inner = Scope(variables=variables, read=scope.read, depth=scope.depth + 1)
    for launch in image_launches(entrypoint, arguments, around, inner):
        yield Found(name, launch)


def _environment(container: Mapping[str, Any], maps: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """Return a container's variables: those of its ConfigMaps, then its own; secrets stay ``${NAME}``."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        found |= maps.get(str(at(source, "configMapRef", "name")), {})
    for entry in container.get("env") or []:
        if not isinstance(entry, dict) or "name" not in entry:
            continue
        name, value = str(entry["name"]), entry.get("value")
        key = at(entry, "valueFrom", "configMapKeyRef")
        if value is None and isinstance(key, dict):
            value = maps.get(str(key.get("name")), {}).get(str(key.get("key")))
        found[name] = _expanded(str(value), found) if value is not None else f"${{{name}}}"
    return found


def _expanded(text: str, environment: Mapping[str, Value]) -> str:
    """Put in ``$(NAME)``, which Kubernetes does before any shell sees it; unknown names stay as they are."""
    return _REFERENCE.sub(
        lambda match: "$" if not match[1] else str(environment.get(match[1], f"${{{match[1]}}}")), text
    )


def _gpus(container: Mapping[str, Any]) -> int | None:
    for part in ("limits", "requests"):
        for name, value in (at(container, "resources", part) or {}).items():
            if _GPU.match(str(name)) and str(value).isdigit():
                return int(str(value))
    return None


def _count(value: object) -> int:
    return int(str(value)) if str(value).isdigit() and int(str(value)) > 0 else 1


def _with(found: Found, *, nodes: int | None = None, replicas: int | None = None, gpu_name: str = "") -> Found:
    return Found(found.name, found.launch, nodes or found.nodes, replicas or found.replicas, gpu_name or found.gpu_name)


def _named(found: Found, name: str) -> Found:
    return Found(name or found.name, found.launch, found.nodes, found.replicas, found.gpu_name)
