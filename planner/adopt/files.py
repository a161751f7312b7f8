"""Files -> the servers they start, whatever kind of file it is.

Files that are given together belong together: a script that a Compose file calls, the variables of a unit, a runtime of
KServe. What stands beside a given file is read too when it is named by it; nothing else is looked at or run.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.adopt import build, compose, embedded, kubernetes, litellm, platforms, rendered, supervisor, systemd
from planner.adopt.dockerfile import dockerfile
from planner.adopt.documents import at, documents
from planner.adopt.launch import Launch, engine_image, script_launches
from planner.adopt.makefile import recipes
from planner.adopt.python import command_lines
from planner.adopt.reader import Reader
from planner.adopt.scope import Enough, Scope
from planner.adopt.server import Other, Server
from planner.adopt.shell import commands
from planner.adopt.templates import hide
from planner.errors import InputError, Problem

_FENCED = re.compile(r"^[ \t]*```(?:bash|sh|shell|console)[ \t]*\n(.*?)^[ \t]*```", re.M | re.S)
_OTHERS = re.compile(
    r"(llama-server|llama\.cpp|ollama|sglang|text-generation-inference|\btgi\b|tritonserver|tensorrt|lmdeploy|tabbyapi"
    r"|exllama|infinity|aphrodite|mlc_llm|koboldcpp|text-embeddings-inference)",
    re.I,
)
_TEMPLATES = (".j2", ".jinja", ".jinja2", ".tmpl", ".tpl", ".gotmpl", ".template", ".example", ".sample", ".dist")
_UNIT = re.compile(r"(?:\s|[#;].*\n)*\[(?:Unit|Service|Install)\]")
_STARTING = re.compile(r"^[ \t-]*\"?(?:image|command|FROM|CMD|ENTRYPOINT|Image|Exec|ExecStart)\"?[ \t:=].*", re.M)
"""Lines that name what is started, in any kind of file."""


class Found(Struct, frozen=True):
    """All servers of some files, in order, what else they start, and files in which nothing was found."""

    servers: tuple[Server, ...]
    others: tuple[Other, ...]
    empty: tuple[str, ...]


def read_files(paths: Sequence[Path], version: str | None = None) -> Found:
    """Return the servers that files start; ``version`` is the engine's where they do not say it.

    Raises:
        InputError: a file cannot be read, or is none of the kinds that are known.
    """
    reader = Reader(tuple(paths))
    order = sorted(paths, key=lambda path: (_rank(path, reader.text(path)), paths.index(path)))
    servers: list[Server] = []
    others: list[Other] = []
    empty: list[str] = []
    joined = _kubernetes_files(order, reader)
    for path in order:
        if path in reader.used:
            continue
        before = len(servers) + len(others)
        for found in _in_file(path, reader, version, joined, servers):
            if isinstance(found, Server):
                servers.append(found)
            else:
                others.append(found)
        if len(servers) + len(others) == before and path not in joined[1:]:
            others += _other_engine(path, reader.text(path))
        if len(servers) + len(others) == before and path not in joined[1:]:
            empty.append(str(path))
    return Found(tuple(servers), tuple(others), tuple(name for name in empty if Path(name) not in reader.used))


def _unfilled(path: Path) -> Path:
    """Return the name that a file has once its template is filled in, or its example copied."""
    while path.suffix in _TEMPLATES:
        path = path.with_suffix("")
    return path


def _rank(path: Path, text: str) -> int:
    """Order kinds of files so that those which others call come last."""
    path = _unfilled(path)
    if path.suffix == ".env" or path.name.startswith(".env"):
        return 3
    if path.suffix in (".yaml", ".yml"):
        if re.search(r"^model_list\s*:", text, re.M):
            return 3
        return 1 if re.search(r"^(?:model|model[_-]tag)\s*:\s*\S", text, re.M) and "services:" not in text else 0
    if path.suffix in (".service", ".container") or path.name.startswith(("Dockerfile", "Containerfile")):
        return 0
    return 0 if "--config" in text else 2


def _kubernetes_files(paths: Sequence[Path], reader: Reader) -> tuple[Path, ...]:
    """Return the files of Kubernetes manifests, which are read together."""
    yamls = [path for path in paths if _unfilled(path).suffix in (".yaml", ".yml", ".json")]
    return tuple(path for path in yamls if re.search(r"^[\s{]*\"?apiVersion\"?\s*:", reader.text(path), re.M))


def _other_engine(path: Path, text: str) -> list[Other]:
    """Return the other engine that a file starts whose images and programs name one."""
    found = next((match for line in _STARTING.findall(text) if (match := _OTHERS.search(line))), None)
    return [Other(path.stem, found[1].lower())] if found else []


def _in_file(
    path: Path, reader: Reader, version: str | None, joined: Sequence[Path], known: Sequence[Server]
) -> Iterator[Server | Other]:
    text, kind = reader.text(path), _unfilled(path)
    name = kind.name
    scope = Scope(read=reader.beside)
    version = version or build.pinned_version(text)
    try:
        if name.startswith(("Dockerfile", "Containerfile")) or kind.suffix in (".dockerfile", ".containerfile"):
            yield from _built(
                ((stage or kind.stem, one) for stage, one in dockerfile(text, scope)), path, reader, version
            )
        elif kind.suffix == ".container":
            yield from _built(systemd.container(text, name, scope), path, reader, version)
        elif name.lower() == "makefile" or kind.suffix == ".mk":
            yield from _script(recipes(text), path, reader, version)
        elif rendered.is_launch_script(text):
            for called, one, after in rendered.servers(text, scope):
                yield replace(build.server(one, called, str(path), reader.beside, version), after=after)
        elif supervisor.is_supervisor(text):
            yield from _built(supervisor.programs(text, scope), path, reader, version)
        elif kind.suffix in (".service", ".conf") or _UNIT.match(text):
            yield from _built(systemd.unit(text, name, scope, _instances(text, reader)), path, reader, version)
        elif kind.suffix in (".yaml", ".yml", ".json"):
            yield from _yaml(path, reader, version, joined, known)
        elif kind.suffix == ".py":
            yield from _script("\n".join(command_lines(text)), path, reader, version)
        elif kind.suffix == ".md":
            yield from _script("\n".join(_FENCED.findall(text)), path, reader, version)
        elif kind.suffix != ".env":
            yield from _script(text, path, reader, version)
    except Enough as error:
        raise InputError((Problem(str(path), 0, 0, "", "does more than is followed"),)) from error


def _yaml(
    path: Path, reader: Reader, version: str | None, joined: Sequence[Path], known: Sequence[Server]
) -> Iterator[Server | Other]:
    if path in joined:
        if path == joined[0]:
            maps = [document for one in joined for document in _documents(one, reader)]
            scope = Scope(read=reader.beside)
            yield from (_with(found, path, reader, version) for found in kubernetes.manifests(maps, scope))
            for one in maps:
                if one.get("kind") == "RayService":
                    for inner in documents(str(at(one, "spec", "serveConfigV2") or "")):
                        yield from _document(inner, path, reader, version)
        return
    for document in _documents(path, reader):
        if isinstance(document.get("model_list"), list):
            yield from litellm.behind(document, str(path), {server.name for server in known})
        elif found := list(_document(document, path, reader, version)):
            yield from found
        else:
            yield from _built(
                embedded.starts(document, _unfilled(path).stem, Scope(read=reader.beside)), path, reader, version
            )


def _documents(path: Path, reader: Reader) -> list[dict[str, Any]]:
    try:
        return documents(reader.text(path))
    except ValueError as error:
        raise InputError((Problem(str(path), 0, 0, "", str(error)),)) from error


def _document(document: dict[str, Any], path: Path, reader: Reader, version: str | None) -> Iterator[Server | Other]:
    scope = Scope(read=reader.beside)
    if isinstance(document.get("services"), dict):
        variables = compose.env_file(reader.beside(".env") or "")
        for name, launch in compose.services(document, variables, scope):
            found = build.server(launch, name, str(path), reader.beside, version)
            yield replace(found, after=compose.waits_for(document, name))
        yield from _other_services(document)
    elif at(document, "servingEngineSpec", "modelSpec"):
        yield from (_with(found, path, reader, version) for found in platforms.helm_values(document))
    elif isinstance(document.get("models"), dict):
        for name, one in platforms.llama_swap(document, scope):
            yield (
                build.server(one, name, str(path), reader.beside, version)
                if one
                else Other(name, _engine(document, name))
            )
    elif isinstance(document.get("applications"), list):
        yield from (_with(found, path, reader, version) for found in platforms.ray_serve(document))
    elif "run" in document:
        yield from (_with(found, path, reader, version) for found in platforms.sky(document, path.stem, scope))
    elif "model" in document and build.is_config(document):
        yield build.server(platforms.config_file(document, path.name), path.stem, str(path), reader.beside, version)


def _other_services(document: dict[str, Any]) -> Iterator[Other]:
    for name, service in document["services"].items():
        words = f"{at(service, 'image')} {at(service, 'command')} {at(service, 'entrypoint')}"
        if (found := _OTHERS.search(words)) and not engine_image(str(at(service, "image"))):
            yield Other(str(name), found[1].lower())


def _engine(document: dict[str, Any], name: str) -> str:
    found = _OTHERS.search(str(at(document, "models", name, "cmd")))
    return found[1].lower() if found else "another engine"


def _script(text: str, path: Path, reader: Reader, version: str | None) -> Iterator[Server | Other]:
    """Yield the servers of a script, named for the file, or by their ports when there are several."""
    made: dict[str, str] = {}
    started = script_launches(text, Scope(read=reader.beside, unsaid=0, made=made))
    reader.made |= made
    found = [build.server(one, "", str(path), reader.beside, version) for _, one in started]
    if not found:
        yield from _written(made, path, reader, version)
    ours = [command for command, _ in started]
    programs = [
        command.words[0] for command in commands(text, Scope(read=reader.beside, unsaid=0)) if command not in ours
    ]
    for number, server in enumerate(found):
        called = (
            _unfilled(path).stem
            if len(found) == 1
            else str(server.flags.get("port", f"{_unfilled(path).stem}-{number + 1}"))
        )
        yield replace(server, name=server.name or called)
    named = (_OTHERS.search(program) for program in programs)
    yield from dict.fromkeys(Other(path.stem, match[1].lower()) for match in named if match)


def _written(made: dict[str, str], path: Path, reader: Reader, version: str | None) -> Iterator[Server | Other]:
    """Yield the servers of the files that a script writes: units, Compose files and others."""
    for name, text in made.items():
        own = Path(name)
        reader.texts[own] = hide(text)
        if own.suffix and own not in reader.writing:
            reader.writing.add(own)
            for found in _in_file(own, reader, version, (), ()):
                yield replace(found, file=str(path)) if isinstance(found, Server) else found


def _instances(text: str, reader: Reader) -> tuple[str, ...]:
    """Return the instances of a unit's template for which a file of variables is at hand."""
    named = [re.escape(PurePosixPath(path).name) for path in systemd.environment_files(text) if "%i" in path]
    patterns = [re.compile(name.replace("%i", "(.+)")) for name in named]
    folders = dict.fromkeys(path.parent for path in reader.paths)
    names = sorted({path.name for folder in folders for path in folder.iterdir()})
    general = {PurePosixPath(path).name for path in systemd.environment_files(text) if "%i" not in path}
    found = (pattern.fullmatch(name) for pattern in patterns for name in names if name not in general)
    return tuple(match[1] for match in found if match)


def _built(
    found: Iterator[tuple[str, Launch]], path: Path, reader: Reader, version: str | None
) -> Iterator[Server | Other]:
    for name, launch in found:
        yield build.server(launch, name, str(path), reader.beside, version)


def _with(found: kubernetes.Found, path: Path, reader: Reader, version: str | None) -> Server:
    server = build.server(found.launch, found.name, str(path), reader.beside, version)
    return replace(server, nodes=found.nodes, replicas=found.replicas, gpu_name=found.gpu_name)
