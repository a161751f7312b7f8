"""Reading typed fields from a config.json; what is missing, mistyped or absurd is an error that names the field."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from planner.config_json.classes import UNKNOWN, ConfigClass, config_class
from planner.errors import InvalidConfig

# Far above any model and far below anything that would make a computation slow or overflow a solver.
MAX_SIZE = 1 << 24
MAX_LAYERS = 2048
_MAX_PATTERN = 1000
# A repetition of a repetition, such as (a+)+, can take a regular expression exponential time.
_NESTED_REPETITION = re.compile(r"[+*}][^()]*\)[+*{]")


class Fields(Struct, frozen=True):
    """One JSON object of a config, with the place it came from for error messages.

    ``known`` is its config class: what it assumes for absent keys, and under which other names it takes a key.
    ``inherited`` are values an outer config passes on, ``defaults`` what a family assumes where neither says anything.
    """

    where: str
    values: Mapping[str, Any]
    path: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    known: ConfigClass = UNKNOWN
    inherited: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str], defaults: Mapping[str, Any]) -> "Fields":
        """Return the same object read under common names, with a family's defaults for absent keys."""
        return replace(self, defaults={**defaults, **self.defaults}, names={**self.names, **names})

    def inheriting(self, values: Mapping[str, Any]) -> "Fields":
        """Return the same object with what an outer config says about keys that are absent here."""
        return replace(self, inherited={**self.inherited, **values})

    def stating(self, values: Mapping[str, Any]) -> "Fields":
        """Return the same object with other values in place of its own."""
        return replace(self, values={**self.values, **values})

    def of_layer(self, index: int) -> "Fields":
        """Return the same object with what it says about one layer in particular.

        Source: ``integrations/heterogeneity`` of transformers 5.19.
        """
        if not self.has("per_layer_config"):
            return self
        layers = self.section("per_layer_config")
        stated = [key for key in layers.values if key.isdecimal() and int(key) == index]
        if not stated:
            return self
        return self.stating(layers.section(stated[0]).values)

    def error(self, name: str, message: str) -> InvalidConfig:
        """Return the error for one field."""
        return InvalidConfig(self.where, f"{self.path}{self.names.get(name, name)}", message)

    def has(self, name: str) -> bool:
        """Whether the config itself states the field, under any of its names."""
        return self._stated(name) is not None

    def get(self, name: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
        """Return the raw value; else the outer config's, the config class's or the family's; or None.

        Raises:
            InvalidConfig: two names of the field contradict each other, or a value that must be there is ``null``.
        """
        value = self._stated(name)
        own = self.names.get(name, name)
        if value is None and name in self.inherited:
            return self.inherited[name]
        if value is None and own in self.values and own in self.known.required:
            raise self.error(name, f"null; leave it out to get {_shown(self.known.default(own))}, or state a value")
        if value is None and own not in self.values:
            value = self.known.default(own)
        return self.defaults.get(name) if value is None else value

    def _stated(self, name: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
        own = self.names.get(name, name)
        value = self.values.get(own)
        for other in self.known.others.get(own, ()):
            second = self.values.get(other)
            if second is None:
                continue
            if value is not None and value != second:
                raise self.error(own, f"{_shown(value)} contradicts {self.path}{other}: {_shown(second)}")
            value = second
        return value

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
        """Return a nested object; an absent one is empty, its config class's defaults apart."""
        value = self.get(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(name, f"expected an object, not {_shown(value)}")
        kind = value.get("model_type") or self.known.sections.get(name)
        known = config_class(kind) if isinstance(kind, str) else UNKNOWN
        return Fields(self.where, value, f"{self.path}{name}.", defaults or {}, known=known)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
