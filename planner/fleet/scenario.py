"""Scenarios: named changes to a fleet file, made to its data so that every rule of the file holds for them too."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.errors import InputError, Problem
from planner.fleet import values
from planner.fleet.fleet import Fleet
from planner.fleet.load import fleet_of
from planner.fleet.lone import leading_key
from planner.fleet.written import FleetFile
from planner.yaml_source import FieldPath, Source, dotted, parse_yaml

GPU_OPTION, SET_OPTION, LOSE_OPTION = "--gpu", "--set", "--lose-node"

_SHOWN = 6
"""Nodes that are named where one is not known."""

_Change: TypeAlias = tuple[FieldPath, Any]


class Edit(Struct, frozen=True):
    """One change as the user writes it: ``--gpu rtx-4090:2``, or ``--set roles.coder.context.min=32k``.

    ``--gpu`` puts GPUs of one kind, on one node, in the place of all that the file has. ``--set`` gives a field a new
    value, written as in the file; without one it takes the field out. ``--lose-node`` takes nodes out, one name or
    several with commas between.
    """

    option: str
    argument: str

    def __str__(self) -> str:
        return f"{self.option} {self.argument}"

    def refused(self, message: str, hint: str = "", path: str = "") -> InputError:
        """Return the error that names this edit in place of a line of a file."""
        return InputError((Problem(str(self), 0, 0, path, message, hint),))


class Scenario(Struct, frozen=True):
    """Edits made together; without any it is the fleet as it is written."""

    edits: tuple[Edit, ...] = ()

    @property
    def name(self) -> str:
        """What a table calls it."""
        lost = {LOSE_OPTION: "without "}
        return ", ".join(lost.get(edit.option, "") + edit.argument for edit in self.edits) or "as written"

    @property
    def loses(self) -> bool:
        """Whether nodes are lost, so that what runs matters."""
        return any(edit.option == LOSE_OPTION for edit in self.edits)


def scenarios(edits: Sequence[Edit], *, matrix: bool) -> tuple[Scenario, ...]:
    """Return the fleet as written, then one scenario for each edit, or with ``matrix`` for every combination.

    Edits of one field, all ``--gpu`` and all ``--lose-node`` exclude each other; every combination has at most one of
    each.
    """
    if not matrix:
        return (Scenario(), *(Scenario((edit,)) for edit in dict.fromkeys(edits)))
    axes: dict[str, list[Edit | None]] = {}
    for edit in dict.fromkeys(edits):
        field = edit.argument.partition("=")[0] if edit.option == SET_OPTION else edit.option
        axes.setdefault(field, [None]).append(edit)
    combined = itertools.product(*axes.values())
    return tuple(Scenario(tuple(edit for edit in chosen if edit)) for chosen in combined)


def fleets(written: FleetFile, wanted: Iterable[Scenario], catalog: Catalog) -> tuple[Fleet, ...]:
    """Return the fleet of every scenario.

    Raises:
        InputError: with every problem of every scenario, once each; of the file alone, when it has problems itself.
    """
    fleet_of(written, catalog)
    found: list[Fleet] = []
    problems: dict[tuple[object, ...], Problem] = {}
    for scenario in wanted:
        try:
            found.append(_fleet(written, scenario, catalog))
        except InputError as error:
            for problem in error.problems:
                problems.setdefault((problem.line, problem.column, problem.path, problem.message), problem)
    if problems:
        raise InputError(tuple(problems.values()))
    return tuple(found)


def _fleet(written: FleetFile, scenario: Scenario, catalog: Catalog) -> Fleet:
    source, places = written.source, {}
    for edit in scenario.edits:
        for path, value in _changes(source, edit):
            source = _with(source, path, value)
            places[dotted(path)] = edit
    try:
        return fleet_of(replace(written, source=source), catalog)
    except InputError as error:
        raise InputError(tuple(_placed(problem, scenario, places) for problem in error.problems)) from None


def _placed(problem: Problem, scenario: Scenario, places: dict[str, Edit]) -> Problem:
    """Name the edit that brought a problem; a problem elsewhere in the file keeps its place behind the edits."""
    for path, edit in places.items():
        if problem.path == path or problem.path.startswith((f"{path}.", f"{path}[")):
            return replace(problem, file=str(edit), line=0, column=0)
    return replace(problem, file=f"{' '.join(map(str, scenario.edits))}: {problem.file}")


def _changes(source: Source, edit: Edit) -> list[_Change]:
    """Return the fields of an edit and their values; None takes a field out."""
    if edit.option == GPU_OPTION:
        name, _, count = edit.argument.rpartition(":")
        if not (name and count.isdecimal()):
            name, count = edit.argument, "1"
        return [(("nodes",), None), (("gpu",), {"name": name, "count": int(count)})]
    if edit.option == LOSE_OPTION:
        return list(_lost(source.data, edit))
    field, equals, text = edit.argument.partition("=")
    if not (field and equals):
        raise edit.refused("expected a field and a value", "roles.coder.context.min=32k")
    path = _path(source.data, field)
    _check_parents(source.data, path, edit)
    return [(path, parse_yaml(text, str(edit)).data)]


def _lost(data: dict[str, Any], edit: Edit) -> Iterator[_Change]:
    """Yield what takes nodes out: ``without`` of their pools, or a pool of which none is left."""
    pools = {pool: read if isinstance(read, dict) else {} for pool, read in (data.get("nodes") or {}).items()}
    if not pools:
        raise edit.refused("the fleet has one machine, which cannot be lost", "name machines under nodes")
    left = {name.strip() for name in edit.argument.split(",")}
    everything: list[str] = []
    for pool, read in pools.items():
        count, gone = read.get("count", 1), read.get("without") or []
        gone = [gone] if isinstance(gone, str) else list(gone)
        names = [f"{pool}-{number}" for number in range(1, count + 1)] if count > 1 else [read.get("node") or pool]
        there = [name for name in names if name not in gone]
        everything += there
        lost = [name for name in there if name in left]
        if lost and len(lost) == len(there):
            yield ("nodes", pool), None
        elif lost:
            yield ("nodes", pool, "without"), [*gone, *lost]
    everything = list(dict.fromkeys(everything))  # pools may share a machine
    for name in sorted(left.difference(everything)):
        shown = ", ".join(everything[:_SHOWN]) + (", …" if len(everything) > _SHOWN else "")
        hint = values.suggestion(name, everything, f"the nodes are {shown}")
        raise edit.refused(f"unknown node {values.found(name)}", hint)
    if left.issuperset(everything):
        raise edit.refused("no node of the fleet would be left", "name fewer of them")


def _path(data: object, field: str) -> FieldPath:
    """Split a dotted path at the keys the file has; a role's name may have dots itself."""
    path: list[str] = []
    here, rest = data, field
    while rest:
        known = here if isinstance(here, dict) else {}
        fitting = [key for key in known if rest == key or rest.startswith(f"{key}.")]
        key = max(fitting, key=len) if fitting else rest.partition(".")[0]
        path.append(key)
        here, rest = known.get(key), rest[len(key) + 1 :]
    return tuple(path)


def _check_parents(data: dict[str, Any], path: FieldPath, edit: Edit) -> None:
    """Refuse a field of a role or pool that the file does not have."""
    if path[0] not in ("roles", "nodes") or len(path) < 3:
        return
    known = data.get(str(path[0]))
    names = known if isinstance(known, dict) else {}
    if path[1] not in names:
        word = "role" if path[0] == "roles" else "pool"
        hint = values.suggestion(str(path[1]), names, f"the {word}s are {', '.join(sorted(names))}" if names else "")
        raise edit.refused(f"unknown {word} {values.found(path[1])}", hint, dotted(path))


def _with(source: Source, path: FieldPath, value: object) -> Source:
    """Return the source with one value changed; the new value has no place in the file."""
    data = copy.deepcopy(source.data)
    here = data
    for depth, part in enumerate(path[:-1]):
        inner = here.get(part)
        if not isinstance(inner, dict):
            inner = {} if inner is None else {leading_key(path[: depth + 1]): inner}
            here[part] = inner
        here = inner
    here.pop(path[-1], None)
    if value is not None:
        here[path[-1]] = value
    kept = {old: place for old, place in source.values.items() if old[: len(path)] != path}
    places = kept | {new: (0, 0) for new in _paths(data, ()) if new not in kept}
    return replace(source, data=data, values=places)


def _paths(value: object, path: FieldPath) -> list[FieldPath]:
    """Return the paths of a value and of everything in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in _paths(item, (*path, key)))]
