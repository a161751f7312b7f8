"""Ladders: which values of an open setting are tried. Between two rungs nothing is lost but a part of a step."""

import functools

SMALLEST_BATCH = 512
"""Smaller batches save little memory and cost much throughput."""

STAGES = (2, 3, 4, 6, 8, 12, 16)
"""Numbers of pipeline stages that are tried, one after another."""

NODES = (2, 4, 8, 16)
"""Numbers of nodes that data-parallel ranks fill; more of them save less and less of each GPU."""


EVERY_SERVER = 128
"""Up to so many servers of a role every number is tried; beyond, each is a 64th more than the one before: a role that
could have one of those in between has at most that much less of what its servers add up to."""

_STEPS = 64


@functools.lru_cache(maxsize=1024)
def servers(most: int) -> tuple[int, ...]:
    """Return the numbers of servers to try, ascending, where ``most`` of them have GPUs and are of use."""
    found = list(range(1, min(most, EVERY_SERVER) + 1))
    while found[-1] < most:
        found.append(min(most, found[-1] + found[-1] // _STEPS))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def contexts(least: int, wish: int, limit: int) -> tuple[int, ...]:
    """Return the contexts to try, ascending: the least, the powers of two above it, the wish, all within ``limit``.

    Empty when ``limit``, the model's longest context, is below the least.
    """
    top = min(wish, limit)
    if top < least:
        return ()
    powers = [1 << exponent for exponent in range(least.bit_length(), top.bit_length())]
    return tuple(sorted({least, top, *(power for power in powers if least < power < top)}))


def batches(default: int, least: int) -> tuple[int, ...]:
    """Return the batch sizes to try, descending: the engine's default and its halves, none below ``least``."""
    if default <= least:
        return (least,)
    return tuple(default >> shift for shift in range(default.bit_length()) if default >> shift >= least)


def sequence_limits(least: int, target: int) -> tuple[int, ...]:
    """Return the upper limits of sequences to try, descending: the target, its half, and so on down to ``least``.

    CUDA graphs and margins are counted for the limit, so a plan that ends with few sequences needs a low one. The last
    is ``least`` itself: what is wished for beyond that makes nothing too large.
    """
    limits = [target]
    while limits[-1] // 2 > least:
        limits.append(limits[-1] // 2)
    return tuple(limits) if limits[-1] == least else (*limits, least)


def ends(ladder: tuple[int, ...]) -> tuple[int, ...]:
    """Return the ends of a ladder."""
    return ladder if len(ladder) < 2 else (ladder[0], ladder[-1])
