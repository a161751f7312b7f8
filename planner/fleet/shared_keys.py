"""The key of a role that has no server of its own: its shape in fleet.yaml."""

from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.fleet import values
from planner.fleet.shapes import Map


class SharedKeys(Map):
    """Whether a role is done by the server of another one."""

    later: ClassVar[tuple[str, ...]] = ("same_server_as",)

    same_server_as: Annotated[str | None, PlainValidator(values.text), WithJsonSchema(values.TEXT_SCHEMA)] = Field(
        default=None, description="the role whose server does this one too, under both names"
    )
