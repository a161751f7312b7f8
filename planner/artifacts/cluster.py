"""What a cluster calls the parts of a fleet, and how it finds the GPU of a plan."""

from planner.artifacts.quoting import label, slug, unit_prefix

GROUP_NAME_LENGTH = 50
"""Characters of a LeaderWorkerSet's name. Pods of a StatefulSet have its name and eleven more characters in a label,
``controller-revision-hash``, of at most 63 (``pkg/controller/history`` of Kubernetes); that of the workers is called
as the set and ``-0``, and with more digits from the eleventh group on.
"""
_MIG = " MIG "


def group_name(fleet: str, server: str, *, replicas: int = 1) -> str:
    """Return the name of the LeaderWorkerSet of a server on several machines, or of its ``replicas``.

    Its controller makes a headless Service of that name, by which the pods find each other, unless there is one
    (``CreateHeadlessServiceIfNotExists``), so nothing else may have it.
    """
    return label(f"{unit_prefix(fleet)}--{slug(server)}", GROUP_NAME_LENGTH + 1 - len(str(replicas - 1)))


def service_name(fleet: str, server: str, *, node_count: int = 1, rank: int = 0) -> str:
    """Return the name of the Service through which the router reaches a server, or one of a group's pods."""
    name = f"{unit_prefix(fleet)}--{slug(server)}"
    return label(name if node_count == 1 else f"{name}--api{f'-{rank}' if rank else ''}")


def product_label(product: str) -> str:
    """Return what NVIDIA's GPU feature discovery writes into ``nvidia.com/gpu.product`` for a card or a slice.

    For a slice that is so with the device plugin's MIG strategy ``single`` (``internal/lm/resource.go``).
    """
    return product.replace(" ", "-")


def device_class(product: str) -> str:
    """Return the DeviceClass of NVIDIA's DRA driver for a card or a slice."""
    return "mig.nvidia.com" if _MIG in product else "gpu.nvidia.com"


def device_expression(product: str) -> str:
    """Return the CEL expression that finds the planned GPU among what NVIDIA's DRA driver publishes.

    A slice has the product name of its card, and its profile apart (``cmd/gpu-kubelet-plugin/deviceinfo.go``).
    """
    card, _, profile = product.partition(_MIG)
    found = f"{_attribute('productName')} == {_cel(card)}"
    return f"{found} && {_attribute('profile')} == {_cel(profile)}" if profile else found


def mixed_resource(product: str) -> str:
    """Return what the device plugin calls a slice with its MIG strategy ``mixed``; empty for a whole card."""
    _, _, profile = product.partition(_MIG)
    return f"nvidia.com/mig-{profile}" if profile else ""


def _attribute(name: str) -> str:
    return f'device.attributes["gpu.nvidia.com"].{name}'


def _cel(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
