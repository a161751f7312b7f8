"""One node of a cluster as kubectl writes it: its labels, what it gives out, and why nothing may be placed on it."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from planner.inventory.documents import Malformed, each, found, mapping, maps, word
from planner.inventory.objects import Item, named
from planner.inventory.pods import is_device
from planner.inventory.quantity import whole

_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_TOLERATED = ("nvidia.com/gpu", "NoSchedule")
"""The taint that rendered pods tolerate, whatever its value."""
_OF_A_TAINT = ("key", "value", "effect")
KEEPS_OUT = ("NoSchedule", "NoExecute")


class Node(Struct, frozen=True, kw_only=True):
    """A node: ``has`` and ``gives`` are its capacity and what pods can have of it, by resource, of devices only.

    ``closed`` says why no pod of a fleet is placed here, or is empty. ``taints`` keep no such pod away.
    """

    name: str
    labels: Mapping[str, Any]
    has: Mapping[str, int]
    gives: Mapping[str, int]
    taints: tuple[str, ...]
    closed: str
    unsaid: bool

    def label(self, key: str) -> str:
        """Return the value of a label, empty where it is absent."""
        value = self.labels.get(key)
        if value is not None and (not isinstance(value, str) or not value.isprintable()):
            raise Malformed(f"metadata.labels.{key}", f"expected text, not {found(value)}")
        return value or ""

    @property
    def zone(self) -> str:
        """The zone the node is in, empty where it does not say."""
        return next(filter(None, map(self.label, _ZONES)), "")

    def number(self, key: str) -> int | None:
        """Return the value of a label that is a number, None where it is absent.

        Raises:
            Malformed: it is something else.
        """
        text = self.label(key)
        if text and not text.isascii():
            raise Malformed(f"metadata.labels.{key}", f"expected a number, not {text!a}")
        return whole(text, f"metadata.labels.{key}") if text else None


def read_node(item: Item) -> Node:
    """Return a node.

    Raises:
        Malformed: it is not as Kubernetes has nodes.
    """
    data = item.data
    taints = tuple(_taints(data))
    state = tuple(_state(data))
    against = (f"tainted {taint}" for taint, against in taints if against)
    return Node(
        name=named(item),
        labels=mapping(data, "metadata", "labels"),
        has=_devices(data, "capacity"),
        gives=_devices(data, "allocatable"),
        taints=tuple(taint for taint, against in taints if not against),
        closed="; ".join(state or against),
        unsaid=not any(one.get("type") == "Ready" for one in maps(data, "status", "conditions")),
    )


def _devices(data: Mapping[str, Any], part: str) -> dict[str, int]:
    amounts = mapping(data, "status", part).items()
    return {name: whole(amount, f"status.{part}.{name}") for name, amount in amounts if is_device(name)}


def _state(data: Mapping[str, Any]) -> Iterator[str]:
    if mapping(data, "metadata").get("deletionTimestamp"):
        yield "is being deleted"
    cordoned = mapping(data, "spec").get("unschedulable")
    if cordoned not in (None, True, False):
        raise Malformed("spec.unschedulable", "expected true or false")
    if cordoned:
        yield "cordoned"
    for condition in maps(data, "status", "conditions"):
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            reason = word(condition, "reason")
            yield f"not ready{f' ({reason})' if reason else ''}"


def _taints(data: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each taint, and whether it keeps the fleet's pods away."""
    taints = maps(data, "spec", "taints")
    for key, value, effect in each("spec.taints", taints, lambda one: [word(one, part) for part in _OF_A_TAINT]):
        yield f"{key}{f'={value}' if value else ''}:{effect}", effect in KEEPS_OUT and (key, effect) != _TOLERATED
