"""What Ray says of its nodes -> their GPUs: a page of its dashboard, the status of its autoscaler, or a list of nodes.

Shapes and names as of Ray 2.60: ``/nodes?view=summary`` (dashboard/modules/node/node_head.py, keys in camel case),
``/api/cluster_status`` (dashboard/modules/reporter/reporter_head.py) with what the autoscaler reports, and
``ray list nodes --format json`` (util/state/common.py).
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.errors import Problem
from planner.inventory.documents import Malformed, each, found, mapping, maps, raise_all, read_json, refuse, twice, word
from planner.inventory.machine import Devices, Inventory, LeftOut
from planner.inventory.nvidia_smi import LIGHT, rounded
from planner.inventory.products import Products, Unclear
from planner.units import MIB

SUMMARY = "curl 'http://HEAD:8265/nodes?view=summary'"
STATUS, LIST = "curl http://HEAD:8265/api/cluster_status", "ray list nodes --format json --limit 10000"
_HINT = f"a file is what one of these wrote: {SUMMARY}, {STATUS}, {LIST}"
_TYPES = ("accelerator_type:", "acceleratorType:")
_TURING = ("Quadro RTX 4000", "Quadro RTX 5000", "Quadro RTX 6000", "Quadro RTX 8000")
"""Cards that the catalog does not have, three of which Ray calls what it calls those of the Ada generation."""
_NAME = re.compile(r"\w+\s+((?:[A-Z]+\s+)*[A-Z0-9]*\d[A-Z0-9]*)")
_USAGE = re.compile(
    r"([0-9.]+)/([0-9.]+) GPU(?: \(([0-9.]+) used of ([0-9.]+) reserved in placement groups\))?", re.MULTILINE
)


class _Card(Struct, frozen=True, kw_only=True):
    """One GPU of a node, by the name that the driver has for it, with its memory and what of that is in use."""

    product: str
    total_bytes: int
    used_bytes: int


class _Node(Struct, frozen=True, kw_only=True):
    """A node: GPUs that Ray counts there and how many of them are given out (None: not said), or why it is out."""

    host: str
    kind: str
    total: float
    held: float | None
    cards: tuple[_Card, ...] = ()
    closed: str = ""


def from_ray(paths: Sequence[Path], products: Products) -> Inventory:
    """Return the GPUs of a Ray cluster.

    Raises:
        InputError: a file is none of what Ray writes, or a node is there twice.
    """
    nodes: list[_Node] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            nodes += _nodes(path, read_json(path, _HINT))
        except Malformed as error:
            problems.append(error.within(str(path), ""))
    raise_all((*problems, *twice(paths, [node.host for node in nodes])))
    read = [_found(node, products) for node in nodes if node.total or node.cards]
    unsaid = [node.host for node in nodes if node.held is None and not node.closed and node.total]
    remark = f"Ray does not say there what is given out, of {len(unsaid)} nodes such as {unsaid[0]}" if unsaid else ""
    return Inventory(
        sources=(f"`{SUMMARY}`, `{STATUS}` or `{LIST}`", ", ".join(path.name for path in paths)),
        devices=tuple(one for one in read if isinstance(one, Devices)),
        left_out=tuple(one for one in read if isinstance(one, LeftOut)),
        remarks=(f"{remark}: all their GPUs count as free.",) if remark else (),
        without_gpus=sum(not node.total and not node.cards for node in nodes),
    )


def _nodes(path: Path, data: object) -> list[_Node]:
    """Return the nodes of a file, whichever of Ray's shapes it has."""
    if isinstance(data, list):
        return each("", maps({"": data}, ""), _listed)
    facts = mapping(data, "data") or mapping(data)
    if "summary" in facts:
        logical = mapping(facts, "nodeLogicalResources") or mapping(facts, "node_logical_resources")
        return each("data.summary", maps(facts, "summary"), lambda node: _summed(node, logical))
    status = mapping(facts, "clusterStatus") or mapping(facts, "cluster_status") or facts
    report = mapping(status, "loadMetricsReport") or mapping(status, "load_metrics_report")
    usage = mapping(report, "usageByNode") or mapping(report, "usage_by_node")
    if not usage:
        refuse(path, "has no nodes: neither data.summary nor usage_by_node, nor is it a list of nodes", _HINT)
    return [_used(host, mapping(usage, host)) for host in sorted(usage)]


def _listed(node: Mapping[str, Any]) -> _Node:
    resources = mapping(node, "resources_total")
    state = word(node, "state")
    if not state:
        raise Malformed("state", "is missing: a node is ALIVE or DEAD", _HINT)
    host = word(node, "node_name") or word(node, "node_ip")
    return _Node(
        host=host or word(node, "node_id"),
        kind=_kind(resources),
        total=_amount(resources.get("GPU"), "resources_total.GPU"),
        held=None,
        closed="" if state == "ALIVE" else f"Ray calls it {state}",
    )


def _summed(node: Mapping[str, Any], logical: Mapping[str, Any]) -> _Node:
    """Return a node of the dashboard's page; what is reserved for a placement group is given out."""
    raylet = mapping(node, "raylet")
    resources = mapping(raylet, "resourcesTotal") or mapping(raylet, "resources_total")
    cards = tuple(_card(gpu) for gpu in maps(node, "gpus"))
    host = word(node, "hostname") or word(raylet, "nodeManagerHostname") or word(node, "ip")
    address, state = word(raylet, "nodeManagerAddress") or word(node, "ip"), word(raylet, "state")
    said = next((logical[key] for key in (word(raylet, "nodeId"), address) if isinstance(logical.get(key), str)), None)
    match = _USAGE.search(said) if said is not None else None
    held = None if said is None else 0.0
    if match:
        used, _, in_groups, reserved = (float(part or 0) for part in match.groups())
        held = used + reserved - in_groups
    return _Node(
        host=host or word(raylet, "nodeId"),
        kind=_kind(resources),
        total=_amount(resources.get("GPU"), "raylet.resourcesTotal.GPU"),
        held=held,
        cards=cards,
        closed="" if state == "ALIVE" else f"Ray calls it {state or 'nothing'}",
    )


def _card(gpu: Mapping[str, Any]) -> _Card:
    sizes = (gpu.get(f"memory{what}", gpu.get(f"memory_{what.lower()}")) for what in ("Total", "Used"))
    total, used = (int(_amount(size, "gpus.memory")) * MIB for size in sizes)
    return _Card(product=word(gpu, "name"), total_bytes=total, used_bytes=used)


def _used(host: str, usage: Mapping[str, Any]) -> _Node:
    """Return a node of the autoscaler's report: pairs of what is given out and what there is."""
    pair = usage.get("GPU", (0, 0))
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise Malformed(f"usage_by_node.{host}.GPU", f"expected two numbers, not {found(pair)}")
    held, total = (_amount(one, f"usage_by_node.{host}.GPU") for one in pair)
    return _Node(host=host, kind=_kind(usage), total=total, held=held)


def _kind(resources: Mapping[str, Any]) -> str:
    """Return the accelerator type, which is a resource of its own."""
    names = [key.removeprefix(prefix) for key in resources for prefix in _TYPES if key.startswith(prefix)]
    if len(names) > 1:
        raise Malformed("resources", f"several accelerator types of one node: {', '.join(map(found, names))}")
    return names[0] if names and names[0].isprintable() else ""


def _amount(value: object, path: str) -> float:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise Malformed(path, f"expected a number, not {found(value)}")
    return value


def _found(node: _Node, products: Products) -> Devices | LeftOut:
    """Return what is free on a node: GPUs that Ray has not given out and that nobody else uses."""
    count = int(node.total) or len(node.cards)
    names = sorted({card.product for card in node.cards})
    called = ", ".join(names) or node.kind or "GPU"
    gpu = Unclear(node.closed) if node.closed else _gpu(node, names, products)
    if isinstance(gpu, Unclear):
        return LeftOut(host=node.host, called=called, count=count, reason=gpu.reason)
    if node.cards and count > len(node.cards):
        reason = f"Ray counts {count} GPUs where the driver has {len(node.cards)}"
        return LeftOut(host=node.host, called=called, count=count, reason=reason)
    light = [card.used_bytes for card in node.cards if card.used_bytes <= LIGHT * gpu.memory_bytes]
    free = count - math.ceil(node.held or 0)
    free = min(free, len(light)) if node.cards else free
    if free < 1:
        return LeftOut(host=node.host, called=called, count=count, reason="others hold all of them")
    held = (f"{node.host} has given out {node.held:g}",) if node.held else ()
    if node.cards and len(light) < len(node.cards):
        held = (*held, f"memory of {len(node.cards) - len(light)} is in use on {node.host}")
    in_use = 0 if gpu.integrated else max(map(rounded, light), default=0)
    return Devices(
        host=node.host, gpu=gpu, called=called, count=free, total=count, memory_in_use_bytes=in_use, held=held
    )


def _gpu(node: _Node, names: Sequence[str], products: Products) -> Any:  # noqa: ANN401 - a GPU, or why none
    if len(names) > 1:
        return Unclear("GPUs of several kinds on one node, of which Ray does not say what is given out")
    if names:
        return products.find(names[0], node.cards[0].total_bytes)
    if not node.kind:
        return Unclear("Ray does not say what they are")
    return products.short(node.kind, accelerator_type, _TURING)


def accelerator_type(product: str) -> str | None:
    """Return what Ray calls a GPU that NVIDIA's driver calls ``product``; None where it calls it nothing.

    Source: ``_gpu_name_to_accelerator_type`` in _private/accelerators/nvidia_gpu.py, Ray 2.60.
    """
    match = _NAME.match(product)
    short = match[1].replace(" ", "-") if match else ""
    if len(short) > 1:
        return short
    return re.sub(r"^NVIDIA\s+", "", product).strip().replace(" ", "-") or None
