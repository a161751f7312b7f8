"""What the GPUs of a fleet cost for an hour: as the file says, or the cheapest list price in the catalog."""

from dataclasses import dataclass

from planner.catalog import Catalog
from planner.fleet.facts import Fleet, Pool

_NO_OFFER = "reference"
"""The provider of figures that nobody sells at; they count where there is no offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Millionths of a US dollar per hour for all GPUs of a fleet; ``sources`` say where each pool's price is from."""

    microdollars_per_hour: int
    sources: tuple[str, ...]


def hourly_price(fleet: Fleet, catalog: Catalog) -> Price | None:
    """Return what a fleet costs; None when the price of one of its GPUs is not known."""
    found = [_per_gpu(pool, catalog) for pool in fleet.pools]
    known = [price for price in found if price]
    if len(known) < len(found):
        return None
    total = sum(price * pool.gpu_count for (price, _), pool in zip(known, fleet.pools, strict=True))
    return Price(microdollars_per_hour=total, sources=tuple(dict.fromkeys(source for _, source in known)))


def _per_gpu(pool: Pool, catalog: Catalog) -> tuple[int, str] | None:
    if pool.microdollars_per_gpu_hour is not None:
        return pool.microdollars_per_gpu_hour, f"{pool.path}.price_per_hour"
    listed = [price for price in catalog.prices if price.gpu == pool.gpu.name]
    offers = [
        (one.provider == _NO_OFFER, -(-one.microdollars_per_hour // one.gpu_count), f"{one.provider} {one.instance}")
        for one in listed
    ]
    return min(offers)[1:] if offers else None
