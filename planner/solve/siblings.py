"""Siblings: the checkpoints that a person thinks of beside the one that a role has."""

from collections.abc import Iterator

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.errors import InvalidConfig, UnsupportedModel
from planner.facts.prior import generation, manner
from planner.facts.variant import Model, Variant
from planner.fleet.open_role import publisher, trusted
from planner.options import Option
from planner.options.served import served
from planner.plan.nearby import HEAVIER, LARGER, LIGHTER, OFFICIAL, SMALLER

_SAME_SIZE_PERMILLE = 20
"""Models whose numbers of parameters differ by no more than this are of one size."""


def siblings(catalog: Catalog, option: Option, task: str) -> Iterator[tuple[str, str, Model]]:
    """Yield a kind of alternative, what it is called, and the model, left with the checkpoints that it may be.

    They are the same model in fewer and in more bits a weight, the next sizes of its generation, or of its maker's
    family, and what its maker publishes.
    """
    model = next((one for one in catalog.models if one.repository == option.model.repository), option.model)
    known = trusted(model, catalog)
    own = option.server.quantization.bits
    bits = {variant.repository: _bits(model, variant, task) for variant in known.variants}
    for kind, count in ((LIGHTER, _lighter(bits, own)), (HEAVIER, _heavier(bits, own))):
        if count:
            fitting = tuple(variant for variant in known.variants if bits[variant.repository] == count)
            yield kind, f"{count} bits", replace(known, variants=fitting)
    for kind, other in _sizes(catalog, model):
        yield kind, other.name, trusted(other, catalog)
    maker = publisher(model.base or model.repository)
    official = tuple(variant for variant in model.variants if publisher(variant.repository) == maker)
    if official and publisher(option.variant.repository) != maker and not option.variant.path:
        yield OFFICIAL, f"by {maker}", replace(model, variants=official)


def _bits(model: Model, variant: Variant, task: str) -> int:
    """Return the bits of a quantized weight; 0 where the checkpoint cannot be sized."""
    try:
        return served(model, variant, task)[1].bits
    except (InvalidConfig, UnsupportedModel):
        return 0


def _lighter(bits: dict[str, int], own: int) -> int:
    """Return 4 where that is fewer and published, or else the next number down; 0 for none."""
    fewer = {count for count in bits.values() if 0 < count < own}
    return 4 if 4 in fewer else max(fewer, default=0)


def _heavier(bits: dict[str, int], own: int) -> int:
    return min((count for count in bits.values() if count > own), default=0)


def _sizes(catalog: Catalog, model: Model) -> Iterator[tuple[str, Model]]:
    """Yield the next smaller and the next larger model of the generation, or else of the family."""
    if not model.parameters:
        return
    alike = [other for other in catalog.models if _alike(model, other)]
    for kind, sign in ((SMALLER, -1), (LARGER, 1)):
        step = model.parameters * _SAME_SIZE_PERMILLE // 1000
        beyond = [other for other in alike if sign * (other.parameters - model.parameters) > step]
        same = [other for other in beyond if generation(other) == generation(model)]
        mannered = [other for other in same if manner(other) == manner(model)]
        found = mannered or same or beyond
        if found:
            nearest = min(sign * other.parameters for other in found)
            yield kind, max((o for o in found if sign * o.parameters == nearest), key=lambda o: (o.released, o.name))


def _alike(model: Model, other: Model) -> bool:
    """Whether another model is of the same maker and family, and does something that the model does."""
    return (
        other.family == model.family
        and publisher(other.repository) == publisher(model.base or model.repository)
        and not other.pretrained
        and not other.base
        and not set(other.tasks).isdisjoint(model.tasks)
        and other.non_commercial <= model.non_commercial
        and other.parameters > 0
    )
