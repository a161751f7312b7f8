"""What a plan costs, in words."""

from planner.plan import HourlyPrice, Money, TokenPrice
from planner.speed.forecast import Range

_MILLIONTHS = 1_000_000

_HOURS_OF_A_MONTH = 730
"""365 days of 24 hours, by twelve: the month of the cloud providers' calculators."""


def price(own: HourlyPrice) -> str:
    """Say what is paid for an hour and for a month of 730 hours, and whose price that is."""
    month = own.per_hour * _HOURS_OF_A_MONTH
    return f"{dollars(own.per_hour)} $/h, {month:,.0f} $ a month for what is in use ({own.basis})"


def dollars(amount: float) -> str:
    """Write an amount of dollars, exact to a millionth, in cents, half a cent as a whole one: 5.225 is ``5.23``."""
    cents = (round(amount * _MILLIONTHS) * 100 + _MILLIONTHS // 2) // _MILLIONTHS
    return f"{cents // 100}.{cents % 100:02}"


def tokens_price(own: TokenPrice) -> str:
    """Write what a million output tokens cost."""
    return _price(own.output)


def money(own: Money) -> str:
    """Say what a million tokens cost with all requests running and as planned."""
    lines = [f"a million tokens cost with all requests running {_prices(own.full_load)}"]
    if own.planned_load:
        lines.append(f"a million tokens cost at the rates planned for {_prices(own.planned_load)}")
    return "\n".join(lines)


def _prices(own: TokenPrice) -> str:
    return f"{_price(own.output)} of answers, {_price(own.all_tokens)} of answers and prompts"


def _price(own: Range) -> str:
    value, low, high = (f"{figure / _MILLIONTHS:.3g}" for figure in (own.value, own.low, own.high))
    return f"{value} $" if low == high else f"{value} $ ({low} to {high})"
