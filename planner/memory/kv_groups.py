"""Layers of equal cache behaviour share block tables: the groups of the engine's cache manager."""

from dataclasses import dataclass, replace

from planner.memory.kv_rules import KVRules
from planner.memory.kv_spec import CacheSpec
from planner.units import ceil_div


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table. One block of the group costs ``bytes_per_block``, padding layers not counted.

    ``spec`` stands for all layers; where page sizes differ (one kind of attention, several shapes) it is the first.
    """

    spec: CacheSpec
    layers: int
    bytes_per_block: int


def groups(specs: tuple[CacheSpec, ...], rules: KVRules) -> tuple[Group, ...]:
    """Return the groups the engine forms, in its order.

    Source: ``get_kv_cache_groups`` in ``v1/core/kv_cache_utils.py`` (to 0.28) and ``kv_cache_planning.py`` (0.33.0).
    """
    if not specs:
        return ()
    specs = _promoted(specs, rules)
    if _one_behaviour(specs):
        return (Group(specs[0], len(specs), sum(spec.page_bytes for spec in specs)),)
    return _split(_unified(specs), rules)


def _promoted(specs: tuple[CacheSpec, ...], rules: KVRules) -> tuple[CacheSpec, ...]:
    """Turn windowed layers into full attention where the hybrid manager is off and both kinds are present."""
    kinds = {spec.kind for spec in specs}
    off = not rules.hybrid_groups or ("chunked" in kinds and not rules.chunked_groups)
    if not off or "full" not in kinds:
        return specs
    return tuple(spec.promoted() if spec.kind in ("sliding", "chunked") else spec for spec in specs)


def _one_behaviour(specs: tuple[CacheSpec, ...]) -> bool:
    """Whether all layers need the same number of blocks: then one group holds them all, whatever their pages."""
    first = specs[0]
    same = all(
        (spec.kind, spec.block_size, spec.reach) == (first.kind, first.block_size, first.reach) for spec in specs
    )
    return same and (first.kind != "state" or len({spec.page_bytes for spec in specs}) == 1)


def _unified(specs: tuple[CacheSpec, ...]) -> tuple[CacheSpec, ...]:
    """Give all layers one page size: more tokens per block where that divides evenly, padding where not."""
    page = max(spec.page_bytes for spec in specs)
    return tuple(_with_page(spec, page) for spec in specs)


def _with_page(spec: CacheSpec, page_bytes: int) -> CacheSpec:
    if spec.kind != "state" and page_bytes % spec.page_bytes == 0:
        factor = page_bytes // spec.page_bytes
        return replace(spec, page_bytes=page_bytes, block_size=spec.block_size * factor)
    return replace(spec, page_bytes=page_bytes)


def _split(specs: tuple[CacheSpec, ...], rules: KVRules) -> tuple[Group, ...]:
    """Bucket layers by spec and cut each bucket into groups of one size, the last one padded."""
    buckets: dict[CacheSpec, int] = {}
    for spec in specs:
        buckets[spec] = buckets.get(spec, 0) + 1
    smallest, largest = min(buckets.values()), max(buckets.values())
    size = largest if 100 * largest < rules.pad_groups_percent * smallest else smallest
    return tuple(
        Group(spec, size, size * spec.page_bytes)
        for spec, count in buckets.items()
        for _ in range(ceil_div(count, size))
    )
