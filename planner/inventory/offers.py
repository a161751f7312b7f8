"""What a node's device plugins give out, resource by resource, as the labels beside them explain it."""

from collections.abc import Iterator

from msgspec import Struct

from planner.inventory.node import Node
from planner.units import MIB

WHOLE = "nvidia.com/gpu"
_SLICE, _SHARED = "nvidia.com/mig-", ".shared"
_PRODUCT, _COUNT, _MEMORY = f"{WHOLE}.product", f"{WHOLE}.count", f"{WHOLE}.memory"
_CHANGING = "nvidia.com/mig.config.state"
_GKE_SHARING = "cloud.google.com/gke-gpu-sharing-strategy"
_ELSEWHERE = ("cloud.google.com/gke-accelerator", "node.kubernetes.io/instance-type")
_AMD = ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")


class Offer(Struct, frozen=True, kw_only=True):
    """Devices of one resource on a node: ``has`` in all, of which it ``gives`` out some; ``called`` as labels do.

    ``driver_bytes`` is the memory of each as the driver says it, 0 where no label does. ``refusal`` says why they are
    no GPUs that a server could have, or is empty.
    """

    resource: str
    called: str
    has: int
    gives: int
    driver_bytes: int = 0
    refusal: str = ""


def offers(node: Node) -> Iterator[Offer]:
    """Yield what a node gives out, or should.

    Raises:
        Malformed: a label that counts something is no number.
    """
    for resource in sorted({*node.has, *node.gives}):
        has, gives = node.has.get(resource, 0), node.gives.get(resource, 0)
        if has or gives:
            yield _offer(node, resource, max(has, gives), gives)
    count = node.number(_COUNT) or 0
    if count and not any(node.has.values()) and not any(node.gives.values()):
        reason = "the node has no device to give out: its device plugin does not run, or found none"
        yield Offer(resource=WHOLE, called=node.label(_PRODUCT) or WHOLE, has=count, gives=0, refusal=reason)


def _offer(node: Node, resource: str, has: int, gives: int) -> Offer:
    if resource.startswith(WHOLE):
        return _whole(node, resource, has, gives)
    if resource.startswith(_SLICE):
        return _slice(node, resource, has, gives)
    called = next(filter(None, map(node.label, _AMD)), "").removesuffix("_OAM") if resource == "amd.com/gpu" else ""
    refusal = "" if called else f"no plan is made for what {resource} stands for"
    return Offer(resource=resource, called=called or resource, has=has, gives=gives, refusal=refusal)


def _whole(node: Node, resource: str, has: int, gives: int) -> Offer:
    """Whole cards, or the slices of a node whose MIG strategy is ``single``."""
    product = node.label(_PRODUCT)
    called = product.removesuffix("-SHARED")
    # Of a slice the label has the slice's memory, which the catalog knows as what an engine sees of it.
    memory = 0 if "-MIG-" in product else node.number(_MEMORY) or 0
    shares = _shares(node, WHOLE) or (product != called or resource.endswith(_SHARED))
    refusal, count = "", has
    if shares:
        refusal, count = _sharing(node, WHOLE, has)
    elif changing := _changing(node):
        refusal = changing
    elif "-MIG-INVALID" in product:
        refusal = "its MIG slices are not all alike, as the device plugin's strategy `single` needs them"
    elif not product:
        refusal = _unlabelled(node)
    return Offer(
        resource=resource, called=called or resource, has=count, gives=gives, driver_bytes=memory * MIB, refusal=refusal
    )


def _slice(node: Node, resource: str, has: int, gives: int) -> Offer:
    """Slices of one profile of a node whose MIG strategy is ``mixed``."""
    base = resource.removesuffix(_SHARED)
    profile = base.removeprefix(_SLICE)
    product = node.label(f"{base}.product").removesuffix("-SHARED")
    card = node.label(_PRODUCT).removesuffix("-SHARED")
    called = product or (f"{card}-MIG-{profile}" if card else resource)
    refusal, count = "", has
    if _shares(node, base) or base != resource:
        refusal, count = _sharing(node, base, has)
    elif changing := _changing(node):
        refusal = changing
    elif not product and not card:
        refusal = _unlabelled(node)
    return Offer(resource=resource, called=called, has=count, gives=gives, refusal=refusal)


def _changing(node: Node) -> str:
    """Return why slices of a node are none to plan with while they are made anew, or empty."""
    state = node.label(_CHANGING)
    if state in ("", "success"):
        return ""
    return f"its MIG slices are being changed or could not be ({_CHANGING}: {state})"


def _shares(node: Node, resource: str) -> bool:
    """Whether several pods get the same device: then what is counted is shares, whose memory nothing divides up."""
    strategy = node.label(f"{resource}.sharing-strategy")
    return (
        (node.number(f"{resource}.replicas") or 1) > 1 or strategy not in ("", "none") or bool(node.label(_GKE_SHARING))
    )


def _sharing(node: Node, resource: str, has: int) -> tuple[str, int]:
    """Return why shares are no GPUs, and how many devices there really are."""
    replicas = node.number(f"{resource}.replicas") or 0
    count = node.number(f"{resource}.count") or (has // replicas if replicas else 0)
    how = node.label(f"{resource}.sharing-strategy") or node.label(_GKE_SHARING) or "time slicing or MPS"
    each = f", {replicas} of each" if replicas > 1 else ""
    real = f"{count}" if count else "an unknown number of"
    what = "slices" if resource.startswith(_SLICE) else "GPUs"
    return f"the node gives out shares ({how}{each}) of {real} real {what}, and a plan needs them whole", count or has


def _unlabelled(node: Node) -> str:
    said = next((f"; {key} says {node.label(key)}" for key in _ELSEWHERE if node.label(key)), "")
    return f"no label {_PRODUCT}: GPU feature discovery does not run there, and pods of a fleet find GPUs by it{said}"
