"""Layers of equal cache behaviour share block tables: the groups of the engine's cache manager."""

from collections import Counter

from msgspec import Struct
from msgspec.structs import replace

from planner.tensors.kv_rules import KVRules
from planner.tensors.kv_spec import CacheSpec
from planner.units import ceil_div


class LayerCache(Struct, frozen=True):
    """The cache of the layer at ``index``."""

    index: int
    spec: CacheSpec


class Group(Struct, frozen=True):
    """Layers that share a block table. ``spec`` stands for all of them where their pages differ in size.

    ``slot_bytes`` is what a block costs where it has a slot of every page size for every layer (0: it has not).
    """

    spec: CacheSpec
    layers: tuple[LayerCache, ...]
    slot_bytes: int = 0

    def bytes_per_block(self, first: int, last: int) -> int:
        """Return what one block costs the pipeline stage that holds the layers from ``first`` up to ``last``."""
        return self.slot_bytes or sum(layer.spec.page_bytes for layer in self.layers if first <= layer.index < last)


def groups(layers: tuple[LayerCache, ...], rules: KVRules) -> tuple[Group, ...]:
    """Return the groups the engine forms over the layers of a whole model, in its order.

    Source: ``get_kv_cache_groups`` in ``v1/core/kv_cache_utils.py`` (to 0.28) and ``kv_cache_planning.py`` (0.33.0).
    """
    if not layers:
        return ()
    if layers[0].spec.packed:
        return _packed(layers) if rules.packed_groups else _slotted(layers)
    layers = _promoted(layers, rules)
    if _one_behaviour(layers):
        return (Group(layers[0].spec, layers),)
    return _split(_unified(layers), rules)


def _packed(layers: tuple[LayerCache, ...]) -> tuple[Group, ...]:
    """Group layers whose pages lie side by side: one bucket per behaviour, large ones dealt out to several groups.

    All groups draw blocks from one pool, so a block is as large as the largest group's: a bucket of forty layers beside
    one of five would make every block of the five eight times too large. Hence large buckets are dealt out to groups of
    about the same number of layers. A bucket with as many layers of each page size as of the others repeats one
    pattern, and only whole repeats can be dealt; their number per group is the one that pads the buckets least. A
    bucket that is not even stays one group. Source: ``_get_packed_kv_cache_groups`` in
    ``v1/core/kv_cache_planning.py``, vLLM 0.33.0.
    """
    buckets: dict[tuple[str, int, int], dict[int, list[LayerCache]]] = {}
    for layer in layers:
        spec = layer.spec
        bucket = buckets.setdefault((spec.kind, spec.block_size, spec.reach), {})
        bucket.setdefault(spec.page_bytes, []).append(layer)
    # Only the repeats of patterns with several page sizes bind the size from below: such a pattern is not cut.
    even = [pages for pages in buckets.values() if len({len(found) for found in pages.values()}) == 1]
    repeats = [max(len(found) for found in pages.values()) for pages in even]
    least = max((count for count, pages in zip(repeats, even, strict=True) if len(pages) > 1), default=0)
    size = _least_padding(repeats, least) if least else 0
    groups: list[Group] = []
    for pages in buckets.values():
        longest = max(len(found) for found in pages.values())
        number = ceil_div(longest, size) if size and pages in even else 1
        for position in range(number):
            dealt = tuple(layer for found in pages.values() for layer in found[position::number])
            groups.append(Group(dealt[0].spec, dealt))
    return tuple(groups)


def _slotted(layers: tuple[LayerCache, ...]) -> tuple[Group, ...]:
    """Group layers into blocks that have slots of each page size of the unwindowed layers, as many as any group needs.

    Windowed layers take the next larger slot; buckets with more layers than there are slots are dealt out to several
    groups. Source: ``_get_kv_cache_groups_uniform_groups`` and ``_get_kv_cache_config_deepseek_v4`` in
    ``v1/core/kv_cache_utils.py``, vLLM 0.22.1 to 0.26.0; 6.66 GiB for 30,000 tokens in batches of 16,384
    (github.com/vllm-project/vllm/issues/44376).
    """
    whole = tuple(layer for layer in layers if layer.spec.kind == "latent")
    windowed: dict[tuple[int, int], list[LayerCache]] = {}
    for layer in layers:
        if layer.spec.kind != "latent":
            windowed.setdefault((layer.spec.block_size, layer.spec.reach), []).append(layer)
    buckets = [list(whole), *windowed.values()]
    repeats = [max(Counter(layer.spec.page_bytes for layer in bucket).values()) for bucket in buckets]
    size = _least_padding(repeats, repeats[0])
    numbers = [1, *(ceil_div(count, size) for count in repeats[1:])]
    slots = max(ceil_div(count, number) for count, number in zip(repeats, numbers, strict=True))
    slot_bytes = slots * sum({layer.spec.page_bytes for layer in whole})
    return tuple(
        Group(bucket[0].spec, tuple(bucket[position::number]), slot_bytes)
        for bucket, number in zip(buckets, numbers, strict=True)
        for position in range(number)
    )


def _least_padding(counts: list[int], least: int) -> int:
    """Return the group size, at least ``least``, to whose multiples the counts are rounded up most cheaply."""
    sizes = range(least, max(counts) + 1)
    return min(sizes, key=lambda size: (sum(-count % size for count in counts), -size))


def _promoted(layers: tuple[LayerCache, ...], rules: KVRules) -> tuple[LayerCache, ...]:
    """Turn windowed layers into full attention where the hybrid manager is off and both kinds are present."""
    kinds = {layer.spec.kind for layer in layers}
    off = not rules.hybrid_groups or ("chunked" in kinds and not rules.chunked_groups)
    if not off or "full" not in kinds:
        return layers
    windowed = ("sliding", "chunked")
    return tuple(
        replace(layer, spec=layer.spec.promoted()) if layer.spec.kind in windowed else layer for layer in layers
    )


def _one_behaviour(layers: tuple[LayerCache, ...]) -> bool:
    """Whether all layers need the same number of blocks: then one group holds them all, whatever their pages."""
    if len({(layer.spec.kind, layer.spec.block_size, layer.spec.reach) for layer in layers}) > 1:
        return False
    return layers[0].spec.kind != "state" or len({layer.spec.page_bytes for layer in layers}) == 1


def _unified(layers: tuple[LayerCache, ...]) -> tuple[LayerCache, ...]:
    """Give all layers one page size: more tokens per block where that divides evenly, padding where not."""
    page = max(layer.spec.page_bytes for layer in layers)
    return tuple(replace(layer, spec=_with_page(layer.spec, page)) for layer in layers)


def _with_page(spec: CacheSpec, page_bytes: int) -> CacheSpec:
    if spec.kind != "state" and page_bytes % spec.page_bytes == 0:
        factor = page_bytes // spec.page_bytes
        return replace(spec, page_bytes=page_bytes, block_size=spec.block_size * factor)
    return replace(spec, page_bytes=page_bytes)


def _split(layers: tuple[LayerCache, ...], rules: KVRules) -> tuple[Group, ...]:
    """Bucket layers by spec and deal each bucket out to groups of one size, so that stages share evenly."""
    buckets: dict[CacheSpec, list[LayerCache]] = {}
    for layer in layers:
        buckets.setdefault(layer.spec, []).append(layer)
    counts = [len(bucket) for bucket in buckets.values()]
    smallest, largest = min(counts), max(counts)
    size = largest if 100 * largest < rules.pad_groups_percent * smallest else smallest
    found: list[Group] = []
    for spec, bucket in buckets.items():
        number = ceil_div(len(bucket), size)
        found += [Group(spec, tuple(bucket[position::number])) for position in range(number)]
    return tuple(found)
