"""The key of a role that has no server of its own: its shape in fleet.yaml."""

from typing import ClassVar

from planner.fleet.shapes import TEXT, Map, key


class SharedKeys(Map):
    """Whether a role is done by the server of another one."""

    later: ClassVar[tuple[str, ...]] = ("same_server_as",)

    same_server_as: str | None = key(TEXT, "the role whose server does this one too, under both names")
