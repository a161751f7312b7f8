"""Files of JSON -> plain data, and values out of it; every complaint names the file and the path in it."""

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from planner.errors import InputError, Problem

_SHOWN = 60
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


class Malformed(Exception):
    """A value that is not what the format has there; ``path`` is relative to the object that was being read."""

    def __init__(self, path: str, message: str, hint: str = "") -> None:
        self.path, self.message, self.hint = path, message, hint
        super().__init__(path, message)

    def within(self, file: str, place: str) -> Problem:
        """Return the problem of a file, for an object that is at ``place`` in it."""
        joined = f"{place}.{self.path}" if place and self.path else place or self.path
        return Problem(file, 0, 0, joined, self.message, self.hint)


def refuse(
    file: Path | str, message: str, hint: str = "", *, path: str = "", line: int = 0, column: int = 0
) -> NoReturn:
    """Raise the one problem of a file."""
    raise InputError((Problem(str(file), line, column, path, message, hint),))


def read_text(path: Path, hint: str) -> str:
    """Return the text of a file, in UTF-8 or with the byte order mark of UTF-16, as PowerShell writes it.

    Raises:
        InputError: it cannot be read, is empty, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        refuse(path, f"cannot be read: {(error.strerror or str(error)).lower()}")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        refuse(path, f"is no text: byte {error.start} is not UTF-8", hint)
    if not text.strip():
        refuse(path, "is empty", hint)
    return text


def read_json(path: Path, hint: str) -> Any:  # noqa: ANN401 - plain JSON data
    """Return the data of a JSON file; ``hint`` is the command that writes such a file.

    Raises:
        InputError: it cannot be read, ends early, or is no JSON.
    """
    text = read_text(path, hint)
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        message, place = _said(text, error), (error.lineno, error.colno)
    except (RecursionError, ValueError) as error:
        message, place = f"is no JSON that can be read: {str(error) or 'too many levels'}", (0, 0)
    refuse(path, message, hint, line=place[0], column=place[1])


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _said(text: str, error: json.JSONDecodeError) -> str:
    """Say what is wrong with a text that is no JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return f"is no JSON: it begins with {found(text.strip().splitlines()[0])}" + _yaml(text)
    if error.msg == "Extra data":
        return "is no JSON: something follows after its end; every file is the output of one command"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return "is not complete: it ends in the middle"
    return f"is no JSON: {error.msg[0].lower()}{error.msg[1:]}"


def _yaml(text: str) -> str:
    first = text.strip().splitlines()[0]
    return ", which may be YAML" if ":" in first or first.startswith("---") else ""


def found(value: object) -> str:
    """Say what was found instead, quoted and cut so that nothing of it reaches a terminal or a comment as it is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"


def mapping(value: object, *keys: str) -> dict[str, Any]:
    """Return the map at the end of keys; an empty one where it, or one on the way, is absent or null.

    Raises:
        Malformed: something on the way is there and is no map.
    """
    for depth, key in enumerate(keys):
        if not isinstance(value, dict):
            return _absent(value, keys[:depth])
        value = value.get(key)
    return value if isinstance(value, dict) else _absent(value, keys)


def _absent(value: object, keys: Sequence[str]) -> dict[str, Any]:
    """Return the empty map that stands for what is absent."""
    if value is not None:
        raise Malformed(".".join(keys), f"expected a map, not {found(value)}")
    return {}


def listing(value: object, *keys: str) -> list[Any]:
    """Return the list at the end of keys, empty where it is absent or null.

    Raises:
        Malformed: it is something else.
    """
    there = mapping(value, *keys[:-1]).get(keys[-1])
    if there is None:
        return []
    if not isinstance(there, list):
        raise Malformed(".".join(keys), f"expected a list, not {found(there)}")
    return there


def word(value: object, *keys: str) -> str:
    """Return the text at the end of keys, empty where it is absent or null.

    Raises:
        Malformed: it is something else, or has characters that do not print.
    """
    there = mapping(value, *keys[:-1]).get(keys[-1])
    if there is None:
        return ""
    if not isinstance(there, str) or not there.isprintable():
        raise Malformed(".".join(keys), f"expected text, not {found(there)}")
    return there


def maps(value: object, *keys: str) -> list[dict[str, Any]]:
    """Return the list of maps at the end of keys.

    Raises:
        Malformed: it is no list, or has something else in it.
    """
    there = listing(value, *keys)
    for number, one in enumerate(there):
        if not isinstance(one, dict):
            raise Malformed(f"{'.'.join(keys)}[{number}]", f"expected a map, not {found(one)}")
    return there


def each(place: str, items: Sequence[_Item], read: Callable[[_Item], _Read]) -> list[_Read]:
    """Return what is read of every item of a list that is at ``place``.

    Raises:
        Malformed: the first that cannot be read, with its number in the path.
    """
    done = []
    for number, item in enumerate(items):
        try:
            done.append(read(item))
        except Malformed as error:
            raise Malformed(f"{place}[{number}].{error.path}", error.message, error.hint) from None
    return done


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for objects that refer to each other: those of JSON do not, and of a cluster there are millions."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise all problems together, if there are any."""
    if every := tuple(problems):
        raise InputError(every)


def twice(files: Sequence[Path], hosts: Sequence[str]) -> list[Problem]:
    """Return a problem for every host that is there more than once."""
    names = ", ".join(map(str, files))
    repeated = sorted(host for host, count in Counter(hosts).items() if count > 1)
    return [Problem(names, 0, 0, "", f"node {host} is there twice", "give each file once") for host in repeated]
