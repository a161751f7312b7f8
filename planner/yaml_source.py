"""A YAML file -> plain data, and the line and column of every value in it.

The dialect is the part of YAML 1.2 that people write by hand: maps, lists, plain and quoted scalars, with the scalar
types of the core schema (https://yaml.org/spec/1.2.2/#103-core-schema). ``yes``, ``on`` and ``1:30`` are text, only
``true`` and ``false`` are booleans. What would be read differently by two YAML programs, or could grow without bound
(duplicate keys, ``010``, anchors, tags, several documents), is refused with its place.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from msgspec import Struct, field

from planner.errors import InputError, Problem

MAX_BYTES = 512 << 10
MAX_DEPTH = 16

FieldPath: TypeAlias = tuple[str | int, ...]

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)")
_TWO_READINGS = re.compile(r"[-+]?(?:0[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+|[0-9][0-9_]*_[0-9_]*)")
_CORE_TAG = "tag:yaml.org,2002:"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Source(Struct, frozen=True):
    """The data of one YAML file with the place of every value.

    ``data`` consists of dict, list, str, int, float, bool and None; floats may be infinite or NaN. ``values`` and
    ``keys`` map a path such as ``("roles", "coder", "port")`` to (line, column), counted from 1, of the value and of
    the key in front of it.
    """

    file: str
    data: Any
    values: dict[FieldPath, tuple[int, int]] = field(default_factory=dict)
    keys: dict[FieldPath, tuple[int, int]] = field(default_factory=dict)

    def problem(self, path: FieldPath, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Describe what is wrong at ``path``; a path that is not in the file is placed at its nearest parent."""
        line, column = self.place(path, at_key=at_key)
        return Problem(self.file, line, column, dotted(path), message, hint)

    def place(self, path: FieldPath, *, at_key: bool = False) -> tuple[int, int]:
        """Return the line and column of the value at ``path``, of its key, or of the nearest parent's key."""
        if path in self.values and not (at_key and path in self.keys):
            return self.values[path]
        while path:
            if path in self.keys:
                return self.keys[path]
            path = path[:-1]
        return self.values.get((), (1, 1))


def dotted(path: FieldPath) -> str:
    """Print a path as ``roles.coder.models[0]``; keys that are not plain words are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if _BARE_KEY.fullmatch(part) else repr(part)
            text += f".{word}" if text else word
    return text


def read_yaml(path: Path) -> Source:
    """Read one YAML file.

    Raises:
        InputError: the file cannot be read, is too large, is not UTF-8 or is not in the dialect above.
    """
    return parse_yaml(_read_text(path), str(path))


def parse_yaml(text: str, file: str) -> Source:
    """Parse YAML text; ``file`` is the name used in messages.

    Raises:
        InputError: with every problem up to the first one that makes the rest unreadable.
    """
    builder = _Builder(file)
    try:
        builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line, column = _position(text, error.position)
        builder.refuse(line, column, (), f"a character YAML does not allow: U+{ord(text[error.position]):04X}")
    except yaml.MarkedYAMLError as error:
        builder.refuse(*_syntax_problem(error, text))
    if builder.problems:
        raise InputError(tuple(builder.problems))
    return builder.source


def _read_text(path: Path) -> str:
    """Return the decoded text of a file of at most MAX_BYTES."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError((Problem(file, 0, 0, "", "no such file"),)) from None
    except IsADirectoryError:
        raise InputError((Problem(file, 0, 0, "", "is a folder, not a file"),)) from None
    except OSError as error:
        raise InputError((Problem(file, 0, 0, "", f"cannot be read: {error.strerror}"),)) from None
    if len(raw) > MAX_BYTES:
        raise InputError((Problem(file, 0, 0, "", f"larger than {MAX_BYTES >> 10} KiB, so not a file people write"),))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8"), error.start)
        hint = "save the file as UTF-8"
        raise InputError((Problem(file, line, column, "", "the file is not UTF-8 text", hint),)) from None


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, FieldPath, str, str]:
    """Say in our words what the scanner or parser could not read."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    if "\t" in here[:column]:
        return line, here.index("\t") + 1, (), "a tab", "YAML is indented with spaces"
    if "found character" in (error.problem or ""):
        hint = f"put text that begins with {here[column - 1 : column]} in quotes"
    elif "mapping values are not allowed" in (error.problem or ""):
        hint = "put text that contains ': ' in quotes, and check the indentation and the space after each key's ':'"
    else:
        hint = "check the indentation, the ':' after each key, and that quotes and brackets are closed"
    return line, column, (), "this is not valid YAML", hint


class _Builder:
    """Walk parser events into data, places and problems."""

    def __init__(self, file: str) -> None:
        self.source = Source(file, None)
        self.problems: list[Problem] = []

    def refuse(self, line: int, column: int, path: FieldPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.source.file, line, column, dotted(path), message, hint))

    def document(self, events: Iterator[yaml.Event]) -> None:
        """Build the one document of the stream; an empty stream has the value None."""
        documents = 0
        for event in events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                hint = "keep one document per file; remove the '---' line"
                self.refuse(*_mark(event), (), "a second YAML document", hint)
                return
            data = self._node(next(events), events, ())
            self.source = Source(self.source.file, data, self.source.values, self.source.keys)

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: FieldPath) -> Any:  # noqa: ANN401 - any YAML value
        line, column = self.source.values[path] = _mark(event)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(line, column, path, f"an alias (*{event.anchor})", "write the value out; aliases are not read")
            return None
        if len(path) > MAX_DEPTH:
            self.refuse(line, column, path[:2], f"nested more than {MAX_DEPTH} levels deep")
            raise InputError(tuple(self.problems))
        tag = getattr(event, "tag", None) or "!"
        if tag != "!":
            shown = f"!!{tag.removeprefix(_CORE_TAG)}" if tag.startswith(_CORE_TAG) else tag
            self.refuse(line, column, path, f"a YAML tag ({shown})", "write plain values; tags are not read")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        assert isinstance(event, yaml.ScalarEvent)
        return self._scalar(event, path) if event.style is None else event.value

    def _sequence(self, events: Iterator[yaml.Event], path: FieldPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: FieldPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line, column = _mark(event)
            key = self._key(event, events, path)
            here = (*path, key)
            if key in items:
                first = self.source.keys[here][0]
                self.refuse(line, column, here, f"this key is already on line {first}", "keep one of them")
            else:
                self.source.keys[here] = (line, column)
            places = dict(self.source.values) if key in items else None
            value = self._node(next(events), events, here)
            if places is None:
                items[key] = value
        return items

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: FieldPath) -> str:
        line, column = _mark(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, events, (*path, "?"))
            self.refuse(line, column, path, "a key that is not text", "a key is a word followed by ':'")
            return f"? {line}:{column}"
        if event.style is None and event.value == "<<":
            self.refuse(line, column, path, "a merge key (<<)", "write the keys out; merging is not read")
            return f"<< {line}:{column}"
        if event.style is None and not isinstance(_core_scalar(event.value), str):
            self.refuse(line, column, path, f"the key {event.value} is not text", f'put it in quotes: "{event.value}"')
        return event.value

    def _scalar(self, event: yaml.ScalarEvent, path: FieldPath) -> str | int | float | bool | None:
        if _TWO_READINGS.fullmatch(event.value):
            hint = "write a decimal number without leading zeros, or put text in quotes"
            self.refuse(*_mark(event), path, f"{event.value} is read differently by different YAML programs", hint)
        return _core_scalar(event.value)


def _core_scalar(text: str) -> str | int | float | bool | None:
    """Resolve a plain scalar by the core schema; integers too long to be meant are left as text."""
    if _NULL.fullmatch(text):
        return None
    if match := _BOOL.fullmatch(text):
        return match[1] is not None
    if _INT.fullmatch(text):
        return int(text) if len(text) <= 40 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _NOT_FINITE.fullmatch(text):
        return float(f"{match[1]}inf") if match[2] else float("nan")
    return text


def _mark(event: yaml.Event) -> tuple[int, int]:
    assert event.start_mark is not None
    return event.start_mark.line + 1, event.start_mark.column + 1
