"""Money: what the GPUs in use cost for an hour, and what a million tokens then cost."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from planner.fleet import Fleet
from planner.options.paces import price_per_mtok
from planner.plan.server import ServerPlan
from planner.speed.forecast import Range


class HourlyPrice(Struct, frozen=True, kw_only=True):
    """What is paid for an hour of the GPUs in use, or of their whole nodes where these are rented.

    ``per_hour`` is in ``currency`` (``USD``), exact to a millionth; ``basis`` says whose price it is, and ``date`` when
    the oldest of them was listed (empty: not known, or a figure of the fleet's own).
    """

    per_hour: float
    currency: str
    basis: str
    date: str

    @property
    def micro_per_hour(self) -> int:
        """The same in millionths, which add up exactly."""
        return round(self.per_hour * 1_000_000)


class TokenPrice(Struct, frozen=True, kw_only=True):
    """Millionths of a US dollar for a million ``output`` tokens, and for a million of prompt and answer together."""

    output: Range
    all_tokens: Range


class Money(Struct, frozen=True, kw_only=True):
    """What tokens cost when the GPUs in use cost the plan's ``price``.

    ``full_load`` is with all requests running, ``planned_load`` at the rates that the roles state; None if one states
    none.
    """

    full_load: TokenPrice
    planned_load: TokenPrice | None


def money_of(fleet: Fleet, servers: Sequence[ServerPlan]) -> Money | None:
    """Return what a plan costs; None where a price is not known, or the speed of a server that generates text.

    None too where roles take turns: how many tokens they put out hangs on how often they change.
    """
    if fleet.time_share:
        return None
    output, everything = Counter[str](), Counter[str]()
    generating = [server for server in servers if server.output_tokens]
    for server in generating:
        own = server.speed.output_millitokens_per_second if server.speed else None
        if own is None:
            return None
        for end in ("value", "low", "high"):
            output[end] += getattr(own, end)
            everything[end] += getattr(own, end) * server.request_tokens // server.output_tokens
    if not (generating and fleet.priced) or any(not (server.pooling or server.output_tokens) for server in servers):
        return None
    price, _ = _price(fleet, servers)
    return Money(
        full_load=TokenPrice(output=_range(price, output), all_tokens=_range(price, everything)),
        planned_load=_planned(fleet, {server.role for server in generating}, price),
    )


def price_of(fleet: Fleet, servers: Sequence[ServerPlan]) -> HourlyPrice | None:
    """Return what the GPUs in use cost, or their whole nodes; None where a price is not known."""
    if not fleet.priced:
        return None
    price, sources = _price(fleet, servers)
    dates = [pool.price_date for pool in fleet.pools if pool.price_source in sources]
    return HourlyPrice(
        per_hour=price / 1_000_000, currency="USD", basis="; ".join(sources), date=min(dates, default="")
    )


def _price(fleet: Fleet, servers: Sequence[ServerPlan]) -> tuple[int, tuple[str, ...]]:
    """Return the hourly price of the GPUs in use, or of their nodes where these are rented whole, and whose it is."""
    used = {gpu for server in servers for gpu in server.gpus}
    price, sources = 0, list[str]()
    for pool in fleet.pools:
        devices = range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node)
        nodes = set(pool.node_names)
        here = {(node, index) for node, index in used if node in nodes and index in devices}
        count = len(here) if pool.paid_together == 1 else len({node for node, _ in here})
        if count:
            price += count * (pool.microdollars_per_hour or 0)
            sources.append(pool.price_source)
    return price, tuple(dict.fromkeys(sources))


def _range(price: int, tokens: Counter[str]) -> Range:
    """Return the price of a million tokens; it is low where many are put out."""
    return Range(
        value=price_per_mtok(price, tokens["value"]),
        low=price_per_mtok(price, tokens["high"]),
        high=price_per_mtok(price, tokens["low"]),
    )


def _planned(fleet: Fleet, served: set[str], price: int) -> TokenPrice | None:
    """Return the prices at the rates that the roles state, if all of them do."""
    output = everything = 0
    for name in served:
        role = fleet.role(name)
        if role.rate_milli is None:
            return None
        output += role.rate_milli * (role.output_tokens or 0)
        everything += role.rate_milli * (role.request_tokens or 0)
    exact = price_per_mtok(price, output), price_per_mtok(price, everything)
    output_price, price_of_all = (Range(value=one, low=one, high=one) for one in exact)
    return TokenPrice(output=output_price, all_tokens=price_of_all)
