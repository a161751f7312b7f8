"""Which ``vllm serve`` options one engine version has, and which values they take.

``catalog/engines/vllm-flags-<version>.json`` lists every option of an engine version, as its own parser does.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from planner.engine.versions import parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}

Words: TypeAlias = tuple[str, ...]
"""What follows an option on a command line; nothing after a switch."""


class EngineOptions(Struct, frozen=True):
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


def listed_versions(directory: Path | None = None) -> tuple[str, ...]:
    """Return the engine versions whose options are listed, oldest first."""
    folder = (directory or data_folder("catalog")) / "engines"
    found = (path.stem.removeprefix("vllm-flags-") for path in folder.glob("vllm-flags-*.json"))
    return tuple(sorted(found, key=parse_version))


def options_around(version: str | None) -> tuple[EngineOptions, ...]:
    """Return the lists of options between which a version's own lies: one where it is listed, all where it is None.

    Raises:
        UnknownName: the text is not a version.
    """
    listed = listed_versions()
    if version is None:
        return tuple(engine_options(one) for one in reversed(listed))
    wanted = parse_version(version)
    above = next((one for one in listed if parse_version(one) >= wanted), None)
    return tuple(engine_options(one) for one in dict.fromkeys((version, above or version)))


def known_value(flag: str, value: str, options: EngineOptions) -> str:
    """Return an option's value if the engine version accepts it, else nothing: the server then starts without it."""
    kind = options.flags.get(flag)
    return value if kind and (isinstance(kind, str) or value in kind) else ""


def option_refusal(flag: str, words: Sequence[str], options: EngineOptions) -> str:
    """Return one sentence where the engine version does not have an option or the words after it, else nothing."""
    kind, text = options.flags.get(flag.partition(".")[0]), " ".join(words)
    if kind is None:
        return f"vLLM {options.version} has no option {flag}"
    if isinstance(kind, tuple) and text not in kind:
        return f"vLLM {options.version} does not accept {flag} {text}"
    if (kind == "switch") != (not words):
        return f"vLLM {options.version} takes {flag} {'without' if kind == 'switch' else 'with'} a value"
    if len(words) > 1 and kind != "values":
        return f"vLLM {options.version} takes {flag} with one value"
    return ""


def human_int(text: str) -> int:
    """Read a whole number as options take it: 25g is 25 × 10**9, and 25G is 25 GiB, of which there are no parts.

    Source: ``utils/argparse_utils.py:human_readable_int`` 0.33.0.

    Raises:
        ValueError: it is none.
    """
    match = _HUMAN.fullmatch(text.strip())
    if match is None:
        return int(text)
    power = _POWERS[match[2].lower()]
    return int(float(match[1]) * 1000**power) if match[2].islower() else int(match[1]) * 1024**power


@functools.cache
def _engine_options(version: str, directory: Path) -> EngineOptions:
    wanted = parse_version(version)
    listed = listed_versions(directory)
    if not listed:
        raise InvalidConfig(str(directory / "engines"), "", "has no vllm-flags-<version>.json")
    nearest = next((one for one in reversed(listed) if parse_version(one) <= wanted), listed[0])
    path = directory / "engines" / f"vllm-flags-{nearest}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        flags = {flag: kind if isinstance(kind, str) else tuple(kind) for flag, kind in document["flags"].items()}
        return EngineOptions(str(document["version"]), flags)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(str(path), "", f"is not a list of engine options: {error}") from error
