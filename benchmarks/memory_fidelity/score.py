"""Errors of predictions and their statistics."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.memory_fidelity.table import Row
from planner.memory.estimate import Estimate
from planner.units import GIB

Pair = tuple[Row, Estimate]


@dataclass(frozen=True, slots=True)
class Term:
    """One logged figure: its name, how a row states it, and how an estimate does."""

    name: str
    measured: Callable[[Row], float | None]
    predicted: Callable[[Estimate], float]
    promise: bool = False


TERMS = (
    Term("weights", lambda row: row.weights_gib, lambda result: result.weights_bytes / GIB),
    Term("activation", lambda row: row.activation_gib, lambda result: result.activation_bytes / GIB),
    Term("non-PyTorch", lambda row: row.non_torch_gib, lambda result: result.non_torch_bytes / GIB),
    Term("CUDA graphs", lambda row: row.cuda_graph_gib, lambda result: result.cuda_graph_bytes / GIB),
    Term("KV cache GiB", lambda row: row.kv_cache_gib, lambda result: result.kv_cache_bytes / GIB, promise=True),
    Term("KV cache tokens", lambda row: row.kv_cache_tokens, lambda result: result.kv_cache_tokens, promise=True),
    Term("concurrency", lambda row: row.concurrency, lambda result: result.max_concurrency, promise=True),
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Relative errors in percent: count, mean of absolute values, median, 95th percentile, share above +1 %."""

    count: int
    mean: float
    median: float
    p95: float
    over_promised: float


def errors(term: Term, pairs: Iterable[Pair]) -> list[float]:
    """Return the relative errors in percent of all rows that state the term, where it is large enough to relate to."""
    found = []
    for row, result in pairs:
        measured = term.measured(row)
        if measured is not None and measured > _LEAST.get(term.name, 0.0):
            found.append(100.0 * (term.predicted(result) / measured - 1.0))
    return found


# Below these, in GiB, a relative error says nothing: the logged figure is rounded to 0.01 and may be noise.
_LEAST = {"non-PyTorch": 0.2, "CUDA graphs": 0.1, "KV cache GiB": 0.3}


def statistics(values: Sequence[float]) -> Statistics | None:
    """Summarize relative errors; None where there are none."""
    if not values:
        return None
    sizes = sorted(abs(value) for value in values)
    return Statistics(
        count=len(values),
        mean=sum(sizes) / len(sizes),
        median=quantile(sizes, 0.5),
        p95=quantile(sizes, 0.95),
        over_promised=100.0 * sum(value > 1.0 for value in values) / len(values),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the ordered values do not exceed."""
    rank = max(1, -(-int(len(ordered) * share * 1000) // 1000))
    return ordered[min(rank, len(ordered)) - 1]


def covered(pairs: Iterable[Pair]) -> tuple[int, int]:
    """Return how many logged KV caches lie inside the stated range, and how many there are."""
    inside = total = 0
    for row, result in pairs:
        share = measured_share(row, result)
        if share is not None:
            total += 1
            low, high = result.kv_cache_low_bytes, result.kv_cache_high_bytes
            inside += low <= share <= high
    return inside, total


def strain(row: Row, result: Estimate) -> float | None:
    """Return how far the logged KV cache is from the estimate, as a share of the stated range on its side."""
    share = measured_share(row, result)
    if share is None:
        return None
    off = share - result.kv_cache_bytes
    low, high = result.kv_cache_low_bytes, result.kv_cache_high_bytes
    return off / (high - result.kv_cache_bytes) if off >= 0 else off / (low - result.kv_cache_bytes)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How the stated ranges held in one era.

    ``needed`` is the share of the stated width that holds 95 % of the rows. ``inside_unseen`` counts the rows inside
    ranges scaled to that share of their stated width which the era's other sources alone need.
    """

    rows: int
    sources: int
    inside: int
    needed: float
    inside_unseen: int


def coverage(pairs: Iterable[Pair]) -> Coverage | None:
    """Return how the ranges of some rows held, None where fewer than two sources log a KV cache."""
    found = [(row.publication, size) for row, result in pairs if (size := strain(row, result)) is not None]
    sources = {source for source, _ in found}
    if len(sources) < _FEWEST_SOURCES:
        return None
    unseen = 0
    for source in sources:
        width = quantile(sorted(size for other, size in found if other != source), _HOLDS)
        unseen += sum(size <= width for other, size in found if other == source)
    sizes = sorted(size for _, size in found)
    return Coverage(
        rows=len(found),
        sources=len(sources),
        inside=sum(size <= 1.0 for size in sizes),
        needed=quantile(sizes, _HOLDS),
        inside_unseen=unseen,
    )


_FEWEST_SOURCES = 2
_HOLDS = 0.95


def measured_share(row: Row, result: Estimate) -> float | None:
    """Return the logged KV cache in bytes; from its tokens where GiB are not logged."""
    if row.kv_cache_gib is not None:
        return row.kv_cache_gib * GIB
    if row.kv_cache_tokens is not None and result.kv_cache_tokens > 0:
        return result.kv_cache_bytes * row.kv_cache_tokens / result.kv_cache_tokens
    return None


def confusion(pairs: Iterable[Pair]) -> dict[tuple[bool, bool], list[str]]:
    """Return row ids by (measured start, predicted start)."""
    table: dict[tuple[bool, bool], list[str]] = {(a, b): [] for a in (True, False) for b in (True, False)}
    for row, result in pairs:
        if row.outcome != "other":
            table[row.started, result.starts].append(row.id)
    return table
