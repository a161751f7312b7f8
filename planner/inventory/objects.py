"""Lists of objects as kubectl writes them -> the nodes, pods and resource claims in them, each with its place."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.errors import Problem
from planner.inventory.documents import Malformed, found, raise_all, read_json, refuse

NODES, PODS = "kubectl get nodes -o json", "kubectl get pods --all-namespaces -o json"
SLICES, CLAIMS = "kubectl get resourceslices -o json", "kubectl get resourceclaims --all-namespaces -o json"
KINDS = ("Node", "Pod", "ResourceSlice", "ResourceClaim")
_HINT = f"every file is what one command wrote: {NODES} > nodes.json, {PODS} > pods.json"


class Item(Struct, frozen=True):
    """One object of a list: the file, its place in it, and the object."""

    file: Path
    place: str
    data: dict[str, Any]

    def problem(self, error: Malformed) -> Problem:
        """Return what is wrong in the object as a problem of its file."""
        return error.within(str(self.file), self.place)


class Objects(Struct, frozen=True):
    """The objects of all files by kind. A kind is in ``given`` when a list of it was there, even an empty one."""

    nodes: tuple[Item, ...]
    pods: tuple[Item, ...]
    slices: tuple[Item, ...]
    claims: tuple[Item, ...]
    given: frozenset[str]


def read_objects(paths: Sequence[Path]) -> Objects:
    """Return the objects in files that kubectl wrote, in any order; a file may hold several kinds.

    Raises:
        InputError: a file is no list of such objects, nodes or pods are missing, or an object is there twice.
    """
    by_kind: dict[str, list[Item]] = {kind: [] for kind in KINDS}
    given: set[str] = set()
    nameless = 0
    for path in paths:
        stated, items = _items(path)
        for item in items:
            by_kind[_kind(item, stated)].append(item)
        given |= {kind for kind in (stated, *(kind for kind, there in by_kind.items() if there)) if kind}
        nameless += not items and not stated
    first = paths[0]
    if not by_kind["Node"]:
        refuse(
            first, "there are no nodes" + (" in any of the files" if len(paths) > 1 else ""), f"{NODES} > nodes.json"
        )
    if "Pod" not in given and not nameless:
        refuse(first, "there are no pods beside it, and without them nobody knows which GPUs are taken", _HINT)
    raise_all(_twice(by_kind.values()))
    nodes, pods, slices, claims = (tuple(by_kind[kind]) for kind in KINDS)
    return Objects(nodes=nodes, pods=pods, slices=slices, claims=claims, given=frozenset(given))


def _items(path: Path) -> tuple[str, list[Item]]:
    """Return the items of a list, and the kind that all have where the list itself says so."""
    data = read_json(path, _HINT)
    if not isinstance(data, dict):
        refuse(path, f"is {found(data)}, not a List as kubectl writes it", _HINT)
    kind = data.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List"):
        what = f"one {kind}" if isinstance(kind, str) and kind in KINDS else f"of kind {found(kind)}"
        refuse(path, f"is {what}, not a List as kubectl writes it", _HINT, path="kind")
    items = data.get("items")
    if not isinstance(items, list):
        refuse(path, f"expected a list, not {found(items)}", _HINT, path="items")
    stated = kind.removesuffix("List")
    if stated and stated not in KINDS:
        refuse(path, f"is a list of kind {found(kind)}, which is not read here", _HINT, path="kind")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            refuse(path, f"expected an object, not {found(item)}", _HINT, path=f"items[{number}]")
    return stated, [Item(path, f"items[{number}]", item) for number, item in enumerate(items)]


def _kind(item: Item, stated: str) -> str:
    kind = item.data.get("kind") or stated
    if kind not in KINDS:
        message = f"{found(kind)} is none of {', '.join(KINDS)}"
        refuse(item.file, message, _HINT, path=f"{item.place}.kind")
    return str(kind)


def named(item: Item) -> str:
    """Return the name of an object, with its namespace where it has one.

    Raises:
        Malformed: it has no name that can be printed.
    """
    metadata = item.data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name.isprintable() or not name or " " in name:
        raise Malformed("metadata.name", f"expected a name, not {found(name)}")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if not isinstance(namespace, str | None) or (namespace and not namespace.isprintable()):
        raise Malformed("metadata.namespace", f"expected a name, not {found(namespace)}")
    return f"{namespace}/{name}" if namespace else name


def _twice(kinds: Iterable[Sequence[Item]]) -> Iterator[Problem]:
    for items in kinds:
        seen: dict[str, Item] = {}
        for item in items:
            try:
                name = named(item)
            except Malformed as error:
                yield item.problem(error)
                continue
            if name in seen:
                first = seen[name]
                message = f"{name} is there twice: it is {first.file}: {first.place} too"
                yield Malformed("metadata.name", message, "give each file once").within(str(item.file), item.place)
            seen.setdefault(name, item)
