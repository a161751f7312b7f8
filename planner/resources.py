"""Where the shipped ``catalog/``, ``templates/`` and schemas are: inside an installed wheel, beside a checkout."""

import functools
import os
from pathlib import Path


@functools.cache
def data_folder(name: str) -> Path:
    """Return the shipped data folder ``catalog``, ``templates`` or ``schemas``.

    A wheel carries them as ``planner/_catalog``, ``planner/_templates`` and ``planner/_schemas``; an editable install
    has no copy and uses the folders beside the package, the schemas from ``docs``.
    """
    package = Path(__file__).resolve().parent
    installed = package / f"_{name}"
    beside = package.parent / ("docs/schemas" if name == "schemas" else name)
    return installed if installed.is_dir() else beside


def user_catalog() -> Path:
    """Return the folder of the user's own catalog entries; it need not exist.

    It is ``$PLANNER_CATALOG``, else ``planner/catalog`` under ``$XDG_CONFIG_HOME`` or ``~/.config``.
    """
    if chosen := os.environ.get("PLANNER_CATALOG"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "planner" / "catalog"


def user_cache() -> Path:
    """Return the folder of what can be made again; it need not exist.

    It is ``$PLANNER_CACHE``, else ``planner`` under ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    if chosen := os.environ.get("PLANNER_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "planner"
