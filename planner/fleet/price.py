"""What the GPUs of a fleet cost for an hour: as the file says, or the cheapest list price in the catalog."""

from dataclasses import dataclass, replace

from planner.catalog import Catalog
from planner.fleet.fleet import Fleet, Pool
from planner.units import ceil_div

_NO_OFFER = "reference"
"""The provider of figures that nobody sells at; they count where there is no offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Millionths of a US dollar per hour for all GPUs of a fleet; ``sources`` say where each pool's price is from."""

    microdollars_per_hour: int
    sources: tuple[str, ...]


def hourly_price(fleet: Fleet) -> Price | None:
    """Return what a fleet costs; None when the price of one of its GPUs is not known."""
    if not fleet.priced:
        return None
    total = sum((pool.microdollars_per_gpu_hour or 0) * pool.gpu_count for pool in fleet.pools)
    return Price(microdollars_per_hour=total, sources=tuple(dict.fromkeys(pool.price_source for pool in fleet.pools)))


def owned_per_hour(price_microdollars: int, hours: int, microdollars_per_kwh: int, watts: int) -> int:
    """Return millionths of a dollar for an hour of a GPU that was bought, rounded up: its price spread, and its power.

    It draws as much all the time: how little an idle one draws is published for few.
    """
    return ceil_div(price_microdollars, hours) + ceil_div(microdollars_per_kwh * watts, 1000)


def priced(pool: Pool, catalog: Catalog) -> Pool:
    """Return a pool with the source of its price, and with the cheapest list price where the file has none."""
    if pool.microdollars_per_gpu_hour is not None:
        return replace(pool, price_source=pool.price_source or f"{pool.path}.price_per_hour")
    offers = [
        (one.provider == _NO_OFFER, -(-one.microdollars_per_hour // one.gpu_count), f"{one.provider} {one.instance}")
        for one in catalog.prices
        if one.gpu == pool.gpu.name
    ]
    if not offers:
        return pool
    _, price, source = min(offers)
    return replace(pool, microdollars_per_gpu_hour=price, price_source=source)
