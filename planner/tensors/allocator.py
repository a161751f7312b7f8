"""PyTorch's caching allocator, replayed: what a list of tensors really takes from the device.

The engine measures loaded weights as the allocator's *blocks*, not as tensors. A block may be up to 1 MiB larger than
its tensor, which adds up over hundreds of layers: 0.4 % of a 7B model.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from planner.units import MIB

# c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.x: kMinBlockSize, kSmallSize, kLargeBuffer, kMinLargeAlloc,
# kRoundLarge.
_ROUND = 512
_SMALL = MIB
_LARGE_SEGMENT = 20 * MIB
_LARGE_ALLOCATION = 10 * MIB
_LARGE_ROUND = 2 * MIB
_UNLIMITED = 1 << 62


def allocated_bytes(groups: Iterable[tuple[int, ...]], split_limit: int = 0) -> int:
    """Return the bytes of the blocks that hold tensors (sizes in bytes), allocated in order and never freed.

    The tensors come in ``groups``, such as those of a layer: equal groups that find the same free blocks take the same.
    ``split_limit`` is the allocator's ``max_split_size``: larger blocks are not split (0: no limit).
    """
    limit = split_limit or _UNLIMITED
    order = list(groups)
    known = {group: _rounded(group) for group in set(order)}
    least = min((size for _, large in known.values() for size in large), default=0)
    taken: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, tuple[int, ...]]] = {}
    free: tuple[int, ...] = ()
    total = 0
    for group in order:
        small, large = known[group]
        if (large, free) not in taken:
            blocks = list(free)
            size = sum(_allocate(tensor, blocks, limit) for tensor in large)
            # No tensor to come fits what is smaller than all of them.
            taken[large, free] = size, tuple(block for block in blocks if block >= least)
        size, free = taken[large, free]
        total += small + size
    return total


def _rounded(group: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return the bytes that the small tensors of a group take together, and the sizes of the large ones.

    Small blocks are cut from segments of their own, and all of what is left of one is always split off.
    """
    sizes = [-(-tensor // _ROUND) * _ROUND for tensor in group if tensor > 0]
    return sum(size for size in sizes if size <= _SMALL), tuple(size for size in sizes if size > _SMALL)


def _allocate(size: int, free: list[int], limit: int) -> int:
    """Take the best free large block or a new segment; return the size of the block that is used."""
    position = bisect_left(free, size)
    usable = position < len(free) and (
        free[position] < limit if size < limit else free[position] < size + _LARGE_SEGMENT
    )
    block = free.pop(position) if usable else _segment(size)
    remainder = block - size
    if remainder > _SMALL and size < limit:
        insort(free, remainder)
        return size
    return block


def _segment(size: int) -> int:
    return _LARGE_SEGMENT if size < _LARGE_ALLOCATION else -(-size // _LARGE_ROUND) * _LARGE_ROUND
