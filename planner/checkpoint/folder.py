"""Files of a model folder: JSON of bounded size, and no way out of the folder."""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from planner.errors import InvalidConfig

# A config.json is a few KiB, a shard index of a mixture with many experts some tens of MiB.
MAX_JSON = 64 << 20

Json = TypeVar("Json", dict[str, Any], list[Any])

_confined: list[tuple[Path, ...]] = []


def confine(folders: Iterable[Path]) -> None:
    """Let this process, from now on, read model folders inside these folders alone."""
    _confined.append(tuple(folder.resolve() for folder in folders))


def may_read(folder: Path) -> bool:
    """Whether a model folder may be read; what is inside one already counts as it is, with its links followed."""
    try:
        real = folder.resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    return all(any(real.is_relative_to(one) for one in folders) for folders in _confined)


def read_json(path: Path, kind: type[Json] = dict) -> Json:  # type: ignore[assignment]
    """Read a JSON object (or list) from a file of reasonable size.

    Raises:
        InvalidConfig: the file is absent, too large, not JSON, or not of that kind.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidConfig(where, "", "not a file")
        if size > MAX_JSON:
            raise InvalidConfig(where, "", f"{size} bytes is too large for a JSON file of a model")
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidConfig(where, "", "no such file") from None
    except OSError as error:
        raise InvalidConfig(where, "", f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(where, "", f"not valid JSON: {error}") from None
    if not isinstance(value, kind):
        raise InvalidConfig(where, "", f"expected a JSON {'object' if kind is dict else 'list'}")
    return value


def inside(folder: Path, name: str, where: str = "", field: str = "") -> Path:
    """Return the path of a file in a model folder, refusing what leads out of it.

    A hub cache keeps files as links into a ``blobs`` folder beside ``snapshots``; those are followed.

    Raises:
        InvalidConfig: the name is not that of a file inside the folder, or is a link to one outside.
    """
    where = where or str(folder / name)
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise InvalidConfig(where, field, f"{name!r} is not a file name inside the folder")
    path = folder / name
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        raise InvalidConfig(where, field, f"{name!r} is a link that leads nowhere") from None
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else None
    if real.is_relative_to(home) or (blobs is not None and real.is_relative_to(blobs)):
        return path
    raise InvalidConfig(where, field, f"{name!r} leads out of the folder")
