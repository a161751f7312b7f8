"""Where a single value of a fleet file belongs that stands for a map: it is that of the map's leading key."""

from typing import Annotated, Any, get_args, get_origin

from planner.fleet.schema import FleetMap
from planner.fleet.shapes import Map
from planner.yaml_source import FieldPath


def leading_key(path: FieldPath) -> str:
    """Return the leading key of the map at a path of the file; ``name`` where no map of the file is."""
    here: Any = FleetMap
    for part in path:
        if isinstance(here, type) and issubclass(here, Map):
            field = here.model_fields.get(str(part))
            here = _plain(field.annotation) if field else None
        else:  # a map whose keys are names
            here = _plain(get_args(here)[1]) if get_origin(here) is dict else None
    return next(iter(here.model_fields)) if isinstance(here, type) and issubclass(here, Map) else "name"


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - any type
    """Return a map's class, or that of a map by name, without what surrounds it in an annotation."""
    while get_origin(annotation) is Annotated or type(None) in get_args(annotation):
        annotation = get_args(annotation)[0]
    return annotation
