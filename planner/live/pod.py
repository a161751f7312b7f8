"""One pod of a fleet's servers as kubectl wrote it, and the state it is in."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from planner.inventory.documents import Malformed, mapping, maps, word
from planner.inventory.objects import Item, named
from planner.inventory.pods import CHART_ENGINE, OVER, asked, fleet_of

INSTANCE = "app.kubernetes.io/instance"
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
_COMPONENT, _SERVERS = "app.kubernetes.io/component", ("server", "worker")


class Pod(Struct, frozen=True, kw_only=True):
    """A pod of a fleet: ``state`` is empty when it is ready. ``over`` says that it has ended or is being ended.

    ``asks`` are the devices it asks for, by resource. ``containers`` are all that run, sidecars first. ``helm`` says
    that the chart of the production stack made it, and ``worker`` that it is no leader of its group.
    """

    name: str
    node: str
    instance: str
    helm: bool
    worker: bool
    over: str
    state: str
    asks: Mapping[str, int]
    containers: tuple[Mapping[str, Any], ...]


def read_pod(item: Item, fleet: str) -> Pod | None:
    """Return a pod of the fleet whose objects begin so; None for any other, also for the fleet's router and downloads.

    Raises:
        Malformed: it is not as Kubernetes has pods.
    """
    labels = mapping(item.data, "metadata", "labels")
    metadata, spec = mapping(item.data, "metadata"), mapping(item.data, "spec")
    status = mapping(item.data, "status")
    if fleet_of(item.data) != fleet or not (CHART_ENGINE in labels or word(labels, _COMPONENT) in _SERVERS):
        return None
    phase = word(status, "phase")
    over = "is being ended" if metadata.get("deletionTimestamp") else ""
    if phase in OVER:
        over = f"has ended: {word(status, 'reason') or phase}"
    sidecars = [one for one in maps(spec, "initContainers") if one.get("restartPolicy") == "Always"]
    return Pod(
        name=named(item),
        node=word(spec, "nodeName"),
        instance=word(labels, CHART_ENGINE) or word(labels, INSTANCE),
        helm=CHART_ENGINE in labels,
        worker=word(labels, WORKER_INDEX) not in ("", "0"),
        over=over,
        state=", ".join(_state(phase, status)),
        asks=asked(spec),
        containers=(*sidecars, *maps(spec, "containers")),
    )


def _state(phase: str, status: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a pod is not ready."""
    conditions = {one.get("type"): one for one in maps(status, "conditions")}
    if conditions.get("Ready", {}).get("status") == "True":
        return
    yield phase or "says no phase"
    placed = conditions.get("PodScheduled", {})
    if placed.get("status") == "False":
        yield _text(placed, "message") or _text(placed, "reason") or "not scheduled"
    for key in ("initContainerStatuses", "containerStatuses"):
        for one in maps(status, key):
            for kind in ("waiting", "terminated"):
                reason = word(mapping(one, "state", kind), "reason")
                if reason and reason != "Completed":
                    yield f"{word(one, 'name')} {reason}"


def _text(condition: Mapping[str, Any], key: str) -> str:
    """Return text of a condition on one line."""
    text = condition.get(key)
    if not isinstance(text, str | None):
        raise Malformed(f"status.conditions.{key}", "expected text")
    return " ".join((text or "").split())
