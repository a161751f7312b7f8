"""Engine versions: how one is read, and which of the eras in a data file it is in."""

import functools
import re
from collections.abc import Iterable
from typing import Any

from planner.errors import UnknownName

Version = tuple[int, int, int]


@functools.lru_cache(maxsize=1024)
def parse_version(text: str) -> Version:
    """Return ``(major, minor, patch)`` of a version such as ``0.19.0``, ``v0.8``, or ``0.22.1rc1.dev16``.

    Raises:
        UnknownName: the text does not start like a version.
    """
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    if match is None:
        raise UnknownName("engine version", text)
    return int(match[1]), int(match[2]), int(match[3] or 0)


def era_at(eras: Iterable[dict[str, Any]], version: Version) -> dict[str, Any] | None:
    """Return the last era whose ``since`` is at or before a version; None where the version is older than all."""
    begun = (era for era in eras if parse_version(str(era["since"])) <= version)
    return max(begun, key=lambda era: parse_version(str(era["since"])), default=None)
