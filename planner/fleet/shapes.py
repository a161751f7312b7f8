"""What the maps of fleet.yaml are made of: ``Map`` itself, and the kinds of values, each with its JSON Schema."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainValidator,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import CoreSchema

from planner.fleet import values


def enum(known: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema of one word out of those known."""
    return {"enum": list(known)}


def one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one item or a list of them, each once."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def whole(low: int, high: int, what: str) -> tuple[PlainValidator, WithJsonSchema]:
    """Take a whole number from ``low`` to ``high``; ``what`` names it with its article."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return PlainValidator(values.whole(low, high, what)), WithJsonSchema(schema)


def choice(known: tuple[str, ...], what: str) -> tuple[PlainValidator, WithJsonSchema]:
    """Take one word out of ``known``; ``what`` names it."""
    return PlainValidator(values.choice(known, what)), WithJsonSchema(enum(known))


def auto_or(high: int, what: str) -> tuple[PlainValidator, WithJsonSchema]:
    """Take ``auto``, or a whole number from 1 to ``high``."""
    schema = {"anyOf": [{"const": values.AUTO}, {"type": "integer", "minimum": 1, "maximum": high}]}
    return PlainValidator(values.auto_or(values.whole(1, high, what))), WithJsonSchema(schema)


def sizes(read: Callable[[object], int], size: dict[str, Any]) -> tuple[PlainValidator, WithJsonSchema]:
    """Take one size, a list of them, or ``auto``."""
    sizes = {"type": "array", "items": size, "minItems": 1}
    return PlainValidator(values.sizes(read)), WithJsonSchema({"anyOf": [{"const": values.AUTO}, size, sizes]})


def map_of(keys: str, single: str = "", alone: str = "") -> BeforeValidator:
    """Take a map; a value ``alone`` stands for the map with that one key when ``single`` names the key.

    That is the map's leading key, the first of its class: every map has one but the file itself, a role, and maps whose
    keys are names.
    """

    def read(value: object) -> object:
        if single and isinstance(value, str | int | float):
            return {single: value}
        if not isinstance(value, dict):
            wanted = f"{alone} or a map with {keys}" if single else f"a map with {keys}"
            values.wrong(f"expected {wanted}, not {values.found(value)}")
        return value

    return BeforeValidator(read)


class Map(BaseModel):
    """A map of the file, of whose keys ``required`` must be there.

    A value of its first key may stand for a map that ``leads``; ``single`` is the schema of one that is read in another
    way than there. Keys that are not known are kept in ``model_extra``, where ``load`` finds them. ``later`` are keys
    that came after plans did: a fleet that leaves them out has the digest that its plans name.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    required: ClassVar[tuple[str, ...]] = ()
    leads: ClassVar[bool] = True
    single: ClassVar[dict[str, Any] | None] = None
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what ``later`` keys of any base say when it is nothing."""
        later = {key for base in type(self).__mro__ for key in vars(base).get("later", ())}
        unsaid = {key for key in later if getattr(self, key) == type(self).model_fields[key].default}
        return {key: value for key, value in handler(self).items() if key not in unsaid}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the required keys, and the single value that may stand for the map."""
        schema = handler(core_schema)
        whole: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": schema["properties"]}
        if cls.required:
            whole["required"] = list(cls.required)
        if not cls.leads:
            return {"description": schema["description"], **whole}
        alone = cls.single or _value_of(next(iter(schema["properties"].values())))
        return {"description": schema["description"], "anyOf": [alone, whole]}


def _value_of(key: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a key's values without what is said of the key."""
    return {word: value for word, value in key.items() if word not in ("description", "default", "title")}
