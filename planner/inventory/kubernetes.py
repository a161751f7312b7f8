"""Files that kubectl wrote -> the GPUs of a cluster that pods of a fleet could have."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from planner.errors import Problem
from planner.inventory.documents import Malformed, raise_all
from planner.inventory.machine import Devices, Inventory, LeftOut
from planner.inventory.node import Node, read_node
from planner.inventory.objects import NODES, PODS, Item, Objects, read_objects
from planner.inventory.offers import Offer, offers
from planner.inventory.pods import Holder, holder
from planner.inventory.products import Products, Unclear

_Read = TypeVar("_Read")
_MOST_PENDING = 5


def from_kubectl(paths: Sequence[Path], products: Products, own: str) -> Inventory:
    """Return the GPUs of a cluster.

    ``own`` is what the objects of the fleet begin with that the inventory is for: what its pods hold is free. Where it
    is empty and all servers of the cluster are one fleet's, that one is meant.

    Raises:
        InputError: a file is not what kubectl writes; all problems of all objects are named.
    """
    objects = read_objects(paths)
    holding, wrong = _all(objects.pods, holder)
    nodes, more = _all(objects.nodes, lambda item: _Offered(item, read_node(item)))
    raise_all((*wrong, *more))
    fleets = sorted({one.fleet for one in holding if one.fleet})
    own = own or (fleets[0] if len(fleets) == 1 else "")
    others = [one for one in holding if not own or one.fleet != own]
    by_node: dict[str, list[Holder]] = defaultdict(list)
    for one in others:
        by_node[one.node].append(one)
    found = [one for offered in nodes for one in _on_node(offered, by_node[offered.node.name], products)]
    devices = tuple(one for one in found if isinstance(one, Devices))
    return Inventory(
        sources=(f"`{NODES}` and `{PODS}`", ", ".join(path.name for path in paths)),
        devices=devices,
        left_out=tuple(one for one in found if isinstance(one, LeftOut)),
        remarks=tuple(_remarks(objects, nodes, devices, by_node, own, fleets)),
        without_gpus=sum(not offered.offers for offered in nodes),
        fleet=own if own in fleets else "",
    )


class _Offered:
    """A node and what it gives out."""

    __slots__ = ("node", "offers")

    def __init__(self, item: Item, node: Node) -> None:
        self.node = node
        self.offers = tuple(offers(node))


def _all(items: Iterable[Item], read: Callable[[Item], _Read | None]) -> tuple[list[_Read], list[Problem]]:
    """Return what can be read of objects, and what is wrong with the others."""
    right, wrong = [], []
    for item in items:
        try:
            if (one := read(item)) is not None:
                right.append(one)
        except Malformed as error:
            wrong.append(item.problem(error))
    return right, wrong


def _on_node(offered: _Offered, held: Sequence[Holder], products: Products) -> Iterator[Devices | LeftOut]:
    node = offered.node
    for offer in offered.offers:
        holders = [one for one in held if one.asks.get(offer.resource)]
        taken = sum(one.asks[offer.resource] for one in holders)
        said = tuple(f"{one.by} holds {one.asks[offer.resource]} on {node.name}" for one in holders)
        closed = node.closed or offer.refusal
        gpu = Unclear(closed) if closed else products.find(offer.called, offer.driver_bytes)
        free = max(0, offer.gives - taken)
        if isinstance(gpu, Unclear) or not free:
            reason = gpu.reason if isinstance(gpu, Unclear) else _taken(offer)
            yield LeftOut(host=node.name, called=offer.called, count=offer.has, reason=reason, held=said)
            continue
        if offer.gives < offer.has:
            said = (f"{node.name} gives out {offer.gives} of its {offer.has}", *said)
        yield Devices(
            host=node.name,
            gpu=gpu,
            called=offer.called,
            count=free,
            total=offer.has,
            zone=node.zone,
            taints=node.taints,
            held=said,
        )


def _taken(offer: Offer) -> str:
    ill = "the node gives none of them out: its device plugin calls them unhealthy"
    return "others hold all of them" if offer.gives else ill


def _remarks(
    objects: Objects,
    nodes: Sequence[_Offered],
    devices: Sequence[Devices],
    held: Mapping[str, Sequence[Holder]],
    own: str,
    fleets: Sequence[str],
) -> Iterator[str]:
    if own in fleets:
        yield f"What pods of {own} hold counts as free: they are those of the fleet itself."
    others = [fleet for fleet in fleets if fleet != own]
    if others:
        yield f"Other fleets hold GPUs here: {', '.join(others)}. --name says which fleet this is for."
    yield from _waiting(held.get("", ()))
    yield from _doubts(objects, nodes, held)
    for called, product in sorted({(one.called, one.gpu.product.replace(" ", "-")) for one in devices}):
        if called != product:
            yield f"Rendered pods look for {product}, and nodes are labelled {called}: their affinity needs a patch."
    if any(offer.resource.startswith("nvidia.com/mig-") for offered in nodes for offer in offered.offers):
        yield "Slices of the MIG strategy `mixed` are asked for by the overlay kubernetes/mig-mixed."


def _waiting(pods: Sequence[Holder]) -> Iterator[str]:
    for one in pods[:_MOST_PENDING]:
        asks = ", ".join(f"{count} {name}" for name, count in sorted(one.asks.items())) or "a resource claim"
        yield f"{one.by} waits for {asks} and is on no node yet: not counted."
    if len(pods) > _MOST_PENDING:
        yield f"So do {len(pods) - _MOST_PENDING} other pods."


def _doubts(objects: Objects, nodes: Sequence[_Offered], held: Mapping[str, Sequence[Holder]]) -> Iterator[str]:
    """Yield what in the files may not be all there is."""
    known = {offered.node.name for offered in nodes}
    lost = sorted({name for name in held if name and name not in known})
    if lost:
        yield f"Pods hold GPUs of {len(lost)} nodes that are not in the files, such as {lost[0]}."
    unsaid = [offered.node.name for offered in nodes if offered.node.unsaid and offered.offers]
    if unsaid:
        yield f"{len(unsaid)} nodes do not say whether they are ready, such as {unsaid[0]}: the scheduler takes those."
    namespaces = {(item.data.get("metadata") or {}).get("namespace") for item in objects.pods}
    if len(namespaces) == 1 and len(objects.pods) > 1:
        yield f"All pods are of namespace {next(iter(namespaces))}: was that file written with --all-namespaces?"
