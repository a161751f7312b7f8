"""What load tests of the user's own teach about the next one: by how much a server is faster or slower than expected.

A test teaches about the same model, shared out in the same way, on the same kind of device and the same era of the
engine; the length of its requests and how many ran do not matter, because the terms that depend on them are computed.
"""

from statistics import median_high, median_low

from msgspec import Struct

from planner.facts.gpu import GPU
from planner.memory.learnt import model_key, split_key
from planner.memory.terms import Server
from planner.speed.constants import Spread

_PERMILLE = 1000
# How much of the logarithm of the range stated before stays. One public measurement of a server brings 80 % of the
# others of it, at any load, inside 0.59 (faster) to 0.56 (slower) of the range of times per token, and 0.64 to 0.56 of
# that of output; at less than half its load inside 0.74 and 0.88 (tests/test_calibrate_speed.py). The time to the first
# token differs between loads as much as between servers, so all of its range stays.
_KEPT = 0.75
_KEPT_TTFT = 1.0


class Bias(Struct, frozen=True, kw_only=True):
    """What was measured of what was expected, in thousandths: the least, the middle and the most of all tests."""

    lowest: int
    middle: int
    highest: int
    kept: float

    def of_a_time(self, stated: Spread) -> "Factors":
        """Return the factors of a time for which a range was stated; its slow end never passes what was expected."""
        return Factors(
            low=self.lowest / _PERMILLE * min(1.0, stated.low) ** self.kept,
            middle=self.middle / _PERMILLE,
            high=max(1.0, self.highest / _PERMILLE * max(1.0, stated.high) ** self.kept),
        )

    def of_a_rate(self, stated: Spread) -> "Factors":
        """Return the factors of a rate for which a range was stated; its slow end never passes what was expected."""
        return Factors(
            low=min(1.0, self.lowest / _PERMILLE * min(1.0, stated.low) ** self.kept),
            middle=self.middle / _PERMILLE,
            high=self.highest / _PERMILLE * max(1.0, stated.high) ** self.kept,
        )


class Factors(Struct, frozen=True, kw_only=True):
    """What an expected figure is multiplied by for the figure that is said, and for the ends of its range."""

    low: float
    middle: float
    high: float


class Learnt(Struct, frozen=True, kw_only=True):
    """What load tests say of one server: ``sources`` are their digests."""

    tpot: Bias
    ttft: Bias
    output: Bias
    sources: tuple[str, ...]


def learnt(server: Server, gpu: GPU, host_factor: float) -> Learnt | None:
    """Return what the user's load tests say of a server, in the era with a host factor; None where there are none."""
    if not gpu.paced:
        return None
    key = (model_key(server), split_key(server), host_factor)
    own = [one for one in gpu.paced if (one.model, one.split, one.host_factor) == key]
    if not own:
        return None
    return Learnt(
        tpot=_bias([one.tpot_permille for one in own], _KEPT),
        ttft=_bias([one.ttft_permille for one in own], _KEPT_TTFT),
        output=_bias([one.output_permille for one in own], _KEPT, more_is_faster=True),
        sources=tuple(sorted({one.source for one in own})),
    )


def _bias(found: list[int], kept: float, *, more_is_faster: bool = False) -> Bias:
    middle = median_low(found) if more_is_faster else median_high(found)
    return Bias(lowest=min(found), middle=middle, highest=max(found), kept=kept)
