"""PyTorch's caching allocator, replayed: what a list of tensors really takes from the device.

The engine measures loaded weights as the allocator's *blocks*, not as tensors. A block may be up to 1 MiB larger than
its tensor, which adds up over hundreds of layers: 0.4 % of a 7B model.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from planner.units import MIB

# c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.x: kMinBlockSize, kSmallSize, kSmallBuffer, kLargeBuffer,
# kMinLargeAlloc, kRoundLarge.
_ROUND = 512
_SMALL = MIB
_SMALL_SEGMENT = 2 * MIB
_LARGE_SEGMENT = 20 * MIB
_LARGE_ALLOCATION = 10 * MIB
_LARGE_ROUND = 2 * MIB
_UNLIMITED = 1 << 62


def allocated_bytes(tensors: Iterable[int], split_limit: int = 0) -> int:
    """Return the bytes of the blocks that hold ``tensors`` (sizes in bytes), allocated in order and never freed.

    ``split_limit`` is the allocator's ``max_split_size``: larger blocks are not split (0: no limit).
    """
    limit = split_limit or _UNLIMITED
    small: list[int] = []
    large: list[int] = []
    total = 0
    for tensor in tensors:
        if tensor <= 0:
            continue
        size = -(-tensor // _ROUND) * _ROUND
        total += _allocate(size, small, _ROUND, limit) if size <= _SMALL else _allocate(size, large, _SMALL + 1, limit)
    return total


def _allocate(size: int, free: list[int], least_remainder: int, limit: int) -> int:
    """Take the best free block or a new segment; return the size of the block that is used."""
    position = bisect_left(free, size)
    usable = position < len(free) and (
        free[position] < limit if size < limit else free[position] < size + _LARGE_SEGMENT
    )
    block = free.pop(position) if usable else _segment(size)
    remainder = block - size
    if remainder >= least_remainder and (size < limit or size <= _SMALL):
        insort(free, remainder)
        return size
    return block


def _segment(size: int) -> int:
    if size <= _SMALL:
        return _SMALL_SEGMENT
    if size < _LARGE_ALLOCATION:
        return _LARGE_SEGMENT
    return -(-size // _LARGE_ROUND) * _LARGE_ROUND
