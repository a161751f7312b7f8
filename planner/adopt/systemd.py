"""systemd units and Podman's Quadlets: their commands with systemd's own variables, and files of variables."""

import json
import re
from collections.abc import Iterator

from planner.adopt.compose import env_file, words
from planner.adopt.launch import Launch, image_launches, launches
from planner.adopt.scope import Scope
from planner.adopt.shell import Command

_BRACED = re.compile(r"\$\{(\w+)\}")
_BARE = re.compile(r"\$(\w+)$")
_SPECIFIER = re.compile(r"%[%\w]")


def unit(text: str, name: str, scope: Scope, instances: tuple[str, ...] = ()) -> Iterator[tuple[str, Launch]]:
    """Yield the starts of a unit, or of each instance of a template; ``name`` is that of its file."""
    settings = _settings(text)
    stem = re.sub(r"\.(?:service|container|pod)$", "", name)
    for instance in instances if stem.endswith("@") and instances else ("",):
        called = instance or stem.rstrip("@")
        whole = stem if stem.endswith("@") else called
        yield from ((called, found) for found in _instance(settings, whole, instance, scope))


def container(text: str, name: str, scope: Scope) -> Iterator[tuple[str, Launch]]:
    """Yield the starts of a Quadlet's container."""
    settings = _settings(text)
    called = _last(settings, "ContainerName") or re.sub(r"\.container$", "", name)
    environment = _environment(settings, "", scope)
    ids = [part.removeprefix("nvidia.com/gpu=") for part in settings.get("AddDevice", []) if "nvidia.com/gpu=" in part]
    ids = [part for part in ids if part.isdigit()]
    around = Launch((), environment, _last(settings, "Image"), called, len(ids) or None, tuple(ids))
    entrypoint, words = _entrypoint(_last(settings, "Entrypoint")), _words(_last(settings, "Exec"), {})
    inner = Scope(variables=dict(environment), read=scope.read, depth=scope.depth + 1)
    yield from ((called, found) for found in image_launches(entrypoint, words, around, inner))


def _entrypoint(value: str) -> list[str]:
    """Return the words of Entrypoint, which may be a list in JSON."""
    try:
        words = json.loads(value)
    except ValueError:
        words = None
    return [str(word) for word in words] if isinstance(words, list) else _words(value, {})


def environment_files(text: str) -> tuple[str, ...]:
    """Return the paths of a unit's files of variables, in order; ``%i`` in one is the name of an instance."""
    return tuple(path.removeprefix("-") for path in _settings(text).get("EnvironmentFile", []))


def _instance(settings: dict[str, list[str]], name: str, instance: str, scope: Scope) -> Iterator[Launch]:
    environment = _environment(settings, instance, scope)
    for line in settings.get("ExecStart", []):
        words = _words(_specified(line, name, instance).lstrip("-@:+!"), environment)
        inner = Scope(variables=dict(environment), read=scope.read, depth=scope.depth + 1)
        yield from launches(Command(tuple(words), environment, 0), inner)


def _settings(text: str) -> dict[str, list[str]]:
    """Return every setting with its values in order; an empty one takes back those before it."""
    found: dict[str, list[str]] = {}
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    for line in re.sub(r"\\\s*\n\s*", " ", "\n".join(lines)).splitlines():
        key, has_value, value = line.partition("=")
        if has_value and re.fullmatch(r"\w+", key.strip()):
            if value.strip():
                found.setdefault(key.strip(), []).append(value.strip())
            else:
                found.pop(key.strip(), None)
    return found


def _last(settings: dict[str, list[str]], key: str) -> str:
    return settings.get(key, [""])[-1]


def _environment(settings: dict[str, list[str]], instance: str, scope: Scope) -> dict[str, str]:
    """Return the variables of a unit: its own, then those of its files, of which the later wins."""
    found: dict[str, str] = {}
    for line in settings.get("Environment", []):
        for word in words(line):
            key, has_value, value = word.partition("=")
            found |= {key: value} if has_value else {}
    for path in settings.get("EnvironmentFile", []):
        there = scope.read(_specified(path.removeprefix("-"), instance, instance))
        found |= env_file(there) if there is not None else {}
    return found


def _specified(text: str, name: str, instance: str) -> str:
    """Put in what systemd does; the instance of a template stays as it is written where it is not known."""
    own = {"%n": name, "%%": "%", **({"%i": instance, "%I": instance} if instance or "@" not in name else {})}
    return _SPECIFIER.sub(lambda match: own.get(match[0], match[0]), text)


def _words(line: str, environment: dict[str, str]) -> list[str]:
    """Split a command as systemd does: ``${X}`` is one word, ``$X`` alone as many as it holds."""
    found = []
    for word in words(line):
        bare = _BARE.fullmatch(word)
        if bare and bare[1] in environment:
            found += words(environment[bare[1]])
        else:
            found.append(_BRACED.sub(lambda match: environment.get(match[1], match[0]), word))
    return found
