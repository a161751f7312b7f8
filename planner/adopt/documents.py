"""YAML that other programs read -> plain data, within bounds: aliases may not grow it, templates do not stop it."""

from typing import Any

import yaml

from planner.adopt.templates import hide

_NODES = 200_000


class _Loader(yaml.SafeLoader):
    """Reads tags of other programs (``!reset``, ``!Sub``) as what they are on."""


def _any_tag(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:  # noqa: ANN401
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _any_tag)


def documents(text: str) -> list[dict[str, Any]]:
    """Return the maps of a file of YAML documents, those of lists one by one.

    Raises:
        ValueError: it is no YAML, or grows beyond what anyone writes.
    """
    try:
        found = list(yaml.load_all(hide(text), _Loader))  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ValueError(f"is no YAML: {str(error).splitlines()[0]}") from error
    if sum(_size(document, _NODES) for document in found) > _NODES:
        raise ValueError("has aliases that grow it beyond what is read")
    every = [one for document in found for one in (document if isinstance(document, list) else [document])]
    maps = [document for document in every if isinstance(document, dict)]
    return [item for document in maps for item in _listed(document)]


def _listed(document: dict[str, Any]) -> list[dict[str, Any]]:
    kind = str(document.get("kind", ""))
    items = document.get("objects" if kind == "Template" else "items")
    if (kind == "Template" or kind.endswith("List")) and isinstance(items, list):
        return [item for item in items if isinstance(item, dict)]
    return [document]


def _size(value: object, most: int) -> int:
    """Count the values of a document, as often as aliases repeat them; beyond ``most`` the rest is not counted."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return count


def texts(value: object) -> list[str]:
    """Return a list of words as texts, or the words of nothing."""
    if isinstance(value, list):
        return [_text(item) for item in value if item is not None]
    return []


def at(value: object, *path: str) -> Any:  # noqa: ANN401
    """Return what is at a path of keys; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(item: object) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)
