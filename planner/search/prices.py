"""Prices: what a byte of a GPU is worth to the best plans, for candidates that nobody has sized yet.

``bounds`` finds them, and says why any prices bound every plan; known without the solver's library.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

SCALE = 1 << 48
"""What prices are multiples of: the reciprocal of this."""


class Prices(Struct, frozen=True):
    """The prices of each pool, in units of the scale, and how the first stages are weighed.

    ``bytes`` is the price of a byte of a GPU of a pool, which has ``capacity`` of them, and ``whole`` that of having a
    GPU to oneself but for what is smaller; ``everything`` is the price of all there is.
    """

    weights: tuple[int, ...]
    capacity: tuple[int, ...]
    bytes: tuple[int, ...]
    whole: tuple[int, ...]
    everything: int

    def left(
        self,
        pool: int,
        gpus: int,
        runs: Sequence[tuple[int, int]],
        worth: Callable[[int], Sequence[int]],
        size: Callable[[int], int],
        *,
        alone: bool,
    ) -> int | None:
        """Return what is left at most, after the prices, of what candidates on so many GPUs are worth; None of none.

        They have from the first to the last of a run of sequences, are worth no more than ``worth`` says and take no
        less of each GPU than ``size`` says, which both grow with the sequences. ``alone`` says that they take the GPUs
        whole. What does not fit an empty GPU is none.
        """
        capacity = self.capacity[pool]
        most: int | None = None
        for first, last in runs:
            taken = size(first)
            if taken > capacity:
                break
            large = alone or 2 * size(runs[0][0]) > capacity
            price = self.bytes[pool] * (capacity if alone else taken) + (self.whole[pool] if large else 0)
            value = sum(weight * part for weight, part in zip(self.weights, worth(last), strict=True))
            left = value * SCALE - price * gpus
            most = left if most is None else max(most, left)
        return most
