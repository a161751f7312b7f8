"""Start times: how long an engine version may take to start, from ``catalog/engines/starts.yaml``."""

import functools
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.engine.data_file import read_data_file
from planner.engine.versions import era_at, parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder
from planner.units import ceil_div

_FIGURES = (
    "read_mb_per_second", "cold_seconds", "warm_seconds", "fast_read_mb_per_second", "fast_seconds",
    "sleep_call_milliseconds", "pin_mb_per_second",
)  # fmt: skip


JOIN_SECONDS = 900
"""How long the first part of a server waits for the others, which somebody starts on other machines.

PyTorch itself gives up after half an hour (torch/distributed/constants.py, default_pg_timeout).
"""


class StartTimes(Struct, frozen=True, kw_only=True):
    """The slowest disk counted with, and what a start takes beside it: the first, which compiles, and later ones.

    The fast figures are what no start beats. A call to sleep or wake takes up to ``sleep_call_milliseconds`` beside
    what it copies, and memory of the machine is pinned at ``pin_mb_per_second`` at least.
    """

    read_mb_per_second: int
    cold_seconds: int
    warm_seconds: int
    fast_read_mb_per_second: int
    fast_seconds: int
    sleep_call_milliseconds: int
    pin_mb_per_second: int

    def first(self, weights_bytes: int) -> int:
        """Return the seconds that a start may take that compiles: the first, or one of another engine or model."""
        return self.cold_seconds + self._read(weights_bytes)

    def later(self, weights_bytes: int) -> int:
        """Return the seconds that a start takes at most that finds everything compiled."""
        return self.warm_seconds + self._read(weights_bytes)

    def _read(self, weights_bytes: int) -> int:
        return ceil_div(weights_bytes, self.read_mb_per_second * 10**6)


def start_times(version: str, directory: Path | None = None) -> StartTimes:
    """Return the figures of an engine version.

    Raises:
        UnknownName: the text is not a version.
        InvalidConfig: the data file cannot be read.
    """
    return _start_times(version, directory or data_folder("catalog"))


@functools.cache
def _start_times(version: str, directory: Path) -> StartTimes:
    path = directory / "engines" / "starts.yaml"
    document = read_data_file(path, frozenset(_FIGURES))
    return StartTimes(**{name: _at(version, document[name], path, name) for name in _FIGURES})


def _at(version: str, eras: list[dict[str, Any]], path: Path, name: str) -> int:
    """Return the value of the era that a version is in."""
    if not all(era.get("source") for era in eras):
        raise InvalidConfig(str(path), name, "every value needs a source")
    era = era_at(eras, parse_version(version))
    if era is None:
        raise InvalidConfig(str(path), name, f"has no value for {version}")
    return int(era["value"])
