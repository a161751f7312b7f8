"""Refusals: which rule of an engine a server breaks, with the figures, and the one place that words them.

``catalog/engines/rules.yaml`` lists the rules with their texts and where the engine checks them.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.engine.data_file import read_data_file
from planner.errors import InvalidConfig
from planner.resources import data_folder

_PARTS = frozenset({"rules"})


class EngineRule(Struct, frozen=True):
    """One check on the way up: its name, what is checked, the text of a refusal, and where the engine does it."""

    name: str
    checks: str
    text: str
    source: str


class Refusal(Struct, frozen=True):
    """Why an engine does not start a server: the name of a rule, and the figures that its text is filled with."""

    rule: str
    figures: tuple[tuple[str, str | int], ...]

    def __str__(self) -> str:
        return engine_rules()[self.rule].text.format(**dict(self.figures))

    @property
    def source(self) -> str:
        """Where the engine checks it: file and versions."""
        return engine_rules()[self.rule].source


def refused(rule: str, **figures: str | int) -> Refusal:
    """Return a refusal by a rule of the data file."""
    return Refusal(rule, tuple(figures.items()))


def engine_rules(directory: Path | None = None) -> Mapping[str, EngineRule]:
    """Return every rule by its name, in the order of the file.

    Raises:
        InvalidConfig: the data file is broken.
    """
    return _rules(directory or data_folder("catalog"))


@functools.cache
def _rules(directory: Path) -> Mapping[str, EngineRule]:
    path = directory / "engines" / "rules.yaml"
    stated: dict[str, dict[str, Any]] = read_data_file(path, _PARTS)["rules"]
    try:
        return {
            name: EngineRule(name, str(entry["checks"]), str(entry["text"]), str(entry["source"]))
            for name, entry in stated.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidConfig(str(path), "rules", f"is not a table of rules: {error}") from error
