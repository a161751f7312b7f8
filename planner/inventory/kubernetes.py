"""Files that kubectl wrote -> the GPUs of a cluster that pods of a fleet could have."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from planner.errors import Problem
from planner.inventory.claimed import Published
from planner.inventory.documents import Malformed, raise_all
from planner.inventory.dra import read_claim, read_slice
from planner.inventory.fleet_text import hosts_text
from planner.inventory.machine import Devices, Inventory, LeftOut
from planner.inventory.node import Node, read_node
from planner.inventory.objects import CLAIMS, NODES, PODS, SLICES, Item, Objects, read_objects
from planner.inventory.offers import Offer, offers
from planner.inventory.pods import Holder, holder
from planner.inventory.products import Products, Unclear

_Read = TypeVar("_Read")
_MOST_PENDING = 5
_NOT_DRA = "the device plugin gives them out, and pods of a fleet for NVIDIA's DRA driver ask that"
_BOTH = "the node's device plugin gives out the same GPUs"


def from_kubectl(paths: Sequence[Path], products: Products, own: str) -> Inventory:
    """Return the GPUs of a cluster.

    ``own`` is what the objects of the fleet begin with that the inventory is for: what its pods hold is free. Where it
    is empty and all servers of the cluster are one fleet's, that one is meant.

    Raises:
        InputError: a file is not what kubectl writes; all problems of all objects are named.
    """
    objects = read_objects(paths)
    holding, wrong = _all(objects.pods, holder)
    slices, wrong_slices = _all(objects.slices, read_slice)
    claims, wrong_claims = _all(objects.claims, read_claim)
    nodes, wrong_nodes = _all(objects.nodes, lambda item: _Offered(item, read_node(item)))
    raise_all((*wrong, *wrong_slices, *wrong_claims, *wrong_nodes))
    fleets = sorted({one.fleet for one in holding if one.fleet})
    own = own or (fleets[0] if len(fleets) == 1 else "")
    by_node: dict[str, list[Holder]] = defaultdict(list)
    for one in holding:
        if not own or one.fleet != own:
            by_node[one.node].append(one)
    ours = frozenset(one.name for one in holding if own and one.fleet == own)
    allocated = [one for claim in claims for one in claim if not one.pods or not ours.issuperset(one.pods)]
    published = Published(slices, allocated, "ResourceClaim" in objects.given)
    found = [one for offered in nodes for one in _on_node(offered, by_node[offered.node.name], published, products)]
    devices = tuple(one for one in found if isinstance(one, Devices))
    return Inventory(
        sources=(_commands(objects), ", ".join(path.name for path in paths)),
        devices=devices,
        left_out=tuple(one for one in found if isinstance(one, LeftOut)),
        remarks=tuple(_remarks(objects, nodes, () if published.nodes else devices, by_node, own, fleets)),
        without_gpus=sum(not offered.offers and offered.node.name not in published.nodes for offered in nodes),
        dra=bool(published.nodes),
        fleet=own if own in fleets else "",
    )


def _commands(objects: Objects) -> str:
    used = [NODES, PODS, *([SLICES] if objects.slices else []), *([CLAIMS] if objects.claims else [])]
    return ", ".join(f"`{command}`" for command in used[:-1]) + f" and `{used[-1]}`"


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


def _on_node(
    offered: _Offered, held: Sequence[Holder], published: Published, products: Products
) -> Iterator[Devices | LeftOut]:
    node = offered.node
    for offer in offered.offers:
        holders = [one for one in held if one.asks.get(offer.resource)]
        said = tuple(f"{one.by} holds {one.asks[offer.resource]} on {node.name}" for one in holders)
        other = _NOT_DRA if published.nodes and offer.resource.startswith("nvidia.com/") else ""
        taken = sum(one.asks[offer.resource] for one in holders)
        yield _found(node, replace(offer, refusal=offer.refusal or other), taken, said, products)
    plugin = any(offer.resource.startswith("nvidia.com/") and offer.gives for offer in offered.offers)
    for stock in published.stocks(node.name, held):
        refusal = stock.offer.refusal or (_BOTH if plugin else "")
        yield _found(node, replace(stock.offer, refusal=refusal), stock.taken, stock.held, products)


def _found(node: Node, offer: Offer, taken: int, held: tuple[str, ...], products: Products) -> Devices | LeftOut:
    """Return what is free of an offer, or why a plan cannot have any of it."""
    closed = node.closed or offer.refusal
    gpu = Unclear(closed) if closed else products.find(offer.called, offer.driver_bytes)
    free = max(0, offer.gives - taken)
    if isinstance(gpu, Unclear) or not free:
        reason = gpu.reason if isinstance(gpu, Unclear) else _taken(offer)
        return LeftOut(host=node.name, called=offer.called, count=offer.has, reason=reason, held=held)
    if offer.gives < offer.has:
        held = (f"{node.name} gives out {offer.gives} of its {offer.has}", *held)
    return Devices(
        host=node.name,
        gpu=gpu,
        called=offer.called,
        count=free,
        total=offer.has,
        zone=node.zone,
        taints=node.taints,
        held=held,
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
        yield f"Not said whether they are ready, so that pods are placed there: {hosts_text(unsaid)}."
    namespaces = {(item.data.get("metadata") or {}).get("namespace") for item in objects.pods}
    if len(namespaces) == 1 and len(objects.pods) > 1:
        yield f"All pods are of namespace {next(iter(namespaces))}: was that file written with --all-namespaces?"
