"""What a tool gives back: what the command prints with ``--json``, in an envelope, bounded; or its error as data."""

import json
from collections.abc import Mapping
from typing import Any

from planner.cli.exit_codes import EXIT_ERROR
from planner.cli.mcp.tools import Tool, said_of_exit_codes
from planner.errors import PlannerError
from planner.resources import data_folder

MOST_BYTES = 192 << 10
"""Of one answer as JSON: what an agent can read at once. A plan of one server takes 8 KiB."""
MODELS = 5
"""Models that a search returns unless more are asked for."""
_NOTES = 20
_LONGEST_NOTE = 1000


class TooLarge(PlannerError):
    """An answer that is larger than an agent can read; ``parts`` says which of it are large, in bytes."""

    def __init__(self, size: int, parts: Mapping[str, int]) -> None:
        self.bytes, self.limit, self.parts = size, MOST_BYTES, dict(parts)
        super().__init__(size)

    def __str__(self) -> str:
        largest = ", ".join(f"{path} ({size:,} bytes)" for path, size in list(self.parts.items())[:8])
        return (
            f"the answer takes {self.bytes:,} bytes, more than the {self.limit:,} that are given back at once\n"
            f"  hint: ask for one part of it, such as part={next(iter(self.parts), '')}; it has {largest}"
        )


class NoPart(PlannerError):
    """A part that an answer does not have; ``parts`` are those it has there."""

    def __init__(self, part: str, parts: tuple[str, ...]) -> None:
        self.part, self.parts = part, parts
        super().__init__(part, parts)

    def __str__(self) -> str:
        return f"the answer has no part {self.part}\n  hint: there is {', '.join(self.parts) or 'nothing inside'}"


def output_schema(tool: Tool) -> dict[str, Any]:
    """Return the JSON Schema of what a tool gives back, of those in docs/schemas and whole in itself."""
    definitions: dict[str, Any] = {}
    for name in (*tool.documents, "error"):
        _bundle(name, definitions)
    codes = said_of_exit_codes(tool)
    answer = [{"$ref": f"#/$defs/{name}"} for name in tool.documents]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["exit_code", "answer", "part", "left_out", "notes", "error"],
        "properties": {
            "exit_code": {"type": "integer", "description": f"As of the command. {codes}".strip()},
            "answer": {"anyOf": [*answer, {"type": "null"}], "description": "What the command prints with --json."},
            "part": {"description": "The part of the answer that was asked for, instead of all of it."},
            "left_out": {
                "type": "object",
                "description": "How many more there are of what was asked to be limited.",
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "notes": {"type": "array", "items": {"type": "string"}, "description": "What the command says beside it."},
            "error": {"anyOf": [{"$ref": "#/$defs/error/properties/error"}, {"type": "null"}]},
        },
        "$defs": definitions,
    }


def _bundle(name: str, into: dict[str, Any]) -> None:
    """Put a schema of docs/schemas, and those that it refers to, where one schema can refer to all of them."""
    if name in into:
        return
    into[name] = {}
    text = (data_folder("schemas") / f"{name}.schema.json").read_text(encoding="utf-8")
    schema = _moved(json.loads(text), name, into)
    into[name] = {key: value for key, value in schema.items() if key != "$schema"}


def _moved(node: Any, name: str, into: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(node, list):
        return [_moved(item, name, into) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {key: _moved(value, name, into) for key, value in node.items()}
    if isinstance(reference := node.get("$ref"), str):
        file, _, inner = reference.partition("#")
        other = file.removesuffix(".schema.json") or name
        _bundle(other, into)
        moved["$ref"] = f"#/$defs/{other}{inner}"
    return moved


def envelope(code: int, answer: object, notes: str, *, part: str | None, limit: int | None) -> dict[str, Any]:
    """Return what a tool gives back for what its command printed.

    Raises:
        TooLarge: it has to be asked for in parts.
        NoPart: the part that was asked for is not there.
    """
    left_out: dict[str, int] = {}
    if limit is not None and isinstance(answer, dict):
        lists = {key: items for key, items in answer.items() if isinstance(items, list)}
        left_out = {key: len(items) - limit for key, items in lists.items() if len(items) > limit}
        answer |= {key: items[:limit] for key, items in lists.items()}
    chosen = answer if part is None else _part(answer, part)
    if (size := _size(chosen)) > MOST_BYTES:
        raise TooLarge(size, dict(sorted(_sizes(chosen, part or "").items(), key=lambda item: -item[1])[:50]))
    said = [line.strip()[:_LONGEST_NOTE] for line in notes.splitlines() if line.strip()]
    return {
        "exit_code": code,
        "answer": chosen if part is None else None,
        "part": None if part is None else chosen,
        "left_out": left_out,
        "notes": said[:_NOTES],
        "error": None,
    }


def refused(error: Mapping[str, Any], code: int = EXIT_ERROR) -> dict[str, Any]:
    """Return what a tool gives back for an error, which is told as the command line tells it."""
    return {"exit_code": code, "answer": None, "part": None, "left_out": {}, "notes": [], "error": dict(error)}


def _part(answer: object, pointer: str) -> object:
    """Return the part of an answer at a JSON Pointer, RFC 6901."""
    here = answer
    for step in pointer.removeprefix("/").split("/"):
        parts = _inner(here)
        key = step.replace("~1", "/").replace("~0", "~")
        if key not in parts:
            raise NoPart(pointer, tuple(list(parts)[:50]))
        here = parts[key]
    return here


def _inner(value: object) -> dict[str, Any]:
    if isinstance(value, list):
        return {str(number): item for number, item in enumerate(value)}
    return value if isinstance(value, dict) else {}


def _sizes(value: object, pointer: str) -> dict[str, int]:
    escaped = {key: key.replace("~", "~0").replace("/", "~1") for key in _inner(value)}
    return {f"{pointer}/{escaped[key]}": _size(item) for key, item in _inner(value).items()}


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
