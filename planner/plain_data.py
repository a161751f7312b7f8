"""Plain data: frozen data as dictionaries, for what is written as YAML or JSON or filled into a template."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct


def as_dict(data: Struct, kept: Callable[[str, Any], bool] | None = None) -> dict[str, Any]:
    """Return data as a dictionary of its fields in their order, and so all that it holds.

    Tuples, lists and dictionaries stay what they are. Of every map made of fields only those are in it that are
    ``kept``, by the field's name and its value as plain data.
    """
    found = {name: _plain(getattr(data, name), kept) for name in data.__struct_fields__}
    return {name: value for name, value in found.items() if kept(name, value)} if kept else found


def _plain(value: Any, kept: Callable[[str, Any], bool] | None) -> Any:  # noqa: ANN401 - any fact
    if isinstance(value, Struct):
        return as_dict(value, kept)
    if isinstance(value, tuple | list):
        return type(value)(_plain(one, kept) for one in value)
    if isinstance(value, dict):
        return {key: _plain(one, kept) for key, one in value.items()}
    return value
