"""Reading typed fields from a config.json; what is missing, mistyped or absurd is an error that names the field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.errors import InvalidConfig

# Far above any model and far below anything that would make a computation slow or overflow a solver.
MAX_SIZE = 1 << 24
MAX_LAYERS = 2048
_MAX_PATTERN = 1000
# A repetition of a repetition, such as (a+)+, can take a regular expression exponential time.
_NESTED_REPETITION = re.compile(r"[+*}][^()]*\)[+*{]")


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a config, with the place it came from for error messages.

    ``defaults`` are the values the model class assumes for absent keys; a key present with ``null`` counts as absent.
    """

    where: str
    values: Mapping[str, Any]
    path: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str], defaults: Mapping[str, Any]) -> "Fields":
        """Return the same object read under common names, with a model class's defaults for absent keys."""
        return Fields(self.where, self.values, self.path, {**defaults, **self.defaults}, {**self.names, **names})

    def error(self, name: str, message: str) -> InvalidConfig:
        """Return the error for one field."""
        return InvalidConfig(self.where, f"{self.path}{self.names.get(name, name)}", message)

    def has(self, name: str) -> bool:
        """Whether the config itself states the field."""
        return self.values.get(self.names.get(name, name)) is not None

    def get(self, name: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
        """Return the raw value, the class default, or None."""
        value = self.values.get(self.names.get(name, name))
        return self.defaults.get(name) if value is None else value

    def integer(self, name: str, default: int | None = None, *, minimum: int = 1, maximum: int = MAX_SIZE) -> int:
        """Return a whole number within bounds; without a ``default`` the field is required."""
        value = self.get(name)
        if value is None:
            if default is None:
                raise self.error(name, "missing; the model cannot be sized without it")
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, f"expected a whole number, not {_shown(value)}")
        if not minimum <= value <= maximum:
            raise self.error(name, f"{value} is out of range ({minimum} to {maximum})")
        return value

    def optional_integer(self, name: str, *, minimum: int = 1, maximum: int = MAX_SIZE) -> int | None:
        """Return a whole number within bounds, or None when absent."""
        return None if self.get(name) is None else self.integer(name, minimum=minimum, maximum=maximum)

    def number(self, name: str, default: float, *, minimum: float = 1e-6, maximum: float = 1e6) -> float:
        """Return a positive number within bounds, whole or not."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(name, f"expected a number, not {_shown(value)}")
        if not minimum <= value <= maximum:  # false for NaN too
            raise self.error(name, f"{_shown(value)} is out of range ({minimum:g} to {maximum:g})")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(name, f"expected true or false, not {_shown(value)}")
        return value

    def text(self, name: str, default: str = "") -> str:
        """Return a string."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(name, f"expected text, not {_shown(value)}")
        return value

    def sequence(self, name: str) -> tuple[Any, ...]:
        """Return a list as a tuple; empty when absent."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self.error(name, f"expected a list, not {_shown(value)}")
        return tuple(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings; empty when absent."""
        values = self.sequence(name)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{name}[{index}]", f"expected text, not {_shown(value)}")
        return values

    def pattern(self, name: str, text: str) -> str:
        """Return a regular expression that compiles and cannot run away; ``name`` is where it was read."""
        if len(text) > _MAX_PATTERN or _NESTED_REPETITION.search(text):
            raise self.error(name, f"{_shown(text)} is not a pattern this package evaluates")
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.error(name, f"{_shown(text)} is not a regular expression: {error}") from None
        return text

    def section(self, name: str, defaults: Mapping[str, Any] | None = None) -> "Fields":
        """Return a nested object; an absent one is empty."""
        value = self.get(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(name, f"expected an object, not {_shown(value)}")
        return Fields(self.where, value, f"{self.path}{name}.", defaults or {})


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
