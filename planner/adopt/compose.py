"""Compose files: services, their commands with Compose's own variables, environment, GPUs and order."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from planner.adopt.documents import at, documents, texts
from planner.adopt.launch import Launch, first_gpus, image_launches
from planner.adopt.scope import Scope

_VARIABLE = re.compile(r"\$(?:(\$)|\{|(?P<bare>[A-Za-z_]\w*))")
_DEEPEST = 8
_NAME = re.compile(r"[A-Za-z_]\w*")


def services(document: Mapping[str, Any], variables: Mapping[str, str], scope: Scope) -> Iterator[tuple[str, Launch]]:
    """Yield the starts of the engine, each with its service's name."""
    found = at(document, "services")
    patterns = {str(at(service, "extends", "service") or "") for service in found.values() if _whole(service)}
    for name, service in found.items():
        if not isinstance(service, dict) or (name in patterns and not service.get("command")):
            continue
        whole = _resolved(_extended(service, document, scope, 0), variables)
        for launch in _service(str(name), whole, scope):
            yield str(name), launch


def _whole(service: object) -> bool:
    """Whether a service extends another one of its own file."""
    return isinstance(at(service, "extends"), dict) and not at(service, "extends", "file")


def _extended(service: dict[str, Any], document: Mapping[str, Any], scope: Scope, depth: int) -> dict[str, Any]:
    """Return a service on top of the one that it extends: maps are joined, lists too but for commands."""
    extends = service.get("extends")
    path = at(extends, "file")
    named = str(at(extends, "service") or (extends if isinstance(extends, str) else ""))
    if not named or depth > _DEEPEST:
        return service
    if path:
        try:
            document = next(iter(documents(scope.read(str(path)) or "")), {})
        except ValueError:
            return service
    base = at(document, "services", named)
    return _joined(_extended(base, document, scope, depth + 1), service) if isinstance(base, dict) else service


def _joined(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Join two services as Compose does (compose-spec, "Merge and override")."""
    found = {**base, **own}
    for key in base.keys() & own.keys():
        one, other = base[key], own[key]
        if isinstance(one, dict) and isinstance(other, dict):
            found[key] = _joined(one, other)
        elif key == "environment":
            found[key] = {**_pairs(one), **_pairs(other)}
        elif isinstance(one, list) and isinstance(other, list) and key not in ("command", "entrypoint"):
            found[key] = [*one, *other]
    return found


def _pairs(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {key: text for key, has_value, text in (entry.partition("=") for entry in texts(value)) if has_value}


def waits_for(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the services that must be healthy before one is started."""
    needs = at(document, "services", name, "depends_on")
    if not isinstance(needs, dict):
        return ()
    return tuple(str(other) for other, how in needs.items() if at(how, "condition") == "service_healthy")


def interpolate(text: str, variables: Mapping[str, str], depth: int = 0) -> str:
    """Return a text with Compose's variables put in; ``$$`` is one dollar, what is not known stays ``${NAME}``."""
    found, at_char = [], 0
    while match := _VARIABLE.search(text, at_char):
        found.append(text[at_char : match.start()])
        if match[1]:
            found.append("$")
            at_char = match.end()
        elif match["bare"]:
            found.append(variables.get(match["bare"], f"${{{match['bare']}}}"))
            at_char = match.end()
        else:
            end = _closing(text, match.end())
            found.append(_braced(text[match.end() : end], variables, depth))
            at_char = end + 1
    return "".join([*found, text[at_char:]])


def _closing(text: str, start: int) -> int:
    open_braces = 1
    for index in range(start, len(text)):
        open_braces += {"{": 1, "}": -1}.get(text[index], 0)
        if not open_braces:
            return index
    return len(text)


def _braced(inner: str, variables: Mapping[str, str], depth: int) -> str:
    name = _NAME.match(inner)
    if not name or depth > 20:
        return f"${{{inner}}}"
    value, rest = variables.get(name[0]), inner[name.end() :]
    for operator in (":-", "-", ":+", "+", ":?", "?"):
        if rest.startswith(operator):
            word = interpolate(rest[len(operator) :], variables, depth + 1)
            there = bool(value) if operator[0] == ":" else value is not None
            if operator[-1] == "+":
                return word if there else ""
            if operator[-1] == "-":
                return value or "" if there else word
    return value if value is not None else f"${{{name[0]}}}"


def _resolved(value: Any, variables: Mapping[str, str]) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, list):
        return [_resolved(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: _resolved(item, variables) for key, item in value.items()}
    return value


def _service(name: str, service: dict[str, Any], scope: Scope) -> Iterator[Launch]:
    ids, count = _gpus(service)
    around = Launch((), _environment(service, scope), str(service.get("image") or ""), name, len(ids) or count, ids)
    inner = Scope(variables=dict(around.environment), read=scope.read, depth=scope.depth + 1)
    entrypoint, command = words(service.get("entrypoint")), words(service.get("command"))
    yield from image_launches(entrypoint, command, around, inner)


def words(value: object) -> list[str]:
    """Return the words of a command that is a text, as a shell quotes them, or a list; quotes may lack their end."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return value.split()
    return texts(value)


def _environment(service: Mapping[str, Any], scope: Scope) -> dict[str, str]:
    """Return a service's variables: of its files, then its own."""
    found: dict[str, str] = {}
    files = service.get("env_file")
    for item in files if isinstance(files, list) else [files]:
        path = at(item, "path") if isinstance(item, dict) else item
        found |= env_file(scope.read(str(path)) or "") if path else {}
    own = service.get("environment")
    if isinstance(own, dict):
        found |= {str(key): "" if value is None else str(value) for key, value in own.items()}
    else:
        found |= _pairs(own)
    return found


def env_file(text: str) -> dict[str, str]:
    """Return the variables of a file of ``NAME=value`` lines."""
    found = {}
    for line in text.splitlines():
        name, has_value, value = line.strip().removeprefix("export ").partition("=")
        if has_value and _NAME.fullmatch(name.strip()):
            bare = value.strip()
            quoted = len(bare) > 1 and bare[0] in "\"'" and bare[-1] == bare[0]
            found[name.strip()] = bare[1:-1] if quoted else re.sub(r"\s+#.*$", "", bare)
    return found


def _gpus(service: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """Return the devices a service may use, or how many."""
    devices = at(service, "deploy", "resources", "reservations", "devices")
    for device in devices if isinstance(devices, list) else []:
        if isinstance(device, dict) and "gpu" in texts(device.get("capabilities")):
            if ids := texts(device.get("device_ids")):
                return tuple(ids), len(ids)
            count = device.get("count")
            return first_gpus(int(str(count))) if str(count).isdigit() else (), None
    visible = _environment(service, Scope()).get("NVIDIA_VISIBLE_DEVICES", "")
    ids = [part for part in visible.split(",") if part.isdigit()]
    return tuple(ids), len(ids) or None
