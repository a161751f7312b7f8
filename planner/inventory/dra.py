"""Resource slices and claims -> the GPUs that NVIDIA's DRA driver publishes on each node, and who has them.

Sources: the API group resource.k8s.io, v1 and its betas (the first of which has a device's facts in ``basic``), and
what NVIDIA's driver writes there (``cmd/gpu-kubelet-plugin/deviceinfo.go``): a slice has the product of its card.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.inventory.documents import each, mapping, maps, word
from planner.inventory.node import KEEPS_OUT
from planner.inventory.objects import Item, named
from planner.inventory.quantity import whole

DRIVER = "gpu.nvidia.com"


class Device(Struct, frozen=True, kw_only=True):
    """One device of a node: ``key`` is its pool and its name, ``counters`` what it shares with others of its card.

    ``driver_bytes`` is its memory as the driver says it, 0 for a slice. ``refusal`` says why no server can have it.
    """

    node: str
    key: tuple[str, str]
    called: str
    driver_bytes: int
    counters: frozenset[tuple[str, str]]
    refusal: str = ""


class Slice(Struct, frozen=True):
    """One slice of a pool of devices: a pool is whole when all slices of its newest generation are there."""

    node: str
    pool: str
    generation: int
    count: int
    devices: tuple[Device, ...]


def read_slice(item: Item) -> Slice | None:
    """Return a slice of NVIDIA's driver for GPUs; None for one of another driver, or of no single node.

    Raises:
        Malformed: it is not as Kubernetes has slices.
    """
    spec = mapping(item.data, "spec")
    node = word(spec, "nodeName")
    if word(spec, "driver") != DRIVER or not node:
        return None
    pool = mapping(spec, "pool")
    generation, count = (whole(pool.get(key, 0), f"spec.pool.{key}") for key in ("generation", "resourceSliceCount"))
    name = word(pool, "name")
    devices = each("spec.devices", maps(spec, "devices"), lambda device: _device(node, name, device))
    return Slice(node, name, generation, count, tuple(devices))


def _device(node: str, pool: str, device: Mapping[str, Any]) -> Device:
    facts = mapping(device, "basic") or device
    attributes = mapping(facts, "attributes")
    product, kind, profile = (_attribute(attributes, key) for key in ("productName", "type", "profile"))
    sets = frozenset((pool, word(one, "counterSet")) for one in maps(facts, "consumesCounters"))
    taints = [one for one in maps(facts, "taints") if one.get("effect") in KEEPS_OUT]
    capacity = mapping(facts, "capacity", "memory").get("value", 0)
    refusal = ""
    if taints:
        refusal = f"the device is tainted {word(taints[0], 'key')}:{word(taints[0], 'effect')}"
    elif kind == "mig" and sets:
        refusal = "slices that are only made when a claim asks for them"
    elif kind not in ("gpu", "mig") or not product:
        refusal = f"a device of type {kind or 'unknown'} without a product that could be planned"
    return Device(
        node=node,
        key=(pool, word(device, "name")),
        called=f"{product} MIG {profile}" if kind == "mig" else product or DRIVER,
        driver_bytes=0 if kind == "mig" else whole(capacity, "capacity.memory.value"),
        counters=sets,
        refusal=refusal,
    )


def _attribute(attributes: Mapping[str, Any], name: str) -> str:
    """Return an attribute that is text, with or without its driver before it."""
    return word(attributes, name, "string") or word(attributes, f"{DRIVER}/{name}", "string")


def whole_pools(slices: Sequence[Slice]) -> tuple[dict[str, list[Device]], dict[str, str]]:
    """Return the devices by node, and for a node of whose slices some are missing, what is wrong."""
    newest: dict[tuple[str, str], int] = defaultdict(int)
    for one in slices:
        newest[one.node, one.pool] = max(newest[one.node, one.pool], one.generation)
    current = [one for one in slices if one.generation == newest[one.node, one.pool]]
    by_pool: dict[tuple[str, str], list[Slice]] = defaultdict(list)
    for one in current:
        by_pool[one.node, one.pool].append(one)
    devices: dict[str, list[Device]] = defaultdict(list)
    partial = {}
    for (node, _), members in by_pool.items():
        devices[node] += [device for one in members for device in one.devices]
        if members[0].count > len(members):
            partial[node] = f"{len(members)} of its {members[0].count} resource slices are in the files"
    return devices, partial


class Allocated(Struct, frozen=True):
    """A device that a claim has, and the pods (with their namespace) that the claim is reserved for."""

    key: tuple[str, str]
    claim: str
    pods: tuple[str, ...]


def read_claim(item: Item) -> tuple[Allocated, ...]:
    """Return the devices of NVIDIA's driver that a claim has; access of an administrator takes none.

    Raises:
        Malformed: it is not as Kubernetes has claims.
    """
    name = named(item)
    namespace = name.partition("/")[0]
    status = mapping(item.data, "status")
    pods = tuple(
        f"{namespace}/{word(one, 'name')}" for one in maps(status, "reservedFor") if one.get("resource") == "pods"
    )
    results = maps(status, "allocation", "devices", "results")
    return tuple(_allocated(name, pods, results))


def _allocated(name: str, pods: tuple[str, ...], results: Sequence[Mapping[str, Any]]) -> Iterator[Allocated]:
    for one in results:
        if one.get("driver") == DRIVER and not one.get("adminAccess"):
            yield Allocated((word(one, "pool"), word(one, "device")), name, pods)
