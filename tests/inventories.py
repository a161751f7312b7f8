"""Nodes, pods and what else kubectl writes, as small as the API server would still store them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

H100 = "NVIDIA-H100-80GB-HBM3"
GPU = "nvidia.com/gpu"
Json = dict[str, Any]


def labels_of(product: str = H100, count: int = 8, memory: int = 81559, **others: str) -> dict[str, str]:
    """What GPU feature discovery writes on a node of whole cards."""
    found = {f"{GPU}.product": product, f"{GPU}.count": str(count), f"{GPU}.memory": str(memory)}
    return found | {f"{GPU}.replicas": "1", f"{GPU}.sharing-strategy": "none", f"{GPU}.present": "true"} | others


def node(
    name: str,
    gives: Mapping[str, Any] | int = 8,
    *,
    has: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    zone: str = "",
    taints: Sequence[Json] = (),
    ready: str = "True",
    **spec: Any,  # noqa: ANN401 - any JSON
) -> Json:
    """One node; ``gives`` is what is allocatable, of GPUs alone when it is a number, ``has`` its capacity."""
    amounts = {GPU: str(gives)} if isinstance(gives, int) else dict(gives)
    found = dict(labels_of() if labels is None else labels)
    found |= {"topology.kubernetes.io/zone": zone} if zone else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": found | {"kubernetes.io/hostname": name}},
        "spec": {**({"taints": list(taints)} if taints else {}), **spec},
        "status": {
            "capacity": {"cpu": "192", "memory": "2113379328Ki", "pods": "110", **(amounts if has is None else has)},
            "allocatable": {"cpu": "191500m", "memory": "2113276928Ki", "pods": "110", **amounts},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


def container(gpus: Any = 0, resource: str = GPU, **others: Any) -> Json:  # noqa: ANN401 - any JSON
    """One container that asks for so many GPUs."""
    resources = {"limits": {resource: str(gpus)}, "requests": {resource: str(gpus)}} if gpus else {}
    return {"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": resources, **others}


def pod(
    name: str,
    on: str = "",
    gpus: Any = 0,  # noqa: ANN401 - any JSON
    *,
    phase: str = "Running",
    containers: Sequence[Json] = (),
    owner: Json | None = None,
    namespace: str = "team-a",
    **spec: Any,  # noqa: ANN401 - any JSON
) -> Json:
    """One pod on a node."""
    metadata: Json = {"name": name, "namespace": namespace, "labels": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | ({"ownerReferences": [owner]} if owner else {}),
        "spec": {"containers": list(containers) or [container(gpus)], **({"nodeName": on} if on else {}), **spec},
        "status": {"phase": phase},
    }


def listed(*items: Json) -> Json:
    """A list as ``kubectl get -o json`` writes it."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


def saved(folder: Path, name: str, data: Any) -> Path:  # noqa: ANN401 - any JSON
    """Write a file of JSON and return its path."""
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def device(name: str, product: str = "NVIDIA H100 80GB HBM3", memory: str = "81559Mi", **others: Any) -> Json:  # noqa: ANN401
    """One whole card as NVIDIA's DRA driver publishes it."""
    attributes = {"type": {"string": "gpu"}, "productName": {"string": product}, "uuid": {"string": f"GPU-{name}"}}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **others}


def mig_device(name: str, profile: str, product: str = "NVIDIA A100-SXM4-80GB", **others: Any) -> Json:  # noqa: ANN401
    """One MIG slice as NVIDIA's DRA driver publishes it."""
    found = device(name, product, "40192Mi", **others)
    found["attributes"] |= {"type": {"string": "mig"}, "profile": {"string": profile}}
    return found


def resource_slice(on: str, *devices: Json, generation: int = 1, count: int = 1, name: str = "") -> Json:
    """A slice of the pool that a node has."""
    pool = {"name": on, "generation": generation, "resourceSliceCount": count}
    spec = {"driver": "gpu.nvidia.com", "nodeName": on, "pool": pool, "devices": list(devices)}
    metadata = {"name": name or f"{on}-gpu.nvidia.com-{generation}"}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": metadata, "spec": spec}


def claim(name: str, on: str, *devices: str, by: str = "", namespace: str = "team-a", **others: Any) -> Json:  # noqa: ANN401
    """A claim that has devices of a node, reserved for a pod."""
    results = [{"request": "gpu", "driver": "gpu.nvidia.com", "pool": on, "device": one, **others} for one in devices]
    reserved = [{"resource": "pods", "name": by, "uid": "1"}] if by else []
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
        "status": {"allocation": {"devices": {"results": results}}, "reservedFor": reserved},
    }


def said(folder: Path) -> str:
    """The comments of the fleet on one line."""
    lines = (folder / "fleet.yaml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.strip().removeprefix("# ") for line in lines if line.strip().startswith("#"))
