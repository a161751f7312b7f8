"""A plan as Ray Serve LLM has it: one model for the equal servers of a role, and what each machine offers to it.

Read in Ray 2.60.0: ``ray/llm/_internal/serve`` and ``ray/serve/schema.py``.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.adopt.arguments import read_arguments
from planner.artifacts.processes import Server
from planner.artifacts.quoting import json_text, slug, yaml
from planner.artifacts.replicas import kinds, replicas
from planner.artifacts.serve_args import NAMES, Argument
from planner.engine.options import EngineOptions
from planner.engine.versions import parse_version
from planner.inventory.ray import accelerator_type

RAY = "ray-serve"
"""The target."""
RAY_VERSION = "2.60.0"
RAY_ENGINE = "0.29.0"
"""The engine that ``ray[llm]`` of this version asks for."""
# What it imports of the engine is in these versions (``vllm/entrypoints/launchers/cli_args.py``) and in no others.
_ENGINES = ("0.29.0", "0.33.0")
# What Ray answers for itself: its proxy listens and stops, its executor joins the workers of several machines.
_OWN = {
    "--host", "--port", NAMES, "--shutdown-timeout", "--disable-access-log-for-endpoints", "--disable-fastapi-docs",
    "--nnodes", "--node-rank", "--master-addr", "--master-port",
}  # fmt: skip
# Options of ``vllm serve`` that neither ``AsyncEngineArgs`` nor ``FrontendArgs`` has a field for (0.29.0), and one of
# which Ray takes its own value alone.
_REFUSED = ("--api-server-count", "--config", "--grpc", "--headless", "--distributed-executor-backend")
# The names of cards that a model may ask for (``util/accelerators/accelerators.py``). Nodes offer a resource
# ``accelerator_type:NAME`` for all others too.
_KNOWN = {
    "V100", "P100", "T4", "P4", "K80", "A10G", "L4", "L40S", "A100", "H100", "H200", "H20", "B200", "B300", "GB200",
    "GB300", "RTX-PRO-6000",
}  # fmt: skip
_RENAMED = {"A10": "A10G"}  # LLMConfig.validate_accelerator_type
_SERVERS = "PLANNER_SERVERS"


class RayModel(Struct, frozen=True, kw_only=True):
    """One ``LLMConfig``: equal servers of a role are its replicas.

    ``kwargs`` are the engine's arguments by name, each as YAML. ``accelerator_type`` is empty where Ray has no name for
    the card, ``resources`` are what each of the ``workers`` of a replica takes beside its GPU, and ``resource`` is the
    one of these that only the machines planned for the role offer.
    """

    name: str
    server: str
    servers: tuple[str, ...]
    kwargs: Mapping[str, str]
    log_stats: bool
    accelerator_type: str
    resource: str
    resources: tuple[str, ...]
    workers: int
    strategy: str
    environment: Mapping[str, str]


class RayNode(Struct, frozen=True, kw_only=True):
    """What one machine offers: its planned GPUs, and how many of them are for which role, as JSON."""

    name: str
    gpu_indices: tuple[int, ...]
    resources: str


def ray_models(servers: Sequence[Server], options: EngineOptions) -> tuple[RayModel, ...]:
    """Return the models of a plan's servers, in their order."""
    return tuple(_model(group, options) for group in replicas(servers))


def ray_nodes(processes: Sequence[Server]) -> tuple[RayNode, ...]:
    """Return the machines of a plan, the first of which starts Ray; only those that run anything."""
    return tuple(_node(name, processes) for name in sorted({process.node for process in processes}))


def ray_mistakes(servers: Sequence[Server], shared: Iterable[Collection[str]], engine_version: str) -> Iterator[str]:
    """Yield what Ray Serve cannot do of a plan; ``shared`` are the servers that share a GPU with each other."""
    first, above = map(parse_version, _ENGINES)
    if not first <= parse_version(engine_version) < above:
        yield (
            f"the plan is for vLLM {engine_version}, but Ray {RAY_VERSION} imports what only 0.29 to 0.32 have "
            f"(it asks for {RAY_ENGINE} itself): plan with `engine: {{version: {RAY_ENGINE}}}`"
        )
    for names in shared:
        yield f"{' and '.join(names)} share a GPU, but Ray Serve starts all replicas at once, in no order"
    for server in servers:
        yield from (f"{server.name} {mistake}" for mistake in _mistakes(server))
    for role, count in kinds(servers).items():
        if count > 1:
            yield f"{role} has {count} kinds of servers, but Ray Serve knows one for each name of a model"


def engine_kwargs(arguments: Iterable[Argument], options: EngineOptions) -> dict[str, Any]:
    """Return the arguments as the engine's own classes hold them, by their names there, without what Ray sets."""
    kept = (argument for argument in arguments if argument.flag not in _OWN)
    found = read_arguments([word for argument in kept for word in argument.joined], options)
    return {name.replace("-", "_"): value for name, value in found.flags.items()}


def as_arguments(kwargs: Mapping[str, Any]) -> tuple[Argument, ...]:
    """Return the engine's arguments as options of a command line; the reverse of ``engine_kwargs``."""
    return tuple(_argument(name.replace("_", "-"), value) for name, value in kwargs.items())


def as_planned(arguments: Sequence[Argument], options: EngineOptions) -> tuple[Argument, ...]:
    """Return planned options as ``read_models`` reads them back."""
    (names,) = (argument for argument in arguments if argument.flag == NAMES)
    return (Argument(NAMES, names.value), *as_arguments(engine_kwargs(arguments, options)))


def read_models(config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[Argument, ...], dict[str, str]]]:
    """Yield the servers that a configuration of Ray Serve starts: name, model, options and variables.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: it was not rendered for a plan.
    """
    for application in config["applications"]:
        for model in application["args"]["llm_configs"]:
            source = model["model_loading_config"]
            told = dict(model["runtime_env"]["env_vars"])
            servers = told.pop(_SERVERS).split(",")
            if len(servers) != model["deployment_config"]["num_replicas"]:
                raise ValueError(f"{source['model_id']} has {model['deployment_config']['num_replicas']} replicas")
            arguments = (Argument(NAMES, source["model_id"]), *as_arguments(model["engine_kwargs"]))
            yield from ((server, source["model_source"], arguments, told) for server in servers)


def worker_gpus(group: Mapping[str, Any]) -> int:
    """Return how many GPUs the pods of a group of KubeRay's workers have together.

    Raises:
        ValueError, KeyError or TypeError: it was not rendered for a plan.
    """
    (container,) = group["template"]["spec"]["containers"]
    return int(group["replicas"]) * int(container["resources"]["limits"]["nvidia.com/gpu"])


def _model(group: Sequence[Server], options: EngineOptions) -> RayModel:
    server = group[0]
    kwargs = engine_kwargs(server.arguments, options)
    card = _accelerator(server.gpu_product)
    named = {variable.name: variable.value for variable in server.environment}
    resource = _resource(server.role)
    return RayModel(
        name=server.role,
        server=server.name,
        servers=tuple(one.name for one in group),
        kwargs={name: _yaml(value) for name, value in kwargs.items()},
        log_stats=not kwargs.get("disable_log_stats"),
        accelerator_type=card if card in _KNOWN else "",
        resource=resource,
        resources=(resource, *(() if card in _KNOWN else (f"accelerator_type:{card}",))),
        workers=len(server.gpu_indices) * server.node_count,
        strategy="PACK" if server.node_count > 1 else "STRICT_PACK",
        environment={**named, _SERVERS: ",".join(one.name for one in group)},
    )


def _node(name: str, processes: Sequence[Server]) -> RayNode:
    here = [process for process in processes if process.node == name]
    counts = Counter({_resource(process.role): 0 for process in here})
    for process in here:
        counts[_resource(process.role)] += len(process.gpu_indices)
    indices = sorted({index for process in here for index in process.gpu_indices})
    return RayNode(name=slug(name), gpu_indices=tuple(indices), resources=json_text(dict(sorted(counts.items()))))


def _mistakes(server: Server) -> Iterator[str]:
    flags = {argument.flag for argument in server.arguments}
    if len(server.names) > 1:
        yield f"answers to {' and '.join(server.names)}, but Ray Serve gives an engine one name"
    if ":" in server.role:
        yield "has a colon in its role, after which Ray Serve looks for an adapter"
    if server.adapters:
        yield "serves adapters, which Ray Serve loads from its own store alone"
    if "--data-parallel-size" in flags:
        yield "has data-parallel ranks, which ray.serve.llm:build_openai_app does not start"
    if server.mixed_resource:
        yield "is on a MIG slice, but Ray counts cards"
    for flag in sorted(flags.intersection(_REFUSED)):
        yield f"has {flag}, which Ray Serve does not let an engine have"


def _accelerator(product: str) -> str:
    """Return what a model asks Ray for to get a card; memory sizes are not part of it."""
    name = accelerator_type(product) or ""
    return _RENAMED.get(name, name)


def _resource(role: str) -> str:
    return f"role:{slug(role)}"


def _argument(name: str, value: object) -> Argument:
    if isinstance(value, bool):
        return Argument(f"--{'' if value else 'no-'}{name}")
    if isinstance(value, list):
        return Argument.of(f"--{name}", [str(item) for item in value])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Argument(f"--{name}", text)


def _yaml(value: object) -> str:
    """Write a value in YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return yaml(value) if isinstance(value, str) else json.dumps(value)
