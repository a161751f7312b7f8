"""Read a catalog YAML file fast, and say where it came from when it is wrong."""

from pathlib import Path
from typing import Any

import yaml

from planner.errors import InputError, Problem

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        InputError: the file is not readable YAML, or not a mapping.
    """
    try:
        data = yaml.load(path.read_bytes(), Loader=_LOADER)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError((_problem(path, error),)) from error
    if not isinstance(data, dict):
        raise InputError((Problem(str(path), 1, 1, "", "expected a mapping", "see docs/catalog.md"),))
    return data


def in_folders(folders: tuple[Path, ...], room: str) -> list[Path]:
    """List the YAML files of one room (``models``, ``gpus``, …) of every catalog folder, in a stable order."""
    return [path for folder in folders for path in sorted((folder / room).glob("*.yaml"))]


def _problem(path: Path, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    message = getattr(error, "problem", None) or getattr(error, "strerror", None) or str(error)
    return Problem(str(path), line, column, "", f"cannot be read: {message}")
