"""What a node costs that is rented: whole instances as providers list them, never shares of one."""

from collections.abc import Iterable

from planner.facts.gpu import CloudPrice

_STALE_MONTHS = 6


def offer_for(prices: Iterable[CloudPrice], gpu: str, gpus: int) -> CloudPrice | None:
    """Return the cheapest instance on demand with so many GPUs, or with the fewest more; None where nobody has one.

    One that was listed on a day that is known comes before those of which it is not.
    A figure that nobody sells at counts where there is no offer, for nodes of as many GPUs as it is for.
    """
    fitting = [one for one in prices if one.gpu == gpu and one.gpu_count >= gpus and one.market == "on-demand"]
    sold = [one for one in fitting if not one.reference]
    asked = sold or [one for one in fitting if one.gpu_count == gpus]
    return min(
        asked,
        key=lambda one: (one.gpu_count, not one.date, one.microdollars_per_hour, one.provider, one.instance),
        default=None,
    )


def stale(offer: CloudPrice, prices: Iterable[CloudPrice]) -> bool:
    """Whether a price was listed half a year or more before the newest one that is known."""
    newest = max((one.date for one in prices), default="")
    return bool(offer.date) and _months(newest) - _months(offer.date) >= _STALE_MONTHS


def _months(date: str) -> int:
    return 12 * int(date[:4]) + int(date[5:7])
