"""The shape of the catalog's file of known faults, made of the structs that hold them (``planner.engine.faults``)."""

from typing import Any, Literal, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields
from packaging.specifiers import SpecifierSet
from pydantic import BaseModel, ConfigDict, create_model, model_validator

from planner.engine.faults import Fault, fault


class _Map(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Entry(_Map):
    @model_validator(mode="after")
    def _fits(self) -> "_Entry":
        """Refuse versions that are no range, and what no fault can be made of."""
        stated = self.model_dump(exclude_unset=True)
        SpecifierSet(stated["versions"])
        fault(stated)
        return self


def _map_of(struct: type[Struct], base: type[_Map]) -> Any:  # noqa: ANN401 - a class made here, which no type names
    """Return the map that a file states for a struct: the same keys, where the struct has tuples with lists."""
    # What is not stated is left out before a fault is made, so None stands for every default.
    keys: dict[str, Any] = {one.name: (_stated(one.type), ... if one.required else None) for one in fields(struct)}
    return create_model(f"{struct.__name__}Map", __base__=base, **keys)


def _stated(kind: Any) -> Any:  # noqa: ANN401 - any annotation
    """Return how a file states a field of a type."""
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]  # type: ignore[misc]  # an element's type known at run time alone
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _map_of(kind, _Map)
    return kind


class FaultFile(_Map):
    """catalog/engines/known-faults.yaml."""

    engine: Literal["vllm"]
    faults: list[_map_of(Fault, _Entry)]  # type: ignore[valid-type]
