"""Keys of a role that pin the engine: their shape in fleet.yaml, and the ``EngineSettings`` made of them."""

from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.engine.settings import EngineSettings
from planner.fleet import values
from planner.fleet.shapes import Map


class EngineKeys(Map):
    """What a role asks of its servers' engine; each key is a row of ``planner.engine.settings.SETTINGS``."""

    later = ("eager",)

    eager: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="run without compiling and without CUDA graphs: less memory, slower"
    )


def engine_settings(read: EngineKeys) -> EngineSettings:
    """Return what a role pins of the engine."""
    return EngineSettings(eager=read.eager)
