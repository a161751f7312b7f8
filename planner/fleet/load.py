"""fleet.yaml -> Fleet, or every problem the file has, each with its line and column.

A mistake must not hide the next one. The file is validated again and again without the values that were wrong, until
what is left can be read; the rules that span several keys, and the look-ups in the catalog, then run over that.
"""

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from pydantic import ValidationError

from planner.catalog import Catalog, load_catalog
from planner.errors import InputError, Problem
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.fleet import Fleet
from planner.fleet.review import review
from planner.fleet.schema import FleetMap
from planner.fleet.shapes import Map
from planner.fleet.written import FleetFile
from planner.yaml_source import FieldPath, Source, read_yaml

_STARTER = "`planner init` writes a starter file"
_ELSEWHERE = "a fleet of another name or folder is given by its path, after --fleet where a plan or folder is named"

_MANY = 16
"""More keys than this are not listed in a hint."""


def load_fleet(path: Path | str, catalog: Catalog | None = None) -> Fleet:
    """Read a fleet file; names in it are looked up in ``catalog``, by default the shipped one.

    Raises:
        InputError: with every problem of the file, in file order.
    """
    return fleet_of(read_fleet(path), catalog or load_catalog())


def read_fleet(path: Path | str) -> FleetFile:
    """Read a fleet file as data, without looking at what it says.

    Raises:
        InputError: there is no such file, or it is not a YAML map.
    """
    path = Path(path) if isinstance(path, str) else path
    if not path.exists():
        raise InputError((Problem(str(path), 0, 0, "", "no such file", f"{_ELSEWHERE}; {_STARTER}"),))
    if path.is_dir() and os.access(inside := path / "fleet.yaml", os.R_OK):
        raise InputError((Problem(str(path), 0, 0, "", "is a folder, not a file", f"its fleet is {inside}"),))
    source = read_yaml(path)
    if source.data is None:
        raise InputError((Problem(source.file, 0, 0, "", "the file is empty", _STARTER),))
    if not isinstance(source.data, dict):
        message = f"expected a map with name, gpu, roles, not {values.found(source.data)}"
        raise InputError((source.problem((), message),))
    return FleetFile(source, path.parent)


def fleet_of(written: FleetFile, catalog: Catalog) -> Fleet:
    """Return the fleet that a file describes.

    Raises:
        InputError: with every problem of the file, in file order.
    """
    source = written.source
    fleet_map, problems = _validate(source)
    problems += _unknown_and_missing(source, fleet_map, ())
    findings = Findings(source, catalog, written.folder, problems)
    fleet = review(findings, fleet_map)
    if fleet is None:
        raise InputError(tuple(dict.fromkeys(findings.problems)))
    return replace(fleet, source_sha256=_digest(fleet_map), written=written)


def _digest(read: FleetMap) -> str:
    """Return a digest of the values of a file, with the defaults of keys that are absent."""
    return hashlib.sha256(json.dumps(read.model_dump(), sort_keys=True).encode()).hexdigest()


def _validate(source: Source) -> tuple[FleetMap, list[Problem]]:
    """Read what can be read; every wrong value is a problem and then counts as absent."""
    data = copy.deepcopy(source.data)
    problems: list[Problem] = []
    while True:
        try:
            return FleetMap.model_validate(data), problems
        except ValidationError as error:
            for mistake in error.errors(include_url=False):
                where = _existing(source.data, mistake["loc"])
                context = mistake["ctx"]
                empty = "write a value; only absent keys take defaults" if mistake["input"] is None else ""
                hint = context["hint"] or empty
                problems.append(source.problem(where, context["message"], hint))
                _remove(data, where)


def _existing(data: object, path: FieldPath) -> FieldPath:
    """Cut a path at the last value that is in the file: a single value may stand for a map."""
    here: Any = data
    for depth, part in enumerate(path):
        inside = isinstance(here, list) or (isinstance(here, dict) and part in here)
        if not inside:
            return path[:depth]
        here = here[part]
    return path


def _remove(data: Any, path: FieldPath) -> None:  # noqa: ANN401 - any YAML value
    """Take a value out, and with an item its whole list, so that places of other items stay true."""
    for depth, part in enumerate(path):
        if depth == len(path) - 1 or isinstance(data.get(part), list):
            data.pop(part, None)
            return
        data = data.get(part, {})


def _meant(key: str, allowed: tuple[str, ...]) -> str:
    """Return the hint for a key that is not known: the nearest one, or all that are allowed unless they are many."""
    if len(allowed) > _MANY:
        near = values.suggestion(key, allowed, "") or "no key is called anything like it;"
        return f"{near} `planner schema` and docs/fleet.md have all that are allowed here"
    return values.suggestion(key, allowed, f"allowed here: {', '.join(allowed)}")


def _unknown_and_missing(source: Source, here: Map, path: FieldPath) -> Iterator[Problem]:
    allowed = tuple(type(here).model_fields)
    for key in here.model_extra or ():
        yield source.problem((*path, key), "unknown key", _meant(key, allowed), at_key=True)
    for key in here.required:
        value = getattr(here, key)
        if not value and value != 0 and (*path, key) not in source.values:  # a zero alone may stand for the map
            field = type(here).model_fields[key]
            yield source.problem((*path, key), "required key is missing", field.description or "")
    for key, value in here:
        inner = value if isinstance(value, dict) else {}
        for name, item in inner.items():
            if isinstance(item, Map):
                yield from _unknown_and_missing(source, item, (*path, key, name))
        if isinstance(value, Map):
            yield from _unknown_and_missing(source, value, (*path, key))
