"""Read a catalog file that people wrote: every problem it has, each with its line and column."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.catalog.names import nearest
from planner.catalog.schema import FILES
from planner.errors import InputError, Problem
from planner.yaml_source import FieldPath, Source, dotted, read_yaml

_HELP = "docs/catalog.md says what each key means"
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MESSAGES = {
    "missing": "required key is missing",
    "extra_forbidden": "unknown key",
    "unexpected_keyword_argument": "unknown key",
    "model_type": "expected a map",
    "dict_type": "expected a map",
    "list_type": "expected a list",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "too_short": "empty",
}


def read_checked(path: Path, room: str) -> dict[str, Any]:
    """Return the mapping in a catalog file of ``room`` (``models``, ``gpus``, …).

    Raises:
        InputError: the file is not YAML or not of the room's shape; with all problems.
    """
    source = read_yaml(path)
    problems = shape_problems(source, room)
    if problems:
        raise InputError(tuple(problems))
    assert isinstance(source.data, dict)
    return source.data


def shape_problems(source: Source, room: str) -> list[Problem]:
    """Return what is wrong with the shape of a file of one room."""
    if not isinstance(source.data, dict):
        return [source.problem((), "expected a map", _HELP)]
    try:
        FILES[room].model_validate(source.data)
    except ValidationError as error:
        return list(dict.fromkeys(_problem(source, FILES[room], dict(mistake)) for mistake in error.errors()))
    return []


def _problem(source: Source, shape: Any, mistake: dict[str, Any]) -> Problem:  # noqa: ANN401 - a pydantic class
    where = _existing(source.data, mistake["loc"], keep_last=mistake["type"] == "missing")
    kind, context = mistake["type"], mistake.get("ctx", {})
    message = _MESSAGES.get(kind) or _bounds(kind, context) or mistake["msg"].replace("Input should", "should")
    hint = _HELP
    if kind in _UNKNOWN:
        known = _known_keys(shape, where[:-1])
        near = nearest(str(where[-1]), known)
        hint = f"did you mean {near[0]}?" if near else f"allowed here: {', '.join(known)}"
    if kind == "missing" and where[:-1] in source.values:
        # Of a map in a list, the line of the map says more than that of the list.
        return Problem(source.file, *source.values[where[:-1]], dotted(where), message, hint)
    return source.problem(where, message, hint, at_key=kind in _UNKNOWN)


def _bounds(kind: str, context: dict[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        return f"does not look right; expected a match of {context['pattern']}"
    if kind == "greater_than":
        return f"expected more than {context['gt']}"
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"expected {'at least' if kind.startswith('g') else 'at most'} {context.get('ge', context.get('le'))}"
    if kind == "literal_error":
        return f"expected {context['expected']}"
    return ""


def _existing(data: Any, path: FieldPath, *, keep_last: bool) -> FieldPath:  # noqa: ANN401 - any YAML value
    """Cut the names of union members out of a pydantic location, and what is not in the file off its end."""
    here, kept = data, list[str | int]()
    for depth, part in enumerate(path):
        inside = (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int))
        if inside:
            here = here[part]
            kept.append(part)
        elif keep_last and depth == len(path) - 1:
            kept.append(part)
    return tuple(kept)


def _known_keys(shape: Any, path: FieldPath) -> list[str]:  # noqa: ANN401 - a pydantic class
    """Return the keys allowed at a path, by following the shape's JSON Schema."""
    schema = shape.model_json_schema()
    here = schema
    for part in path:
        here = _resolved(here, schema)
        here = here.get("items", {}) if isinstance(part, int) else here.get("properties", {}).get(part, {})
    return sorted(_resolved(here, schema).get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref") or next((option["$ref"] for option in node.get("anyOf", ()) if "$ref" in option), "")
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else node
    return found
