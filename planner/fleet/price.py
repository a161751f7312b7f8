"""What the GPUs of a fleet cost for an hour: as the file says, or the cheapest instance in the catalog."""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.catalog.offers import offer_for, stale
from planner.facts.gpu import CloudPrice
from planner.fleet.fleet import Fleet, Pool
from planner.units import ceil_div


class Price(Struct, frozen=True, kw_only=True):
    """Millionths of a US dollar per hour for all GPUs of a fleet; ``sources`` say where each pool's price is from."""

    microdollars_per_hour: int
    sources: tuple[str, ...]


def hourly_price(fleet: Fleet) -> Price | None:
    """Return what a fleet costs; None when the price of one of its GPUs is not known."""
    if not fleet.priced:
        return None
    total = sum((pool.microdollars_per_hour or 0) * (pool.gpu_count // pool.paid_together) for pool in fleet.pools)
    return Price(microdollars_per_hour=total, sources=tuple(dict.fromkeys(pool.price_source for pool in fleet.pools)))


def owned_per_hour(price_microdollars: int, hours: int, microdollars_per_kwh: int, watts: int) -> int:
    """Return millionths of a dollar for an hour of a GPU that was bought, rounded up: its price spread, and its power.

    It draws as much all the time: how little an idle one draws is published for few.
    """
    return ceil_div(price_microdollars, hours) + ceil_div(microdollars_per_kwh * watts, 1000)


def priced(pool: Pool, catalog: Catalog) -> Pool:
    """Return a pool with the source of its price, and with that of the cheapest instance where the file has none."""
    if pool.microdollars_per_hour is not None:
        return replace(pool, price_source=pool.price_source or f"{pool.path}.price_per_hour")
    offer = offer_for(catalog.prices, pool.gpu.name, pool.gpus_per_node)
    return replace(pool, **rented(offer, catalog, pool.gpus_per_node)) if offer else pool


def rented(offer: CloudPrice, catalog: Catalog, gpus: int) -> dict[str, Any]:
    """Return what a pool knows of the price of its nodes when each is such an instance."""
    source = offer.basis + (", which is old" if stale(offer, catalog.prices) else "")
    if offer.gpu_count > gpus:
        source += f", with {offer.gpu_count} GPUs"
    price = offer.microdollars_per_hour
    return {"microdollars_per_node_hour": price, "price_source": source, "price_date": offer.date}
