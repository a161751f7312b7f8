"""Which ``vllm serve`` options one engine version has, and which values they take.

``catalog/engines/vllm-flags-<version>.json`` lists every option of an engine version, as its own parser does.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planner.engine.profile import parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options one engine version has: ``switch``, ``value``, ``values``, or the tuple of allowed values.

    ``version`` is the version they were listed for, which is the nearest at or below the one asked for.
    """

    version: str
    flags: Mapping[str, str | tuple[str, ...]]


def engine_options(version: str, directory: Path | None = None) -> EngineOptions:
    """Return the options of an engine version, of the nearest listed one below it when it is not listed itself.

    Raises:
        UnknownName: the text is not a version.
        InvalidConfig: no list exists, or it cannot be read.
    """
    return _engine_options(version, directory or data_folder("catalog"))


def known_value(flag: str, value: str, options: EngineOptions) -> str:
    """Return an option's value if the engine version accepts it, else nothing: the server then starts without it."""
    kind = options.flags.get(flag)
    return value if kind and (isinstance(kind, str) or value in kind) else ""


@functools.cache
def _engine_options(version: str, directory: Path) -> EngineOptions:
    wanted = parse_version(version)
    listed = sorted(
        (parse_version(path.stem.removeprefix("vllm-flags-")), path)
        for path in (directory / "engines").glob("vllm-flags-*.json")
    )
    if not listed:
        raise InvalidConfig(str(directory / "engines"), "", "has no vllm-flags-<version>.json")
    path = next((path for key, path in reversed(listed) if key <= wanted), listed[0][1])
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        flags = {flag: kind if isinstance(kind, str) else tuple(kind) for flag, kind in document["flags"].items()}
        return EngineOptions(str(document["version"]), flags)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(str(path), "", f"is not a list of engine options: {error}") from error
