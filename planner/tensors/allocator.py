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


def pinned_bytes(groups: Iterable[tuple[int, ...]], split_limit: int = 0) -> int:
    """Return the pinned memory of the machine that a copy of these tensors takes, segment by segment.

    The engine's sleeping allocator copies every segment of the device on its own, and PyTorch rounds what it pins up to
    a power of two: ``CachingHostAllocatorImpl::allocate`` in ATen/core/CachingHostAllocator.h, 2.0 to 2.13. It keeps
    what it has pinned, so that this is taken from the first sleep on.
    """
    limit = split_limit or _UNLIMITED
    small, total = 0, 0
    free: list[int] = []
    for group in groups:
        few, large = _rounded(group)
        small += few
        for size in large:
            if _best(size, free, limit) is None:
                total += _power_of_two(_segment(size))
            _allocate(size, free, limit)
    return total + -(-small // _SMALL_SEGMENT) * _SMALL_SEGMENT


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


def _rounded(group: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return the bytes that the small tensors of a group take together, and the sizes of the large ones.

    Small blocks are cut from segments of their own, and all of what is left of one is always split off.
    """
    sizes = [-(-tensor // _ROUND) * _ROUND for tensor in group if tensor > 0]
    return sum(size for size in sizes if size <= _SMALL), tuple(size for size in sizes if size > _SMALL)


def _allocate(size: int, free: list[int], limit: int) -> int:
    """Take the best free large block or a new segment; return the size of the block that is used."""
    position = _best(size, free, limit)
    block = _segment(size) if position is None else free.pop(position)
    remainder = block - size
    if remainder > _SMALL and size < limit:
        insort(free, remainder)
        return size
    return block


def _best(size: int, free: list[int], limit: int) -> int | None:
    """Return the position of the smallest free block that a tensor may have, None where it takes a new segment."""
    position = bisect_left(free, size)
    usable = position < len(free) and (
        free[position] < limit if size < limit else free[position] < size + _LARGE_SEGMENT
    )
    return position if usable else None


def _segment(size: int) -> int:
    return _LARGE_SEGMENT if size < _LARGE_ALLOCATION else -(-size // _LARGE_ROUND) * _LARGE_ROUND
