"""What a plan costs, in words."""

from planner.explain.words import listed
from planner.plan import Money, TokenPrice
from planner.speed.forecast import Range

_MILLIONTHS = 1_000_000


def money(own: Money) -> str:
    """Say what the GPUs in use cost for an hour, and a million tokens with all requests running and as planned."""
    lines = [
        f"{own.microdollars_per_hour / _MILLIONTHS:.2f} $/h for the GPUs in use ({listed(own.sources)})",
        f"a million tokens with all requests running: {_prices(own.full_load)}",
    ]
    if own.planned_load:
        lines.append(f"a million tokens at the rates planned for: {_prices(own.planned_load)}")
    return "\n".join(lines)


def _prices(own: TokenPrice) -> str:
    return f"{_price(own.output)} written, {_price(own.all_tokens)} with the prompts"


def _price(own: Range) -> str:
    value, low, high = (f"{figure / _MILLIONTHS:.3g}" for figure in (own.value, own.low, own.high))
    return f"{value} $" if low == high else f"{value} $ ({low} to {high})"
