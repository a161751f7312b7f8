"""What Slurm says of its nodes -> their GPUs: ``scontrol show nodes --json``, or ``sinfo --json`` as far as it tells.

Both follow Slurm's data parser (v0.0.39 and newer; before, ``state`` is one word and ``state_flags`` has the others).
GPUs are generic resources: ``gpu:h100:8(S:0-1)``, in use ``gpu:h100:3(IDX:0-2)`` (gres.conf(5), slurm.conf(5)).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.errors import Problem
from planner.facts.gpu import GPU
from planner.inventory.documents import (
    Malformed,
    each,
    found,
    listing,
    mapping,
    maps,
    raise_all,
    read_json,
    refuse,
    twice,
    word,
)
from planner.inventory.machine import Devices, Inventory, LeftOut
from planner.inventory.products import Products, Unclear

NODES, SINFO = "scontrol show nodes --json", "sinfo --json"
_HINT = f"a file is what one of these wrote: {NODES}, {SINFO}"
_GRES = re.compile(r"([A-Za-z][\w.+-]*)(?::([A-Za-z0-9_][\w.+ -]*?))?(?::no_consume)?:([0-9]+)(?:\(([^)]*)\))?")
_SLICE = re.compile(r"(.+?)_([0-9]g\.[0-9]+gb(?:\+[a-z.]+)?)")
_OPEN = frozenset({"IDLE", "MIXED", "ALLOCATED", "COMPLETING", "CLOUD", "DYNAMIC_NORM", "PLANNED"})
"""States and flags of a node on which a job may still be started."""
_SHARED = ("shard", "mps")
_MOST_HOSTS = 100_000


class _Node(Struct, frozen=True, kw_only=True):
    """A node; ``used`` is None where it is not known what is in use."""

    host: str
    state: frozenset[str]
    has: Mapping[tuple[str, str], int]
    used: Mapping[tuple[str, str], int] | None
    numbers: str = ""


def from_slurm(paths: Sequence[Path], products: Products) -> Inventory:
    """Return the GPUs of a Slurm cluster.

    Raises:
        InputError: a file is not what Slurm writes, or a node is there twice.
    """
    nodes: list[_Node] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            nodes += _read(path, read_json(path, _HINT))
        except Malformed as error:
            problems.append(error.within(str(path), ""))
    raise_all((*problems, *twice(paths, [node.host for node in nodes])))
    read = [one for node in nodes for one in _on_node(node, products)]
    return Inventory(
        sources=(f"`{NODES}` or `{SINFO}`", ", ".join(path.name for path in paths)),
        devices=tuple(one for one in read if isinstance(one, Devices)),
        left_out=tuple(one for one in read if isinstance(one, LeftOut)),
        without_gpus=sum(not any(name == "gpu" for name, _ in node.has) for node in nodes),
    )


def _read(path: Path, data: object) -> list[_Node]:
    if not isinstance(data, dict):
        refuse(path, f"is {found(data)}, not what Slurm writes", _HINT)
    if "nodes" in data:
        return each("nodes", maps(data, "nodes"), _node)
    if "sinfo" not in data:
        refuse(path, "has neither nodes nor sinfo", _HINT)
    by_host: dict[str, _Node] = {}
    for group in each("sinfo", maps(data, "sinfo"), _group):
        for node in group:
            by_host.setdefault(node.host, node)  # a node is listed once for each of its partitions
    return list(by_host.values())


def _node(one: Mapping[str, Any]) -> _Node:
    host = word(one, "name") or word(one, "hostname")
    if not host:
        raise Malformed("name", "is missing", _HINT)
    used = word(one, "gres_used")
    return _Node(
        host=host,
        state=frozenset((*_words(one, "state"), *_words(one, "state_flags"))),
        has=_gres(word(one, "gres"), "gres"),
        used=_gres(used, "gres_used") if "gres_used" in one else None,
        numbers=", ".join(re.findall(r"\(IDX:([0-9,-]+)\)", used)),
    )


def _group(one: Mapping[str, Any]) -> list[_Node]:
    """Return the nodes of one line of sinfo, which says what is in use of one node alone or of idle ones."""
    hosts = [host for text in listing(one, "nodes", "nodes") for host in _hosts(text)]
    state = frozenset(_words(mapping(one, "node"), "state"))
    has, used = _gres(word(one, "gres", "total"), "gres.total"), _gres(word(one, "gres", "used"), "gres.used")
    known = used if len(hosts) == 1 else {} if "IDLE" in state else None
    return [_Node(host=host, state=state, has=has, used=known) for host in hosts]


def _hosts(text: object) -> Iterator[str]:
    """Yield the names of a list of hosts such as ``gpu[01-04,07]``."""
    if not isinstance(text, str) or not text.isprintable():
        raise Malformed("nodes.nodes", f"expected names, not {found(text)}")
    match = re.fullmatch(r"([^\[\],]*)\[([0-9,-]+)\]([^\[\],]*)", text)
    if not match:
        yield text
        return
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        last = last or first
        if not first or not last.isdigit() or int(last) - int(first) > _MOST_HOSTS:
            raise Malformed("nodes.nodes", f"{found(text)} is no list of hosts")
        yield from (f"{match[1]}{number:0{len(first)}}{match[3]}" for number in range(int(first), int(last) + 1))


def _words(one: Mapping[str, Any], key: str) -> list[str]:
    """Return states, in capitals: a list of them, or in older versions one word, ``idle+drain``."""
    value = one.get(key)
    words = value.split("+") if isinstance(value, str) else listing(one, key)
    for said in words:
        if not isinstance(said, str) or not said.isprintable():
            raise Malformed(key, f"expected states, not {found(said)}")
    return [str(said).upper() for said in words]


def _gres(text: str, path: str) -> dict[tuple[str, str], int]:
    """Return generic resources by name and type."""
    counts: Counter[tuple[str, str]] = Counter()
    if text in ("", "(null)", "N/A"):
        return counts
    for part in re.split(r",(?![^(]*\))", text):
        match = _GRES.fullmatch(part.strip())
        if match is None and part.strip().startswith("gpu"):
            raise Malformed(path, f"{found(part)} is no generic resource such as gpu:h100:8(S:0-1)")
        if match:
            counts[match[1], match[2] or ""] += int(match[3])
    return counts


def _on_node(node: _Node, products: Products) -> Iterator[Devices | LeftOut]:
    for (name, kind), count in sorted(node.has.items()):
        if name != "gpu" or not count:
            continue
        called = kind or "gpu"
        closed = _closed(node, kind)
        gpu = Unclear(closed) if closed else _gpu(called, products)
        if isinstance(gpu, Unclear):
            yield LeftOut(host=node.host, called=called, count=count, reason=gpu.reason)
            continue
        taken = _taken(node, kind)
        if taken >= count:
            yield LeftOut(host=node.host, called=called, count=count, reason="jobs hold all of them")
            continue
        numbers = f" ({node.numbers})" if node.numbers else ""
        held = (f"jobs hold {taken} on {node.host}{numbers}",) if taken else ()
        yield Devices(host=node.host, gpu=gpu, called=called, count=count - taken, total=count, held=held)


def _closed(node: _Node, kind: str) -> str:
    """Return why no job can be started on a node, or what is free there is not known."""
    against = sorted(node.state - _OPEN)
    if against or not node.state:
        return f"Slurm calls it {'+'.join(against) or 'nothing'}"
    if "ALLOCATED" in node.state:
        return "Slurm has given out all its processors"
    if node.used is None:
        return f"what is in use there is not said: `{NODES}` says it of each node"
    if any(node.used.get(key) for key in node.used if key[0] in _SHARED):
        return "jobs hold shares of its GPUs"
    types = {other for name, other in node.has if name == "gpu"}
    if node.used.get(("gpu", "")) and kind and len(types) > 1:
        return "of which of its GPUs jobs hold some is not said"
    return ""


def _taken(node: _Node, kind: str) -> int:
    used = node.used or {}
    return used.get(("gpu", kind), 0) + (used.get(("gpu", ""), 0) if kind else 0)


def _gpu(called: str, products: Products) -> GPU | Unclear:
    """Return the GPU of a type, which is what an administrator calls it, or NVML's name with underscores.

    A MIG slice has its profile behind the name of its card.
    """
    match = _SLICE.fullmatch(called)
    card = match[1] if match else called
    gpu = products.find(card) if card.startswith(("nvidia_", "tesla_")) else products.short(card)
    if not match or isinstance(gpu, Unclear):
        return gpu
    return products.find(f"{gpu.product} MIG {match[2]}")
