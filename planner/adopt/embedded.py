"""Documents of other programs: the containers and command lines that stand in them, wherever that is.

Playbooks, task definitions, workflows, first-boot files: each has its own frame, but what starts the engine in it is a
container with an image and a command, or a text that a shell or systemd gets.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from planner.adopt import systemd
from planner.adopt.compose import words
from planner.adopt.documents import at, texts
from planner.adopt.launch import Launch, engine_image, image_launches, script_launches
from planner.adopt.scope import Scope
from planner.adopt.templates import HIDDEN, show

_Starts = Iterator[tuple[str, Launch]]
_STARTS = re.compile(r"vllm\s+serve\s|vllm\.entrypoints|(?:docker|podman|nerdctl)\s+run\s[^\n]*vllm|vllm-openai")
_COMMANDS = ("command", "args", "cmd")
_NAMES = ("name", "container_name", "containerName", "id")
_DEEPEST = 40


def starts(document: object, name: str, scope: Scope) -> _Starts:
    """Yield the starts of the engine in a document, each with the nearest name around it; ``name`` is the outermost."""
    yield from _below(document, name, scope, {}, 0)


def _below(value: object, name: str, scope: Scope, known: dict[str, str], depth: int) -> _Starts:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        yield from ((name, found) for found in _in_text(_filled(value, known), scope))
    elif isinstance(value, list):
        for item in value:
            yield from _below(item, name, scope, known, depth + 1)
    elif isinstance(value, dict):
        known = {**known, **_variables(value.get("vars"))}
        name = next((str(value[key]) for key in _NAMES if isinstance(value.get(key), str)), name)
        if isinstance(value.get("image"), str) and any(key in value for key in _COMMANDS):
            yield from _container(value, name, scope, known)
            return
        for inner in value.values():
            yield from _below(inner, name, scope, known, depth + 1)


def _container(value: Mapping[str, Any], name: str, scope: Scope, known: dict[str, str]) -> _Starts:
    image = _filled(value["image"], known)
    if not engine_image(image):
        return
    environment = _environment(value.get("env") or value.get("environment"), known)
    entrypoint, *rest = (_words(value.get(key), known) for key in ("entrypoint", *_COMMANDS))
    around = Launch((), environment, image, name)
    given = [word for one in rest for word in one]
    yield from ((name, found) for found in image_launches(entrypoint, given, around, scope))


def _words(value: object, known: Mapping[str, str]) -> list[str]:
    return words(_filled(value, known)) if isinstance(value, str) else [_filled(one, known) for one in texts(value)]


def _environment(value: object, known: Mapping[str, str]) -> dict[str, str]:
    """Return variables given as a map, or as a list of names and values."""
    pairs = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        pairs = {str(at(one, "name")): at(one, "value") for one in value if at(one, "value") is not None}
    return {str(key): _filled(str(inner), known) for key, inner in pairs.items()}


def _in_text(text: str, scope: Scope) -> Iterator[Launch]:
    if not _STARTS.search(text):
        return
    if re.search(r"^\[Service\]", text, re.M):
        yield from (found for _, found in systemd.unit(text, "", scope))
    else:
        inner = Scope(read=scope.read, depth=scope.depth + 1)
        yield from (found for _, found in script_launches(text, inner))


def _variables(value: object) -> dict[str, str]:
    """Return the variables of a play as templates put them in."""
    plain = value.items() if isinstance(value, dict) else ()
    return {
        str(key): show(inner) if isinstance(inner, str) else json.dumps(inner)
        for key, inner in plain
        if isinstance(inner, str | int | float | bool)
    }


def _filled(text: str, known: Mapping[str, str]) -> str:
    """Put the variables of a play in; other expressions stay hidden."""
    return HIDDEN.sub(lambda match: known.get(show(match[0]).strip("{} "), match[0]), text)
