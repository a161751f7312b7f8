"""Where a single value of a fleet file belongs that stands for a map: it is that of the map's leading key."""

from planner.fleet.schema import FleetMap
from planner.fleet.shapes import Kind, MapOf, Named
from planner.yaml_source import FieldPath


def leading_key(path: FieldPath) -> str:
    """Return the leading key of the map at a path of the file; ``name`` where no map of the file is."""
    here: Kind | None = MapOf(FleetMap, "")
    for part in path:
        if isinstance(here, MapOf):
            key = here.of.keys.get(str(part))
            here = key.kind if key else None
        else:
            here = here.kind if isinstance(here, Named) else None
    return next(iter(here.of.keys)) if isinstance(here, MapOf) else "name"
