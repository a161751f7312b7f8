"""What the fleet's cluster can do, which decides how its manifests are written."""

from msgspec import Struct


class Cluster(Struct, frozen=True, kw_only=True):
    """A Kubernetes cluster. With ``dra`` NVIDIA's DRA driver gives out its GPUs, otherwise the device plugin does."""

    dra: bool = False


USUAL = Cluster()
"""What a cluster is where the fleet says nothing."""
