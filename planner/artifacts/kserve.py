"""A plan as KServe has it: one LLMInferenceService for the equal servers of a role.

KServe starts the engine with a template of its own, which says folder, name, address and certificates, and adds what a
service has in ``VLLM_ADDITIONAL_ARGS``. The checkpoint is fetched by its storage initializer
(``kserve_storage.py`` of kserve-storage 0.21.0).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.artifacts.processes import Server
from planner.artifacts.replicas import kinds
from planner.artifacts.serve_args import NAMES
from planner.engine.versions import parse_version

KSERVE = "kserve"
"""The target."""
ADDITIONAL = "VLLM_ADDITIONAL_ARGS"
# The first engine that knows all options of KServe's template, of which --shutdown-timeout is the youngest.
_ENGINE = "0.18.0"
_REVISION = "--revision"
# Options that KServe says itself, or its storage initializer carries out.
_OWN = ("--host", "--port", NAMES, _REVISION)
# What a shell takes as it is, whether it splits the variable or reads it as a command line (``shlex.quote``).
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# hf://owner/model[:revision] (``_download_hf``); what stands behind an @ would be part of the model's name.
_URI = re.compile(r"hf://([\w.-]+/[\w.-]+)(?::([\w./-]+))?", re.ASCII)


class Service(Struct, frozen=True, kw_only=True):
    """What an LLMInferenceService starts: the plan's servers, their model, and the words behind it."""

    servers: tuple[str, ...]
    model: str
    words: tuple[str, ...]
    gpus: int
    environment: Sequence[Mapping[str, str]]


def kserve_mistakes(servers: Sequence[Server], shared: Iterable[Collection[str]], engine_version: str) -> Iterator[str]:
    """Yield what KServe cannot do of a plan; ``shared`` are the servers that share a GPU with each other."""
    if parse_version(engine_version) < parse_version(_ENGINE):
        yield f"the plan is for vLLM {engine_version}, but options of KServe's template are known from {_ENGINE} on"
    for names in shared:
        yield f"{' and '.join(names)} share a GPU, but KServe gives every pod GPUs of its own"
    counts = Counter(server.role for server in servers)
    for server in servers:
        yield from (f"{server.name} {mistake}" for mistake in _mistakes(server, counts[server.role]))
    for role, count in kinds(servers).items():
        if count > 1:
            yield f"{role} has {count} kinds of servers, but an LLMInferenceService has one, and an address of its own"


def read_service(document: Mapping[str, Any]) -> Service:
    """Return what an LLMInferenceService starts.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: it was not rendered for a plan.
    """
    name, spec = document["metadata"]["name"], document["spec"]
    servers = tuple(document["metadata"]["annotations"]["planner/servers"].split(","))
    if spec["replicas"] != len(servers):
        raise ValueError(f"{name} has {spec['replicas']} replicas")
    found = _URI.fullmatch(spec["model"]["uri"])
    if not found:
        raise ValueError(f"{name} has the model {spec['model']['uri']}")
    (container,) = spec["template"]["containers"]
    told = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    words = (*told[ADDITIONAL].split(), f"{NAMES}={spec['model']['name']}")
    tensor = f"--tensor-parallel-size={spec['parallelism']['tensor']}"
    if tensor not in words:
        raise ValueError(f"{name} has parallelism {spec['parallelism']}, and {told[ADDITIONAL]}")
    return Service(
        servers=servers,
        model=found[1],
        words=(*words, *([f"{_REVISION}={found[2]}"] if found[2] else ())),
        gpus=int(container["resources"]["limits"]["nvidia.com/gpu"]),
        environment=container["env"],
    )


def _mistakes(server: Server, replicas: int) -> Iterator[str]:
    if server.node_count > 1:
        yield "runs on several machines, whose parts KServe's template joins in a way of its own"
    if server.local:
        yield f"reads its weights from the folder {server.model}, which KServe does not have"
    elif not _URI.fullmatch(f"hf://{server.model}" + (f":{server.revision}" if server.revision else "")):
        yield f"serves {server.model}, but KServe fetches hf://OWNER/MODEL[:REVISION]"
    if len(server.names) > 1:
        yield f"answers to {' and '.join(server.names)}, but KServe gives an engine one name"
    if not _PLAIN.fullmatch(server.role):
        yield f"has the role {server.role!r}, which KServe's template does not quote for a shell"
    if server.adapters:
        yield "serves adapters, which KServe loads its own way"
    if server.spread == "node" and replicas > 1:
        yield "is on a node of its own (`spread: node`), but an LLMInferenceService has no rule for its replicas"
    for argument in server.arguments:
        if argument.flag not in _OWN and not all(map(_PLAIN.fullmatch, argument.joined)):
            yield f"has {argument.flag} {argument.text}, which a shell before the engine reads as something else"
