"""YAML that the product wrote, read by libyaml, which is many times faster than PyYAML's own parser."""

from typing import Any

import yaml


def one(text: str) -> Any:  # noqa: ANN401 - whatever the document is
    """Return the only document of a text."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def every(text: str) -> list[Any]:
    """Return all documents of a text."""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))
