"""Measured start-ups, by machine, and estimates of each half after the other one was learnt from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from benchmarks.memory_fidelity.predict import described
from benchmarks.memory_fidelity.score import measured_share, quantile
from benchmarks.memory_fidelity.table import Row, rows
from planner.catalog.measured import Measured, as_seen
from planner.engine.profile import EngineProfile
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.facts.seen import Seen
from planner.memory.estimate import Estimate, estimate
from planner.memory.terms import Server
from planner.units import GIB

# Below this a relative error says nothing: logged figures are rounded to 0.01 GiB.
_LEAST_BYTES = 3 * GIB // 10


@dataclass(frozen=True, slots=True)
class StartUp:
    """One start-up: what was started, what is expected of it, and the KV cache that was logged."""

    row: Row
    server: Server
    gpu: GPU
    profile: EngineProfile
    before: Estimate
    logged_bytes: int

    def seen(self) -> Seen:
        """Return what it teaches; whether it compiled its model counts only where its source says so."""
        start = Measured(
            gpu=self.gpu.name,
            engine_version=self.row.version,
            model=self.row.model,
            source=self.row.id,
            compiled="eager" if self.row.enforce_eager else self.row.compile_cache or "",
            kv_cache_gib=self.logged_bytes / GIB,
        )
        found = as_seen(start, self.server, self.before)
        assert found  # its KV cache is logged
        return found

    def after(self, seen: tuple[Seen, ...]) -> Estimate:
        """Return the estimate once other start-ups were learnt from."""
        gpu = replace(self.gpu, seen=seen)
        return estimate(self.server, gpu, self.profile, round(self.row.in_use_gib * GIB))


@dataclass(frozen=True, slots=True)
class Pair:
    """One start-up of a half: its relative error in percent before and after, and whether it lies in the new range."""

    id: str
    before: float
    after: float
    inside: bool


def machines() -> list[list[StartUp]]:
    """Return the start-ups of every publication and kind of GPU that has two or more: they share a machine."""
    groups: dict[tuple[str, str], list[StartUp]] = defaultdict(list)
    for row in rows():
        if row.started and (found := _start_up(row)):
            groups[row.publication, row.gpu].append(found)
    return [group for group in groups.values() if len(group) > 1]


def pairs(groups: Iterable[list[StartUp]]) -> Iterator[Pair]:
    """Yield every start-up, estimated after the other half of its machine's was learnt from."""
    for group in groups:
        for half in (0, 1):
            seen = tuple(one.seen() for number, one in enumerate(group) if number % 2 == half)
            for number, one in enumerate(group):
                if number % 2 != half:
                    yield _pair(one, one.after(seen))


def middle(values: Iterable[float]) -> float:
    """Return the median."""
    return quantile(sorted(values), 0.5)


def _start_up(row: Row) -> StartUp | None:
    try:
        server, gpu, profile = described(row)
        answer = estimate(server, gpu, profile, round(row.in_use_gib * GIB))
    except (PlannerError, ValueError):
        return None
    logged = measured_share(row, answer)
    if logged is None or logged < _LEAST_BYTES:
        return None
    return StartUp(row, server, gpu, profile, answer, round(logged))


def _pair(one: StartUp, answer: Estimate) -> Pair:
    return Pair(
        id=one.row.id,
        before=100 * abs(one.before.kv_cache_bytes / one.logged_bytes - 1),
        after=100 * abs(answer.kv_cache_bytes / one.logged_bytes - 1),
        inside=answer.kv_cache_low_bytes <= one.logged_bytes <= answer.kv_cache_high_bytes,
    )
