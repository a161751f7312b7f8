"""Every origin told by constants and ranges it had no part in; the constants are kept in ``left_out.json``."""

import json
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from benchmarks.speed_fidelity.fit import FIRST, NAMES, SPOILT, fitted, shipped
from benchmarks.speed_fidelity.predict import Asked, Pair, predict
from benchmarks.speed_fidelity.score import calibrated
from benchmarks.speed_fidelity.table import FOLDER
from planner.speed.constants import Engine, Era

KEPT = FOLDER / "left_out.json"


def refit(asked: Sequence[Asked]) -> None:
    """Fit the constants once without each origin, and keep them; takes minutes."""
    found = {}
    for origin in _origins(asked):
        engine = fitted([own for own in asked if own.row.origin != origin], shipped())
        values = {name: float(f"{getattr(engine, name):.4g}") for name in (*NAMES, *FIRST)}
        found[origin] = values | {"eras": [float(f"{era.host_factor:.4g}") for era in engine.eras]}
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def told(asked: Sequence[Asked], pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Yield what is said of every row by the constants and ranges of the other origins."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    for origin in _origins(asked):
        values = dict(kept[origin])
        eras = tuple(_eras(shipped(), values.pop("eras")))
        others = [pair for pair in pairs if pair.row.origin != origin and pair.row.source not in SPOILT]
        engine = replace(shipped(), eras=eras, spreads=calibrated(others), **values)
        yield from (predict(own, engine) for own in asked if own.row.origin == origin)


def _eras(engine: Engine, factors: Sequence[float]) -> Iterator[Era]:
    for era, factor in zip(engine.eras, factors, strict=True):
        yield replace(era, host_factor=factor)


def _origins(asked: Sequence[Asked]) -> list[str]:
    return sorted({own.row.origin for own in asked})
