"""supervisord's configuration: its programs, with their variables."""

import configparser
import re
from collections.abc import Iterator

from planner.adopt.compose import words
from planner.adopt.launch import Launch, launches
from planner.adopt.scope import Scope
from planner.adopt.shell import Command

_VARIABLE = re.compile(r"""(\w+)=("[^"]*"|'[^']*'|[^,]*)""")
_ENVIRONMENT = re.compile(r"%\(ENV_(\w+)\)s")


def is_supervisor(text: str) -> bool:
    """Whether a file has programs of supervisord's."""
    return bool(re.search(r"^\[program:[^\]]+\]", text, re.M))


def programs(text: str, scope: Scope) -> Iterator[tuple[str, Launch]]:
    """Yield the starts of the engine with the names of their programs; ``%(ENV_X)s`` stays as ``${X}``."""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(" ;",), allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in parser.sections():
        kind, _, name = section.partition(":")
        command = parser.get(section, "command", fallback=None)
        if kind != "program" or not command:
            continue
        given = parser.get(section, "environment", fallback=None) or ""
        environment = {key: _filled(value.strip("\"'"), name) for key, value in _VARIABLE.findall(given)}
        line = _filled(command.replace("\\\n", " "), name)
        yield from ((name, found) for found in launches(Command(tuple(words(line)), environment, 0), scope))


def _filled(text: str, name: str) -> str:
    return _ENVIRONMENT.sub(r"${\1}", text.replace("%(program_name)s", name))
