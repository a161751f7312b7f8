"""Plain data: frozen data as dictionaries, for what is written as YAML or JSON or filled into a template."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

_SIMPLE = frozenset((str, int, bool, float, type(None)))
"""Types of values that are plain data already; most of what is written is of one of them."""


def as_dict(
    data: Struct, kept: Callable[[str, Any], bool] | None = None, known: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return data as a dictionary of its fields in their order, and so all that it holds.

    Tuples, lists and dictionaries stay what they are. Of every map made of fields only those are in it that are
    ``kept``, by the field's name and its value as plain data. ``known`` are parts that are plain data already, by their
    identities.
    """
    known = known or {}
    if (there := known.get(id(data))) is not None:
        return there
    found = {
        name: value if type(value := getattr(data, name)) in _SIMPLE else _plain(value, kept, known)
        for name in data.__struct_fields__
    }
    return {name: value for name, value in found.items() if kept(name, value)} if kept else found


def _plain(value: Any, kept: Callable[[str, Any], bool] | None, known: Mapping[int, dict[str, Any]]) -> Any:  # noqa: ANN401 - any fact
    if isinstance(value, Struct):
        return as_dict(value, kept, known)
    if isinstance(value, tuple | list):
        return type(value)([one if type(one) in _SIMPLE else _plain(one, kept, known) for one in value])
    if isinstance(value, dict):
        return {key: _plain(one, kept, known) for key, one in value.items()}
    return value
