"""What the maps of fleet.yaml are made of: ``Map`` itself, and the kinds of values, each with its JSON Schema.

A kind takes a value of the file, which is at a path, and returns what the planner works with. What is wrong is told to
``refuse``, which is ``Findings.refuse``, and then counts as absent, so that no mistake hides the next one.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeAlias

from msgspec import UNSET, Struct

from planner.fleet import values
from planner.yaml_source import FieldPath

Refuse: TypeAlias = Callable[[FieldPath, str, str], None]
"""Hears of a mistake: its path, what is wrong, and a hint."""


class Value(Struct, frozen=True):
    """A single value; ``reader`` makes of it what the planner works with, or raises ``values.Wrong``."""

    reader: Callable[[object], Any]
    schema: dict[str, Any]

    def take(self, value: object, path: FieldPath, refuse: Refuse) -> Any:  # noqa: ANN401 - what the reader makes
        """Return what is read; UNSET where it is wrong."""
        try:
            return self.reader(value)
        except values.Wrong as wrong:
            refuse(path, wrong.message, wrong.hint or _empty(value))
            return UNSET


class Many(Struct, frozen=True):
    """One value or a list of them, each once."""

    item: Value

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return one_or_more(self.item.schema)

    def take(self, value: object, path: FieldPath, refuse: Refuse) -> Any:  # noqa: ANN401 - a tuple, or UNSET
        """Return a tuple of what is read; UNSET where any of it is wrong."""
        if isinstance(value, str):
            found = [self.item.take(value, path, refuse)]
        else:
            items = Value(values.as_list, {}).take(value, path, refuse)
            if items is UNSET:
                return UNSET
            found = [self.item.take(item, (*path, place), refuse) for place, item in enumerate(items)]
        return UNSET if UNSET in found else tuple(found)


class MapOf(Struct, frozen=True):
    """A map of a class; ``keys`` names some of them.

    Where the class has a leading key, its first, a value ``alone`` stands for the map with that one key. Every map has
    one but the file itself, a role, and maps whose keys are names.
    """

    of: "type[Map]"
    keys: str
    alone: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema: a reference to the class's own."""
        return {"$ref": f"#/$defs/{self.of.__name__}"}

    def take(self, value: object, path: FieldPath, refuse: Refuse) -> Any:  # noqa: ANN401 - a map, or UNSET
        """Return the map; UNSET where there is none, or the value that stands for it is wrong."""
        if isinstance(value, dict):
            return self.of.take(value, path, refuse)
        if self.alone and isinstance(value, str | int | float):
            leading, own = next(iter(self.of.keys.items()))
            found = (self.of.single or own.kind).take(value, path, refuse)
            return UNSET if found is UNSET else self.of({leading: found})
        wanted = f"{self.alone} or a map with {self.keys}" if self.alone else f"a map with {self.keys}"
        refuse(path, f"expected {wanted}, not {values.found(value)}", _empty(value))
        return UNSET


class Named(Struct, frozen=True):
    """Values of one kind by name; ``keys`` says what the names are."""

    kind: Value | MapOf
    keys: str

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return {"type": "object", "additionalProperties": self.kind.schema}

    def take(self, value: object, path: FieldPath, refuse: Refuse) -> Any:  # noqa: ANN401 - a dict, or UNSET
        """Return a dict of what is right; UNSET where there is no map."""
        if not isinstance(value, dict):
            refuse(path, f"expected a map with {self.keys}, not {values.found(value)}", _empty(value))
            return UNSET
        found = {name: self.kind.take(one, (*path, name), refuse) for name, one in value.items()}
        return {name: one for name, one in found.items() if one is not UNSET}


Kind: TypeAlias = Value | Many | MapOf | Named


class Key(Struct, frozen=True):
    """A key of a map: the kind of its values, what the schema says of it, and its value where it is absent."""

    kind: Kind
    description: str
    default: Any

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema; a default of nothing, or of a map, is of no use to an editor."""
        own = self.description or (_said_of(self.kind.of) if isinstance(self.kind, MapOf) else "")
        found = {**self.kind.schema, "description": own}
        if self.default is not None and not isinstance(self.default, dict | Map):
            found["default"] = list(self.default) if isinstance(self.default, tuple) else self.default
        return found


def key(kind: Kind, description: str = "", default: Any = None) -> Any:  # noqa: ANN401 - the type that the class states
    """Return the key of a map, which its instances have a value in the place of; without words, those of its map."""
    return Key(kind, description, default)


class Map:
    """A map of the file, of whose keys ``required`` must be there.

    A value of its first key may stand for a map that ``leads``; it is a ``single`` where it is read in another way than
    there. ``stated`` is what the file says, without what is wrong; ``unknown`` are its other keys, where
    ``load`` finds them. ``later`` are keys that came after plans did: a fleet that leaves them out has the digest that
    its plans name.
    """

    keys: ClassVar[dict[str, Key]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    leads: ClassVar[bool] = True
    single: ClassVar[Value | None] = None
    later: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        found = [pair for base in reversed(cls.__mro__) for pair in vars(base).items()]
        cls.keys = {name: own for name, own in found if isinstance(own, Key)}

    def __init__(self, stated: Mapping[str, Any] | None = None, unknown: tuple[str, ...] = ()) -> None:
        self.stated = stated or {}
        self.unknown = unknown
        for name, own in self.keys.items():
            setattr(self, name, self.stated.get(name, own.default))

    @classmethod
    def take(cls, data: Mapping[str, Any], path: FieldPath, refuse: Refuse) -> Self:
        """Return the map that some data of the file say, as far as they are right."""
        known = {name: value for name, value in data.items() if name in cls.keys}
        found = {name: cls.keys[name].kind.take(value, (*path, name), refuse) for name, value in known.items()}
        stated = {name: value for name, value in found.items() if value is not UNSET}
        return cls(stated, tuple(name for name in data if name not in cls.keys))

    def said(self) -> dict[str, Any]:
        """Return plain data of all values, without those of ``later`` keys that say nothing."""
        later = {name for base in type(self).__mro__ for name in vars(base).get("later", ())}
        found = {name: (_plain(getattr(self, name)), _plain(own.default)) for name, own in self.keys.items()}
        return {name: own for name, (own, default) in found.items() if name not in later or own != default}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema, with the single value that may stand for the map."""
        whole: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: own.schema for name, own in cls.keys.items()},
        }
        if cls.required:
            whole["required"] = list(cls.required)
        if not cls.leads:
            return {"description": _said_of(cls), **whole}
        alone = cls.single or next(iter(cls.keys.values())).kind
        return {"description": _said_of(cls), "anyOf": [alone.schema, whole]}


def _said_of(of: type[Map]) -> str:
    return inspect.cleandoc(of.__doc__ or "")


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a key
    """Return a value with the data of maps in their places."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value.said() if isinstance(value, Map) else value


def _empty(value: object) -> str:
    """Return the hint for a key without a value."""
    return "write a value; only absent keys take defaults" if value is None else ""


def enum(known: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema of one word out of those known."""
    return {"enum": list(known)}


def one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one item or a list of them, each once."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def whole(low: int, high: int, what: str) -> Value:
    """Take a whole number from ``low`` to ``high``; ``what`` names it with its article."""
    return Value(values.whole(low, high, what), {"type": "integer", "minimum": low, "maximum": high})


def choice(known: tuple[str, ...], what: str) -> Value:
    """Take one word out of ``known``; ``what`` names it."""
    return Value(values.choice(known, what), enum(known))


def auto_or(high: int, what: str) -> Value:
    """Take ``auto``, or a whole number from 1 to ``high``."""
    schema = {"anyOf": [{"const": values.AUTO}, {"type": "integer", "minimum": 1, "maximum": high}]}
    return Value(values.auto_or(values.whole(1, high, what)), schema)


def sizes(read: Callable[[object], int], size: dict[str, Any]) -> Value:
    """Take one size, a list of them, or ``auto``."""
    sizes = {"type": "array", "items": size, "minItems": 1}
    return Value(values.sizes(read), {"anyOf": [{"const": values.AUTO}, size, sizes]})


TEXT = Value(values.text, values.TEXT_SCHEMA)
TEXTS = Many(TEXT)
NAME = Value(values.name, values.NAME_SCHEMA)
BOOLEAN = Value(values.boolean, {"type": "boolean"})
BYTES = Value(values.size_bytes, values.BYTES_SCHEMA)
