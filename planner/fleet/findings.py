"""What a review works with: the file, the catalog, and the problems found so far."""

from pathlib import Path

from msgspec import Struct, field

from planner.catalog import Catalog
from planner.errors import Problem, UnknownName
from planner.fleet import values
from planner.yaml_source import FieldPath, Source


class Findings(Struct, frozen=True):
    """The fleet file being reviewed; ``folder`` is where relative model folders start."""

    source: Source
    catalog: Catalog
    folder: Path
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, path: FieldPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at a path of the file."""
        self.problems.append(self.source.problem(path, message, hint, at_key=at_key))

    def refuse_name(self, path: FieldPath, error: UnknownName) -> None:
        """Note a name that the catalog does not have."""
        self.refuse(path, f"unknown {error.kind} {values.found(error.name)}", error.hint)

    def item(self, path: FieldPath, index: int) -> FieldPath:
        """Return the path of an item, or of the single value that stands for the list."""
        return (*path, index) if (*path, index) in self.source.values else path
