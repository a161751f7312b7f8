"""The keys of a fleet that say what its cluster can do: their shape in fleet.yaml."""

from planner.fleet.shapes import BOOLEAN, Map, key


class ClusterMap(Map):
    """The Kubernetes cluster that the fleet runs in."""

    dra: bool = key(
        BOOLEAN,
        "NVIDIA's DRA driver gives out the GPUs (Kubernetes 1.34 or newer), not the device plugin",
        default=False,
    )
