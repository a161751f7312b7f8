"""fleet.yaml -> Fleet, or every problem the file has, each with its line and column.

A mistake must not hide the next one. A value that is wrong counts as absent; the rules that span several keys, and the
look-ups in the catalog, run over what is left.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

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
    findings = Findings(source, catalog, written.folder)
    read = FleetMap.take(source.data, (), findings.refuse)
    findings.problems.extend(_unknown_and_missing(source, read, ()))
    fleet = review(findings, read)
    if fleet is None:
        raise InputError(tuple(dict.fromkeys(findings.problems)))
    return replace(fleet, source_sha256=_digest(read), written=written)


def _digest(read: FleetMap) -> str:
    """Return a digest of the values of a file, with the defaults of keys that are absent."""
    return hashlib.sha256(json.dumps(read.said(), sort_keys=True).encode()).hexdigest()


def _meant(key: str, allowed: tuple[str, ...]) -> str:
    """Return the hint for a key that is not known: the nearest one, or all that are allowed unless they are many."""
    if len(allowed) > _MANY:
        near = values.suggestion(key, allowed, "") or "no key is called anything like it;"
        return f"{near} `planner schema` and docs/fleet.md have all that are allowed here"
    return values.suggestion(key, allowed, f"allowed here: {', '.join(allowed)}")


def _unknown_and_missing(source: Source, here: Map, path: FieldPath) -> Iterator[Problem]:
    for key in here.unknown:
        yield source.problem((*path, key), "unknown key", _meant(key, tuple(here.keys)), at_key=True)
    for key in here.required:
        value = getattr(here, key)
        if not value and value != 0 and (*path, key) not in source.values:  # a zero alone may stand for the map
            yield source.problem((*path, key), "required key is missing", here.keys[key].description)
    for key in here.keys:
        value = getattr(here, key)
        inner = value if isinstance(value, dict) else {}
        for name, item in inner.items():
            if isinstance(item, Map):
                yield from _unknown_and_missing(source, item, (*path, key, name))
        if isinstance(value, Map):
            yield from _unknown_and_missing(source, value, (*path, key))
