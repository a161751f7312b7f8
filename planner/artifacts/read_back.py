"""Rendered files -> the engine's command lines in them, as the program that runs each file would read them.

The proof that nothing was lost on the way: what stands in a script, a Compose file or a unit is parsed again from the
file itself, not taken from the plan it was rendered from.
"""

import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field
from msgspec.structs import replace

from planner.artifacts.kserve import read_service
from planner.artifacts.quoting import label
from planner.artifacts.ray import read_models, worker_gpus
from planner.artifacts.serve_args import Argument
from planner.errors import InputError, Problem

WORKER = " worker"
"""What the workers of a server in a cluster are called beside its name: they are one template, however many."""
_RANKS = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
"""Options whose product is the GPUs of a server on one machine."""
_SYSTEMD_WORDS = re.compile(r"\"((?:\\.|[^\"\\])*)\"|([^\s\"]+)", re.S)
_SYSTEMD_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.S)


class Command(Struct, frozen=True):
    """One engine's start as a file has it: server, model, options, and the GPUs it is given.

    ``server`` is spelled as the target spells it. ``gpu_indices`` is None where the target leaves the choice of GPUs to
    the cluster. ``environment`` are its variables, those of the artifacts included.
    """

    server: str
    model: str
    arguments: tuple[Argument, ...]
    gpu_indices: tuple[int, ...] | None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu_count(self) -> int:
        """The GPUs that the ranks of the engine take on one machine."""
        return math.prod(int(argument.value) for argument in self.arguments if argument.flag in _RANKS)


def read_back(folder: Path) -> dict[str, tuple[Command, ...]]:
    """Return the commands in every file of a rendered folder that starts servers, by the file's path in it.

    Raises:
        InputError: the folder has no such file, or one is not what was rendered.
    """
    found: dict[str, tuple[Command, ...]] = {}
    for target, read in _READERS.items():
        for path in sorted(path for path in folder.glob(target) if path.is_file()):
            name = path.relative_to(folder).as_posix()
            try:
                commands = tuple(read(path))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
                message = f"cannot be read back: {error}"
                raise InputError((Problem(str(path), 0, 0, "", message, "render it again"),)) from error
            if commands:
                found[name] = commands
    if not found:
        raise InputError((Problem(str(folder), 0, 0, "", "has no rendered files", "`planner solve` writes them"),))
    return found


def _script(path: Path) -> Iterator[Command]:
    """Read the table of ``launch.sh``: one ``case`` branch for each server."""
    text = path.read_bytes().decode()  # as bash sees it: a lone carriage return is part of a name
    for match in re.finditer(r"^    ([A-Za-z0-9._-]+)\)\n(.*?)^      arguments=\(\n", text, re.M | re.S):
        gpus = re.search(r"^      gpus=\(([0-9 ]+)\)$", match[2], re.M)
        words = shlex.split(_before_parenthesis(text[match.end() :]))
        told = re.search(r"^      environment=\(", match[2], re.M)
        variables = shlex.split(_before_parenthesis(match[2][told.end() :])) if told else []
        yield _command(match[1], words, gpus[1].split() if gpus else [], _variables(variables))


def _before_parenthesis(text: str) -> str:
    """Return the text up to the parenthesis that ends an array, which is the first outside quotes."""
    quote = ""
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == ")":
            return text[:position]
    raise ValueError("an array has no end")


def _compose(path: Path) -> Iterator[Command]:
    """Read the services that run the gate; a dollar is doubled, a device may be pinned by a variable."""
    services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        words = [str(word).replace("$$", "$") for word in service.get("command", [])]
        if "vllm" not in words:
            continue
        devices = service["deploy"]["resources"]["reservations"]["devices"]
        ids = [_default(str(one)) for device in devices for one in device["device_ids"]]
        told = {key: str(value).replace("$$", "$") for key, value in service.get("environment", {}).items()}
        yield _command(name, _after_serve(words), ids, told)


def _swap(path: Path) -> Iterator[Command]:
    """Read the models of llama-swap, whose commands are split as a shell does; the gate is told the GPUs."""
    for name, model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"].items():
        words = shlex.split(model["cmd"])
        gpus = [words[index + 1] for index, word in enumerate(words) if word == "--gpu"]
        told = dict(pair.split("=", 1) for pair in model["env"])
        yield _command(name, _after_serve(words), gpus, told)


def _unit(path: Path) -> Iterator[Command]:
    """Read one unit of systemd (``ExecStart``) or of Podman (``Exec``, ``AddDevice``)."""
    text = path.read_text(encoding="utf-8")
    lines = re.search(r"^Exec(?:Start)?=((?:.*\\\n)*.*)$", text, re.M)
    words = systemd_words(lines[1].replace("\\\n", " ")) if lines else []
    if "vllm" in words:
        (target,) = path.parent.glob("*.target")
        gpus = [words[index + 1] for index, word in enumerate(words) if word == "--gpu"]
        gpus += re.findall(r"^AddDevice=nvidia\.com/gpu=([0-9]+)$", text, re.M)
        settings = (_settings(line) for line in re.findall(r"^Environment=(.*)$", text, re.M))
        told = _variables(word for words in settings for word in words)
        yield _command(path.stem.removeprefix(f"{target.stem}--"), _after_serve(words), gpus, told)


def _deployments(path: Path) -> Iterator[Command]:
    """Read the servers of every Deployment; each is a container, sidecars first, or all are processes of one.

    The locks say which of the pod's GPUs a server is on.
    """
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document and document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            asked, locks = 0, set[int]()
            for container in (*pod.get("initContainers", ()), *pod["containers"]):
                resources = container["resources"]
                asked += len(resources.get("claims", ())) or resources["limits"]["nvidia.com/gpu"]
                for command in container_commands(container):
                    name = command.server
                    locks.update(command.gpu_indices or ())
                    yield from (replace(command, server=label(server)) for server in _replicas(document, name))
            if "initContainers" not in pod and asked != len(locks):
                raise ValueError(f"{document['metadata']['name']} asks for {asked} GPUs, not {len(locks)}")


def _replicas(document: Mapping[str, Any], name: str) -> list[str]:
    """Return the servers of the plan, one for each replica of an object, that have a name in its pods."""
    notes = document["metadata"].get("annotations", {})
    servers: list[str] = notes.get(f"servers.planner/{label(name)}", name).split(",")
    if len(servers) != document["spec"]["replicas"]:
        raise ValueError(f"{name} has {document['spec']['replicas']} replicas")
    return servers


def container_commands(container: Mapping[str, Any]) -> Iterator[Command]:
    """Yield the servers of a pod's container by the names they have there; the locks say which GPUs of the pod.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: it was not rendered for a plan.
    """
    for name, words in _processes(container):
        locks = [word.rpartition("-")[2] for word in words if word.startswith("--lock=")]
        told = _listed(container["env"]) | _told(words)
        command = _command(name, _after_serve(words), locks, told)
        if len(locks) != command.gpu_count:
            raise ValueError(f"{name} has locks of {len(locks)} GPUs, not {command.gpu_count}")
        yield command


def group_command(container: Mapping[str, Any], suffix: str) -> Command:
    """Return what a pod of a LeaderWorkerSet starts; ``suffix`` is WORKER for all but the leader.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: it was not rendered for a plan.
    """
    words = [str(word).replace("$$", "$") for word in (*container["args"], *_first_rank(container["command"]))]
    return _command(container["name"] + suffix, _after_serve(words), None, _listed(container["env"]))


def chart_command(container: Mapping[str, Any], server: str) -> Command:
    """Return what a pod of the production stack's chart starts, with what the chart says of its own.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: it is no such pod.
    """
    words = [str(word).replace("$$", "$") for word in (*(container.get("command") or ()), *(container["args"] or ()))]
    return _command(server, _after_serve(words), None, _listed(container["env"]))


def _processes(container: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the command line of each server in a container; a dollar is doubled."""
    words = [str(word).replace("$$", "$") for word in container["args"]]
    if words[0] != "--next":
        yield container["name"], words
        return
    starts = [place for place, word in enumerate(words) if word == "--next"]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        yield words[start + 1], words[start + 2 : end]


def _told(words: list[str]) -> dict[str, str]:
    """Return the variables that ``env`` sets before the engine."""
    after = words[words.index("--") + 1 : words.index("vllm")]
    return _variables(after[1:] if after[:1] == ["env"] else ())


def _groups(path: Path) -> Iterator[Command]:
    """Read the leader and the workers of every server of a LeaderWorkerSet; each pod has GPUs of its own."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document and document["kind"] == "LeaderWorkerSet":
            templates = document["spec"]["leaderWorkerTemplate"]
            for template, suffix in (("leaderTemplate", ""), ("workerTemplate", WORKER)):
                (container,) = templates[template]["spec"]["containers"]
                command = group_command(container, suffix)
                for server in _replicas(document, container["name"]):
                    yield replace(command, server=label(server) + suffix)


def _first_rank(command: list[str]) -> list[str]:
    """Return the option that the command of a worker works out from its place in the group, as the first has it."""
    found = [re.search(r"--data-parallel-start-rank=\$+\(\(LWS_WORKER_INDEX \* (\d+)\)\)", word) for word in command]
    return [f"--data-parallel-start-rank={match[1]}" for match in found if match]


def _values(path: Path) -> Iterator[Command]:
    """Read the engines of the production stack's chart, which sets address and port itself."""
    stack = yaml.safe_load(path.read_text(encoding="utf-8"))["servingEngineSpec"]
    for engine in stack["modelSpec"]:
        words = [str(word).replace("$$", "$") for word in engine["vllmConfig"]["extraArgs"]]
        words.append(f"--tensor-parallel-size={engine['vllmConfig']['tensorParallelSize']}")
        first, *others = engine["podAnnotations"]["planner/servers"].split(",")
        if engine["replicaCount"] != len(others) + 1:
            raise ValueError(f"{engine['name']} has {engine['replicaCount']} replicas")
        command = _command(label(first), [engine["modelURL"], *words], None, _listed(engine["env"]))
        if engine["requestGPU"] != command.gpu_count:
            raise ValueError(f"{engine['name']} asks for {engine['requestGPU']} GPUs")
        yield command
        yield from (replace(command, server=label(other)) for other in others)


def _ray(path: Path) -> Iterator[Command]:
    """Read the models of Ray Serve, of which KubeRay's object beside this file must have the same."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    service = next(yaml.safe_load_all((path.parent / "rayservice.yaml").read_text(encoding="utf-8")))
    if yaml.safe_load(service["spec"]["serveConfigV2"])["applications"] != config["applications"]:
        raise ValueError("rayservice.yaml has other models")
    commands = [Command(server, model, arguments, None, told) for server, model, arguments, told in read_models(config)]
    asked = sum(map(worker_gpus, service["spec"]["rayClusterConfig"]["workerGroupSpecs"]))
    if asked != sum(command.gpu_count for command in commands):
        raise ValueError(f"rayservice.yaml asks for {asked} GPUs")
    yield from commands


def _kserve(path: Path) -> Iterator[Command]:
    """Read the services of KServe, each of which starts equal servers."""
    for document in filter(None, yaml.safe_load_all(path.read_text(encoding="utf-8"))):
        service = read_service(document)
        command = _command("", [service.model, *service.words], None, _listed(service.environment))
        if service.gpus != command.gpu_count:
            raise ValueError(f"{', '.join(service.servers)} asks for {service.gpus} GPUs")
        yield from (replace(command, server=server) for server in service.servers)


def _listed(entries: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the variables of a container that have a value of their own; a dollar is doubled."""
    return {entry["name"]: entry["value"].replace("$$", "$") for entry in entries if "value" in entry}


def _variables(words: Iterable[str]) -> dict[str, str]:
    """Return ``NAME=value`` as names and values."""
    return dict(word.split("=", 1) for word in words)


def _settings(line: str) -> list[str]:
    """Split and unescape an ``Environment=`` line, in which a dollar has no meaning."""
    return [_unquoted(match).replace("%%", "%") for match in _SYSTEMD_WORDS.finditer(line)]


def systemd_words(line: str) -> list[str]:
    """Split and unescape an ``Exec…=`` line (systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting")."""
    words = [_unquoted(match) for match in _SYSTEMD_WORDS.finditer(line)]
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def _unquoted(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[2]
    return _SYSTEMD_ESCAPE.sub(lambda escape: _escaped(escape[1]), match[1])


def _escaped(text: str) -> str:
    r"""Return the character that stands behind a backslash; the templates write no letter escapes such as ``\n``."""
    return text if len(text) == 1 else chr(int(text[1:], 16))


def _command(server: str, words: list[str], gpus: list[str] | None, environment: Mapping[str, str]) -> Command:
    """Read a model and its options, ``--flag value``, ``--flag=value`` or ``--flag value value``."""
    model, *rest = words
    arguments = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"{server}: {word!r} is neither an option nor its value")
        flag, _, value = word.partition("=")
        if "=" not in word and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        more = []
        while value and "=" not in word and rest and not rest[0].startswith("--"):
            more.append(rest.pop(0))
        arguments.append(Argument(flag, _variable(value), tuple(more)))
    indices = None if gpus is None else tuple(int(index) for index in gpus)
    return Command(server, model, tuple(arguments), indices, environment)


def _after_serve(words: list[str]) -> list[str]:
    start = words.index("vllm")
    if words[start + 1] != "serve":
        raise ValueError(f"vllm {words[start + 1]} is not vllm serve")
    return words[start + 2 :]


def _variable(text: str) -> str:
    """Return the name of the variable that holds a value, such as the address of a machine; else the value itself."""
    match = re.fullmatch(r"\$[{(]((?:PLANNER|LWS|VLLM_HOST)_[A-Z0-9_]+)(?::[-?][^})]*)?[})]", text)
    return match[1] if match else text


def _default(text: str) -> str:
    """Return what ``${NAME:-default}`` is without the variable."""
    match = re.fullmatch(r"\$\{\w+:-(.*)\}", text)
    return match[1] if match else text


_Reader = Callable[[Path], Iterator[Command]]
_READERS: dict[str, _Reader] = {
    "launch.sh": _script,
    "compose.yaml": _compose,
    "llama-swap/config.yaml": _swap,
    "systemd/*.service": _unit,
    "quadlet/*.container": _unit,
    "kubernetes/fleet/servers.yaml": _deployments,
    "kubernetes/fleet/groups.yaml": _groups,
    "helm-values/values.yaml": _values,
    "ray-serve/serve.yaml": _ray,
    "kserve/services.yaml": _kserve,
}
