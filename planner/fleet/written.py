"""FleetFile: a fleet file as data, before anything is looked up; a fleet keeps it, so that edits of it can be tried."""

from pathlib import Path

from msgspec import Struct

from planner.yaml_source import Source


class FleetFile(Struct, frozen=True):
    """A fleet file as data; ``folder`` is where relative model folders start."""

    source: Source
    folder: Path
