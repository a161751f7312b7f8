"""Data files under ``catalog/engines``: YAML that holds eras, values with the version since which each holds."""

from pathlib import Path
from typing import Any

from planner.errors import InvalidConfig
from planner.yaml_data import UnreadableData, read_data


def read_data_file(path: Path, parts: frozenset[str]) -> dict[str, Any]:
    """Return the document of a data file, a mapping that has these parts.

    Raises:
        InvalidConfig: it cannot be read, or lacks a part.
    """
    try:
        document = read_data(path)
    except UnreadableData as error:
        raise InvalidConfig(str(path), "", f"cannot be read: {error}") from error
    if not isinstance(document, dict) or not document.keys() >= parts:
        raise InvalidConfig(str(path), "", f"needs {', '.join(sorted(parts))}")
    return document
