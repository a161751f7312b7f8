"""Looks: how much of preparing options there may be, counted so that a run repeats on any machine.

One look takes about as long as putting one box of options in its place, some 30 µs of CPU; what takes longer counts
as more of them. Preparing the options of open roles takes 17 to 38 µs for each look that is counted: on two RTX 3090,
eight H100, and 16 H100 beside eight A100. On average an offer takes 0.5 to 1.4 ms there, the smallest option of one
0.4 to 0.6 ms, an option beyond that 0.2 ms, and a context 0.1 to 0.2 ms, because most were sized before. All but
offers count as more than they take, so that a run ends sooner. A forecast of speed takes 0.1 to 0.2 ms.
"""

from msgspec import Struct, field

from planner.search.budget import Purse, purse
from planner.search.watch import stopped

BOX, FORECAST, RUNG, OFFER, CONTEXT, LEAST = 1, 5, 10, 15, 25, 30
"""Looks that each of these counts as."""

_ENDLESS = 1 << 60


class Looks(Struct):
    """The looks that are ``left`` of a part of what the budget still has."""

    left: int
    _purse: Purse = field(default_factory=purse)

    @classmethod
    def most(cls) -> "Looks":
        """Return three quarters of what is left of the budget: something is left for what comes after."""
        now = purse()
        return cls(now.looks - now.looks // 4, now)

    @classmethod
    def all(cls) -> "Looks":
        """Return looks without end, for what is known to take few."""
        return cls(_ENDLESS, Purse(0, 0))

    def share(self, parts: int) -> "Looks":
        """Return one of so many equal parts; who gets it also has to ``take`` from these."""
        return Looks(self.left // parts, Purse(0, 0))

    def but_a_quarter(self) -> "Looks":
        """Return as many as three quarters of these, to take from these as well."""
        return Looks(self.left - self.left // 4, Purse(0, 0))

    def take(self, count: int) -> None:
        """Take off what was looked at."""
        self.left -= count
        self._purse.looks = max(0, self._purse.looks - count)

    @property
    def spent(self) -> bool:
        """Whether none are left, or whoever watches wants no more."""
        return self.left <= 0 or stopped()
