"""FleetFile: a fleet file as data, before anything is looked up; a fleet keeps it, so that edits of it can be tried."""

from dataclasses import dataclass
from pathlib import Path

from planner.yaml_source import Source


@dataclass(frozen=True, slots=True)
class FleetFile:
    """A fleet file as data; ``folder`` is where relative model folders start."""

    source: Source
    folder: Path
