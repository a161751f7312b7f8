"""Pods -> the devices they hold on nodes, as Kubernetes counts what a pod asks for."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from planner.inventory.documents import Malformed, mapping, maps, word
from planner.inventory.objects import Item, named
from planner.inventory.quantity import whole

OVER = ("Succeeded", "Failed")
"""Phases of a pod that has let go of everything it had."""
OWN_FILES = "/opt/planner/"
"""Where the rendered manifests put what starts a server: nobody else's containers begin there."""
PART_OF, CHART_ENGINE = "app.kubernetes.io/part-of", "planner/engine"


class Holder(Struct, frozen=True, kw_only=True):
    """One pod on ``node`` (empty: on none yet) with what it asks for by resource, and the names of its claims.

    ``by`` is what a reader knows it by, ``fleet`` what the objects of its fleet begin with if it is a server of one.
    """

    name: str
    node: str
    by: str
    asks: Mapping[str, int]
    claims: tuple[str, ...]
    fleet: str = ""


_DEVICE = re.compile(
    r"nvidia\.com/(?:gpu(?:\.shared)?|mig-.+|[A-Z].*)|amd\.com/gpu|gpu\.intel\.com/(?:i915|xe)|habana\.ai/gaudi"
)
"""Extended resources that are GPUs or parts of them. Of what is ``nvidia.com/`` names in small letters may be network
cards; a large one begins that of a GPU that is passed through to virtual machines (NVIDIA's KubeVirt device plugin).
"""


@lru_cache(maxsize=1024)
def is_device(resource: str) -> bool:
    """Whether an extended resource is a GPU or a part of one, of any maker."""
    return _DEVICE.fullmatch(resource) is not None


def holder(item: Item) -> Holder | None:
    """Return what one pod holds; None for a pod that has ended or asks for no device.

    Raises:
        Malformed: it is not as Kubernetes has pods.
    """
    pod = item.data
    status = mapping(pod, "status")
    if status.get("phase") in OVER:
        return None
    spec = mapping(pod, "spec")
    asks = asked(spec)
    claims = tuple(_claims(pod, named(item)))
    if not asks and not claims:
        return None
    node = word(spec, "nodeName") or word(status, "nominatedNodeName")
    return Holder(
        name=named(item), node=node, by=_owner(pod, named(item)), asks=asks, claims=claims, fleet=fleet_of(pod)
    )


def asked(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return the devices that a pod with this specification holds while it runs, by resource.

    Containers run together, and beside them every init container that restarts always; the other init containers run
    one after another before (``PodRequests`` of k8s.io/component-helpers/resource, Kubernetes 1.29 and newer).

    Raises:
        Malformed: a container is not as Kubernetes has them.
    """
    pod = {"spec": spec}
    beside: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for number, container in enumerate(maps(pod, "spec", "initContainers")):
        if wants := _wants(container, "initContainers", number):
            if container.get("restartPolicy") == "Always":
                beside.update(wants)
                most |= beside
            else:
                most |= beside + Counter(wants)
    together = Counter(beside)
    for number, container in enumerate(maps(pod, "spec", "containers")):
        together.update(_wants(container, "containers", number))
    return {resource: count for resource, count in (most | together).items() if count}


def _wants(container: Mapping[str, Any], kind: str, number: int) -> dict[str, int]:
    """Return a container's devices: what it requests, which is its limit where it says only that."""
    wants: dict[str, int] = {}
    try:
        resources = mapping(container, "resources")
        for part in ("limits", "requests"):
            for resource, amount in mapping(resources, part).items():
                if is_device(resource):
                    wants[resource] = whole(amount, f"{part}.{resource}")
    except Malformed as error:
        inside = error.path if error.path == "resources" else f"resources.{error.path}"
        raise Malformed(f"spec.{kind}[{number}].{inside}", error.message, error.hint) from None
    return wants


def _claims(pod: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the names of a pod's resource claims with their namespace; those from a template are in its status."""
    namespace = name.partition("/")[0]
    made = {one.get("name"): one.get("resourceClaimName") for one in maps(pod, "status", "resourceClaimStatuses")}
    for claim in maps(pod, "spec", "resourceClaims"):
        own = claim.get("resourceClaimName") or made.get(claim.get("name"))
        if own:
            yield f"{namespace}/{own}"


def _owner(pod: Mapping[str, Any], name: str) -> str:
    """Return what controls a pod, as a reader knows it: a DaemonSet by its name, a bare pod by its own."""
    namespace = name.partition("/")[0]
    for owner in maps(pod, "metadata", "ownerReferences"):
        if owner.get("kind") == "DaemonSet":
            return f"DaemonSet {namespace}/{word(owner, 'name')}"
    return name


def fleet_of(pod: Mapping[str, Any]) -> str:
    """Return what the objects of the fleet begin with, of which a pod is a server; empty for pods of others.

    Raises:
        Malformed: it is not as Kubernetes has pods.
    """
    labels = mapping(pod, "metadata", "labels")
    if CHART_ENGINE in labels:
        return word(labels, CHART_ENGINE).partition("--")[0]
    words = (part for container in maps(pod, "spec", "containers") for part in _command(container))
    if any(OWN_FILES in str(part) for part in words):
        return word(labels, PART_OF)
    return ""


def _command(container: Mapping[str, Any]) -> list[Any]:
    command = container.get("command")
    return command if isinstance(command, list) else []
