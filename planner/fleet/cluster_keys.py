"""The keys of a fleet that say what its cluster can do: their shape in fleet.yaml."""

from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.fleet import values
from planner.fleet.shapes import Map


class ClusterMap(Map):
    """The Kubernetes cluster that the fleet runs in."""

    dra: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False,
        description="NVIDIA's DRA driver gives out the GPUs (Kubernetes 1.34 or newer), not the device plugin",
    )
