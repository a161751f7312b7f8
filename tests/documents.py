"""The JSON Schemas of what commands print with ``--json``; those of plans are made from their facts."""

import dataclasses
import functools
import json
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
import msgspec
from pydantic import TypeAdapter
from referencing import Registry, Resource

from planner.cli.json_text import SCHEMA
from planner.plan import NoPlan, Plan
from planner.plan import document as plan_document
from planner.plan.account import Account
from planner.plan.difference import Difference
from planner.plan.moves import Moves

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
FILES = sorted(FOLDER.glob("*.schema.json"))


class Differences(msgspec.Struct):
    """What ``planner diff`` prints."""

    differences: list[Difference]
    moves: Moves | None = None


MADE: dict[str, tuple[type, str, int, set[str]]] = {
    "plan": (Plan, "planner solve --json, and plan.yaml", plan_document.SCHEMA, set(plan_document.OMITTED)),
    "no-plan": (NoPlan, "solve, explain and pareto with --json of a fleet without a plan", plan_document.SCHEMA, set()),
    "explain": (Account, "planner explain --json", SCHEMA, set()),
    "diff": (Differences, "planner diff --json", SCHEMA, {"moves"}),
}
"""Name -> what the document is made of, its title, its version, and the keys that may be absent anywhere in it."""


def schema(name: str) -> dict[str, Any]:
    """Return one of the schemas."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


def valid(name: str, printed: str) -> dict[str, Any]:
    """Hold a document against its schema, which has no other key, and return it."""
    document: dict[str, Any] = json.loads(printed)
    known = ((path.name, Resource.from_contents(json.loads(path.read_text()))) for path in FILES)
    registry: Registry[Any] = Registry().with_resources(known)
    jsonschema.Draft202012Validator(schema(name), registry=registry).validate(document)
    return document


def made(name: str) -> dict[str, Any]:
    """Return the schema that follows from the types of a document."""
    kind, title, version, absent = MADE[name]
    found = _strict(TypeAdapter(_known(kind)).json_schema(mode="serialization"), absent)
    found["required"] = ["schema", *found["required"]]
    said = {"description": "Version of this document.", "const": version}
    found["properties"] = {"schema": said, **found["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": title}


@functools.cache
def _known(kind: Any) -> Any:  # noqa: ANN401 - any type
    """Return a type with dataclasses for structs: pydantic makes schemas of unions that msgspec makes none of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        types, named = get_type_hints(kind), msgspec.structs.fields(kind)
        fields = [(one.name, _known(types[one.name]), *([] if one.required else [None])) for one in named]
        said = {"__doc__": kind.__doc__, "__module__": kind.__module__}
        return dataclasses.make_dataclass(kind.__name__, fields, kw_only=True, namespace=said)
    if get_origin(kind) in (None, Literal):
        return kind
    parts = tuple(map(_known, get_args(kind)))
    return Union[parts] if get_origin(kind) in (Union, UnionType) else get_origin(kind)[parts]  # noqa: UP007


def _strict(node: Any, absent: set[str]) -> Any:  # noqa: ANN401 - any JSON
    """Leave out titles and defaults, and allow no other key in what has fields."""
    if isinstance(node, list):
        return [_strict(item, absent) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _strict(value, absent) for key, value in node.items() if key not in ("title", "default")}
    if isinstance(kept.get("properties"), dict) and "type" in kept:
        named = {key: _strict(value, absent) for key, value in node["properties"].items()}
        required = [key for key in kept.get("required", ()) if key not in absent]
        kept |= {"properties": named, "required": required, "additionalProperties": False}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].replace("``", "").split())
    return kept
