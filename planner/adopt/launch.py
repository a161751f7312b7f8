"""Command lines -> the engine's part of them: behind wrappers, inside ``bash -c``, in a container that they start."""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from planner.adopt.scope import Scope
from planner.adopt.shell import Command, commands

_MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server")
_SHELLS = ("sh", "bash", "dash", "zsh", "ash")
_PYTHON = re.compile(r"python[\d.]*$")
_WRAPPERS = frozenset(
    ("exec", "nohup", "sudo", "time", "nice", "setsid", "stdbuf", "command", "env", "numactl", "ionice", "tini",
     "dumb-init", "catchsegv", "xvfb-run", "timeout", "taskset", "chrt", "gosu", "su-exec", "uv", "poetry", "pipenv",
     "conda", "micromamba", "pixi", "srun", "screen", "nvidia_entrypoint.sh", "--", "ray")
)  # fmt: skip
"""Programs that run what follows their own words."""
_TAKE_LINES = ("tmux", "ssh", "su", "runuser", "script")
"""Programs that run a line of a shell which they are given as one word."""
_TELLING = ("--model", "--max-model-len", "--gpu-memory-utilization", "--tensor-parallel-size", "--served-model-name")
"""Options by which the engine's command line is known where nothing else names it."""
_CONTAINERS = ("docker", "podman", "nerdctl")
_DOCKER_WORDS = """
    -a --add-host --annotation --attach --blkio-weight --cap-add --cap-drop --cgroup-parent --cgroupns --cgroups
    --cidfile --cpu-period --cpu-quota --cpu-shares -c --cpus --cpuset-cpus --cpuset-mems --device
    --device-cgroup-rule --dns --dns-search --domainname --entrypoint -e --env --env-file --expose --gpus
    --group-add --health-cmd --health-interval --health-retries --health-start-period --health-timeout -h --hostname
    --ip --ip6 --ipc --isolation -l --label --label-file --link --log-driver --log-opt --mac-address -m --memory
    --memory-reservation --memory-swap --memory-swappiness --mount --name --network --net --network-alias
    --oom-score-adj --pid --pids-limit --platform --pod -p --publish --pull --restart --runtime --secret
    --security-opt --shm-size --stop-signal --stop-timeout --storage-opt --sysctl --systemd --tmpfs --ulimit -u
    --user --userns --uts -v --volume --volume-driver --volumes-from -w --workdir
"""
_DOCKER_VALUES = frozenset(_DOCKER_WORDS.split())
"""Options of ``docker run`` and ``podman run`` that take the next word (their reference pages, Docker 28, Podman 5)."""


class Launch(Struct, frozen=True):
    """One start of the engine: the words it is given and what is around them.

    ``gpus`` is how many GPUs it sees, ``gpu_ids`` which, both as far as they are said. ``module`` is a start of the API
    server's module instead of the command.
    """

    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    image: str = ""
    name: str = ""
    gpus: int | None = None
    gpu_ids: tuple[str, ...] = ()
    line: int = 0
    module: bool = False


def launches(command: Command, scope: Scope) -> Iterator[Launch]:
    """Yield every start of the engine in one command; scripts it calls are followed where they are at hand.

    What waits for something and then runs what stands behind ``--`` is looked through, and what does so for several
    commands, each after a ``--next``, as the plan's own pods do.
    """
    words, environment = _unwrapped(command.words, dict(command.environment))
    found = list(_started(command, words, environment, scope))
    for part in _split(words, "--next") if not found else ():
        if "--" in part:
            found += launches(Command(tuple(part[part.index("--") + 1 :]), environment, command.line), scope)
    yield from found


def _split(words: list[str], separator: str) -> Iterator[list[str]]:
    """Yield the words between separators."""
    places = [place for place, word in enumerate(words) if word == separator]
    for first, last in zip([0, *(place + 1 for place in places)], [*places, len(words)], strict=True):
        yield words[first:last]


def _started(command: Command, words: list[str], environment: dict[str, str], scope: Scope) -> Iterator[Launch]:
    if not words:
        return
    program = words[0].rsplit("/", 1)[-1]
    if program == "vllm" and words[1:2] == ["serve"]:
        yield Launch(tuple(words[2:]), environment, line=command.line)
    elif _PYTHON.match(program) and (after := _after_module(words)) is not None:
        yield Launch(tuple(after), environment, line=command.line, module=True)
    elif program in _SHELLS:
        yield from _in_shell(words, environment, scope, command.line)
    elif program in _CONTAINERS and "run" in words[:4]:
        yield from _in_container(words[words.index("run") + 1 :], environment, scope, command.line)
    elif program in _TAKE_LINES:
        for word in words[1:]:
            if " " in word.strip() and "vllm" in word:
                yield from _script(word, [], environment, scope, command.line)
    elif (script := scope.read(words[0])) is not None and not words[0].endswith((".py", ".yaml", ".yml")):
        yield from _script(script, words[1:], environment, scope, command.line)


def engine_image(image: str) -> bool:
    """Whether an image starts the engine's API server by itself."""
    others = r"router|production-stack|lmcache-server|exporter"
    return "vllm" in image and not re.search(others, image)


def image_launches(
    entrypoint: Sequence[str], arguments: Sequence[str], around: Launch, scope: Scope
) -> Iterator[Launch]:
    """Yield the starts of a container: its own words, or those of its image when it names no program."""
    words = list(arguments)
    if not entrypoint and (engine_image(around.image) or _engine_words(around.image, words)):
        module = _after_module(words)
        if words[:2] == ["vllm", "serve"]:
            words = words[2:]
        if module is not None or not words or words[0].startswith("-") or _is_model(words[0]):
            yield replace(around, words=tuple(words if module is None else module), module=module is not None)
            return
    command = Command((*entrypoint, *arguments), around.environment, around.line)
    for found in launches(command, scope):
        yield replace(
            found,
            image=found.image or around.image,
            name=found.name or around.name,
            gpus=found.gpus or around.gpus,
            gpu_ids=found.gpu_ids or around.gpu_ids,
            environment={**around.environment, **found.environment},
        )


def _engine_words(image: str, words: Sequence[str]) -> bool:
    """Whether the words of an image that is not known yet are the engine's."""
    unknown = not image.isascii() or "$" in image
    return unknown and any(word.partition("=")[0] in _TELLING for word in words)


def gpu_ids(text: str) -> tuple[str, ...]:
    """Return the devices that ``device=0,1``, ``0,1`` or CUDA_VISIBLE_DEVICES name."""
    inner = text.strip("\"' ").removeprefix("device=")
    return tuple(part.strip() for part in inner.split(",") if part.strip()) if inner and inner != "all" else ()


def first_gpus(count: int) -> tuple[str, ...]:
    """Return the devices that Docker gives a container which asks for a number: the first ones, to every container.

    Source: daemon/nvidia_linux.go of Docker 28.
    """
    return tuple(str(index) for index in range(min(count, 64)))


def _is_model(word: str) -> bool:
    """Whether the first word after an image is the model, and no program."""
    program = word.rsplit("/", 1)[-1]
    known = (*_SHELLS, *_WRAPPERS, "vllm", "sleep", "tail", "ray", "nvidia-smi", "true")
    return not (program in known or _PYTHON.match(program) or program.endswith((".sh", ".py")))


def _unwrapped(given: Sequence[str], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return a command without what only runs it, and the environment that is set on the way."""
    words = list(given)
    while words:
        if assigned := re.fullmatch(r"(\w+)=(.*)", words[0], re.S):
            environment[assigned[1]] = assigned[2]
            words = words[1:]
        elif words[0].rsplit("/", 1)[-1] in _WRAPPERS:
            at = next((index for index in range(1, len(words)) if _begins(words, index)), len(words))
            environment |= dict(word.split("=", 1) for word in words[1:at] if re.match(r"\w+=", word))
            words = words[at:]
        else:
            break
    return words, environment


def _begins(words: list[str], index: int) -> bool:
    """Whether the engine, a shell or a container begins at a word."""
    program = words[index].rsplit("/", 1)[-1]
    after = words[index + 1 : index + 2]
    if program == "vllm":
        return after == ["serve"]
    if _PYTHON.match(program):
        return _after_module(words[index:]) is not None
    return (program in _SHELLS and bool(after)) or (program in _CONTAINERS and after == ["run"])


def _after_module(words: list[str]) -> list[str] | None:
    for index, word in enumerate(words):
        if word == "-m" and words[index + 1 : index + 2] and words[index + 1] in _MODULES:
            return words[index + 2 :]
        if word.startswith("-m") and word[2:] in _MODULES:
            return words[index + 1 :]
        if word.endswith("vllm/entrypoints/openai/api_server.py"):
            return words[index + 1 :]
    return None


def _in_shell(words: list[str], environment: dict[str, str], scope: Scope, line: int) -> Iterator[Launch]:
    """Follow ``bash -c TEXT NAME ARGUMENTS`` or ``bash SCRIPT ARGUMENTS``."""
    rest = words[1:]
    while rest and rest[0].startswith("-") and not re.fullmatch(r"-\w*c", rest[0]):
        rest = rest[1:]
    if rest and rest[0].startswith("-"):
        if len(rest) > 1:
            yield from _script(rest[1], rest[3:], environment, scope, line)
    elif rest and (script := scope.read(rest[0])) is not None:
        yield from _script(script, rest[1:], environment, scope, line)


def _script(text: str, arguments: list[str], environment: dict[str, str], scope: Scope, line: int) -> Iterator[Launch]:
    scope.step()
    inner = Scope(
        variables={**scope.variables, **environment}, positional=arguments, read=scope.read, made=scope.made,
        steps=scope.steps, depth=scope.depth + 1,
    )  # fmt: skip
    for command, found in script_launches(text, inner):
        yield replace(found, environment={**environment, **found.environment}, line=line or command.line)


def script_launches(text: str, scope: Scope) -> list[tuple[Command, Launch]]:
    """Return the starts of a script; where it has none, those under conditions that cannot be told."""
    before: list[Command] = []
    for assume in (False, True):
        inner = replace(scope, variables=dict(scope.variables), positional=[*scope.positional], assume=assume)
        every = commands(text, inner)
        if (
            assume and every == before
        ):  # the same again: scripts that call one another would double the work at every call
            break
        if found := [(command, one) for command in every for one in launches(command, inner)]:
            return found
        before = every
    return []


def _in_container(words: list[str], environment: dict[str, str], scope: Scope, line: int) -> Iterator[Launch]:
    """Read ``docker run OPTIONS IMAGE WORDS``."""
    inside: dict[str, str] = {}
    given: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, has_value, value = rest.pop(0).partition("=")
        if not has_value and name in _DOCKER_VALUES and rest:
            value = rest.pop(0)
        if name in ("-e", "--env") and value:
            key, has_equals, content = value.partition("=")
            inside[key] = content if has_equals else environment.get(key, f"${{{key}}}")
        else:
            given[name] = value
    if not rest:
        return
    image, arguments = rest[0], rest[1:]
    wanted = given.get("--gpus", "")
    ids = gpu_ids(wanted) if "device" in wanted else first_gpus(int(wanted)) if wanted.isdigit() else ()
    around = Launch((), inside, image, given.get("--name", ""), len(ids) or None, ids, line)
    entrypoint = given.get("--entrypoint", "").split()
    yield from image_launches(entrypoint, arguments, around, scope)
