"""Dockerfiles: the program of the last stage, with the variables of ARG and ENV put in."""

import json
import re
from collections.abc import Iterator

from planner.adopt.launch import Launch, image_launches
from planner.adopt.scope import Scope
from planner.adopt.shell import commands

_INSTRUCTION = re.compile(r"\s*(FROM|ARG|ENV|ENTRYPOINT|CMD)\s+(.*)", re.I | re.S)


def dockerfile(text: str, scope: Scope) -> Iterator[tuple[str, Launch]]:
    """Yield the start of a Dockerfile's last stage, with the stage's name."""
    variables: dict[str, str] = {}
    image = stage = ""
    entrypoint: list[str] = []
    command: list[str] = []
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            words = rest.split()
            image = _plain(next((word for word in words if not word.startswith("--")), ""), variables)
            stage = words[-1] if len(words) > 2 and words[-2].upper() == "AS" else ""
            entrypoint, command = [], []
        elif instruction == "ARG":
            name, has_value, value = rest.strip().partition("=")
            variables |= {name: value.strip("\"'")} if has_value else {}
        elif instruction == "ENV":
            variables |= _variables(rest, variables)
        elif instruction == "ENTRYPOINT":
            entrypoint = _form(rest)
        else:
            command = _form(rest)
    environment = {key: value for key, value in variables.items() if key in _set_by_env(text)}
    inner = Scope(variables=dict(variables), read=scope.read, depth=scope.depth + 1)
    around = Launch((), environment, image, stage)
    for launch in image_launches(entrypoint, command, around, inner):
        yield stage, launch


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        if match := _INSTRUCTION.match(line):
            yield match[1].upper(), match[2].strip()


def _form(rest: str) -> list[str]:
    """Return the words of a program: a JSON list as it is, a line as a shell's."""
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    return [str(word) for word in words] if isinstance(words, list) else ["/bin/sh", "-c", rest]


def _variables(rest: str, variables: dict[str, str]) -> dict[str, str]:
    """Return what ENV sets, in its form with and without equals signs."""
    name, _, value = rest.partition(" ")
    if "=" not in name:
        return {name: _plain(value.strip(), variables)}
    found = Scope(variables=dict(variables))
    commands(rest, found)
    return {key: value for key, value in found.variables.items() if isinstance(value, str)}


def _set_by_env(text: str) -> set[str]:
    return {key for name, rest in _instructions(text) if name == "ENV" for key in _variables(rest, {})}


def _plain(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)(?::-[^}]*)?\}?", lambda match: variables.get(match[1], match[0]), text)
