"""The engine's constants from the measured rows: few, so that a source left out is told as well as those kept."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from benchmarks.speed_fidelity.predict import Asked, catalog
from planner.speed.constants import Engine, Era
from planner.speed.forecast import Served, version_of
from planner.speed.serving import at_concurrency

NAMES = ("sequence_us", "small_us", "routing_share", "prompt_flops_share")
"""The constants that times per output token decide; those of the first token follow them."""
FIRST = ("first_token_us", "burst_exponent")
SPOILT = ("token-position",)
"""Sources the constants are not fitted to, but scored on: prompts there took five to ten times as long as anywhere."""
_MOST_PREFILL = 0.45
# Errors beyond this count no more than linearly: a source may have measured something else.
_ROBUST = 0.15
_STEPS = (0.30, 0.12, 0.05, 0.02)
_MIDDLE_ERA = 1


@dataclass(frozen=True, slots=True)
class _Case:
    own: Asked
    ready: Served
    weight: float


def fitted(asked: Sequence[Asked], start: Engine) -> Engine:
    """Return the engine constants that fit some rows best, found coordinate by coordinate from ``start``."""
    cases = list(_cases(asked, start))
    engine = _descend(start, (*NAMES, "era"), lambda own: _loss(cases, own, _tpot_error))
    return _descend(engine, FIRST, lambda own: _loss(cases, own, _ttft_error))


def _cases(asked: Sequence[Asked], start: Engine) -> Iterable[_Case]:
    """Yield rows that are answered, each publication's model, GPU and format weighted alike."""
    kept = [own for own in asked if own.row.source not in SPOILT]
    alike = Counter(map(_key, kept))
    for own in kept:
        ready = own.ready(start)
        if not isinstance(ready, str) and own.row.concurrency <= ready.most_sequences:
            yield _Case(own, ready, 1.0 / math.sqrt(alike[_key(own)]))


def _key(own: Asked) -> tuple[str, str, str]:
    return own.row.source, own.row.model, own.row.gpu


def _descend(engine: Engine, names: Sequence[str], loss: Callable[[Engine], float]) -> Engine:
    best = loss(engine)
    for step in _STEPS:
        moved = True
        while moved:
            moved = False
            for name in names:
                for factor in (1 + step, 1 / (1 + step)):
                    other = _moved(engine, name, factor)
                    found = loss(other)
                    if found < best - 1e-9:
                        engine, best, moved = other, found, True
    return engine


def _moved(engine: Engine, name: str, factor: float) -> Engine:
    if name == "era":
        return replace(engine, eras=tuple(_scaled(engine.eras, factor)))
    return replace(engine, **{name: getattr(engine, name) * factor})


def _scaled(eras: Sequence[Era], factor: float) -> Iterable[Era]:
    for index, era in enumerate(eras):
        changed = era.host_factor * factor if index == _MIDDLE_ERA else era.host_factor
        yield replace(era, host_factor=changed)


def _loss(cases: Sequence[_Case], engine: Engine, error: Callable[[_Case, Engine], float | None]) -> float:
    total = 0.0
    for case in cases:
        off = error(case, engine)
        if off is not None:
            total += case.weight * _ROBUST * _ROBUST * (math.sqrt(1 + (off / _ROBUST) ** 2) - 1)
    return total


def _tpot_error(case: _Case, engine: Engine) -> float | None:
    return _error(case, engine, case.own.row.tpot_ms, first=False)


def _ttft_error(case: _Case, engine: Engine) -> float | None:
    return _error(case, engine, case.own.row.ttft_ms, first=True)


def _error(case: _Case, engine: Engine, measured_ms: float | None, *, first: bool) -> float | None:
    """Return the logarithm of predicted over measured, or None where the row is outside what is said."""
    if measured_ms is None:
        return None
    factor = engine.host_factor(version_of(case.own.profile))
    rates = replace(case.ready.rates, engine=engine, host_factor=factor)
    load, ready = case.own.load, case.ready
    state = at_concurrency(
        rates, load.requests, ready.batched_tokens, ready.most_sequences, float(load.concurrency or 1)
    )
    if state.prefill_share > _MOST_PREFILL:
        return None
    seconds = state.ttft_seconds if first else state.tpot_seconds
    return math.log(seconds * 1000 / measured_ms)


def constants(engine: Engine) -> str:
    """Return the constants as lines of ``catalog/speed/engine.yaml``."""
    lines = [f"  {name}: {{value: {getattr(engine, name):.3g}, source: fit}}" for name in (*NAMES, *FIRST)]
    lines += [f"  era {era.since}: {era.host_factor:.3g}" for era in engine.eras]
    return "\n".join(lines)


def shipped() -> Engine:
    """Return the catalog's constants."""
    return catalog().speed.engine
