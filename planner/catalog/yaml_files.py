"""Read a catalog YAML file fast, and say where it came from when it is wrong."""

from pathlib import Path
from typing import Any

from planner.errors import InputError, Problem
from planner.yaml_data import UnreadableData, read_data


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        InputError: the file is not readable YAML, or not a mapping.
    """
    try:
        data = read_data(path)
    except UnreadableData as error:
        problem = Problem(str(path), error.line, error.column, "", f"cannot be read: {error.problem}")
        raise InputError((problem,)) from error
    if not isinstance(data, dict):
        raise InputError((Problem(str(path), 1, 1, "", "expected a mapping", "see docs/catalog.md"),))
    return data


def in_folders(folders: tuple[Path, ...], room: str) -> list[Path]:
    """List the YAML files of one room (``models``, ``gpus``, …) of every catalog folder, in a stable order."""
    return [path for folder in folders for path in sorted((folder / room).glob("*.yaml"))]
