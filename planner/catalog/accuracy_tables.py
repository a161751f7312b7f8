"""Scales, scores, measured recoveries and class defaults -> the accuracy of one option."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from planner.catalog import yaml_files
from planner.facts import accuracy
from planner.facts.accuracy import Accuracy, ClassDefault, Measurement, Recovery, Score
from planner.facts.prior import ASSUMED, ASSUMED_ERROR, ASSUMED_SOURCE
from planner.facts.variant import Model, Variant
from planner.tensors.identity import Same

# Where the published evidence changes: retrieval degrades with 4-bit weights beyond 64 thousand tokens, and with an FP8
# cache beyond 32 thousand.
_MIDDLE_CONTEXT_TOKENS = 65_536
_SHORT_CACHE_TOKENS = 32_768
_RECENT_MONTHS, _NEWEST_MONTHS = 18, 6
_WHOLE_CACHES = ("auto", "float16", "bfloat16")


class _Reader(Protocol):
    """What the tables need of a catalog: where it lies, and a way to read its files."""

    folders: tuple[Path, ...]

    def read(self, path: Path, room: str) -> dict[str, Any]:
        """Return the mapping in one file."""


class AccuracyTables:
    """Every published accuracy figure of the catalog folders, by model and checkpoint."""

    def __init__(self, catalog: _Reader) -> None:
        self._catalog = catalog
        self._kept: dict[tuple[Same[Model], str, str, str], Recovery] = {}

    @cached_property
    def scales(self) -> dict[str, tuple[str, ...]]:
        """The benchmarks a task is judged on, preferred first; a plan uses one of them per role."""
        return {task: tuple(row["scales"]) for task, row in self._tables["tasks"].items()}

    def error(self, scale: str, score: int) -> int:
        """Return the error of a score on a scale, in hundredths of a point; see ``facts.accuracy.score_error``."""
        return ASSUMED_ERROR if scale == ASSUMED else accuracy.score_error(score, self._questions.get(scale))

    def scale_for(self, task: str, models: Sequence[Model]) -> str:
        """Return the one scale on which the candidate models of a role are compared, or an empty name.

        It is the task's scale that knows the most of those released in the eighteen months before the newest, as a
        benchmark that was frozen before knows none of them; see ``facts.accuracy.best_scale``.
        """
        last = max((model.released for model in models), default="")
        recent, newest = (
            frozenset(_base(model) for model in models if model.released >= first)
            for first in (_months_before(last, _RECENT_MONTHS), _months_before(last, _NEWEST_MONTHS))
        )
        candidates = frozenset(map(_base, models))
        return accuracy.best_scale(self.scales.get(task, ()), self._scored, candidates, recent, newest)

    def scores(self, model: Model) -> tuple[Score, ...]:
        """All published scores of a base model that the catalog keeps, on any scale."""
        return tuple(self._scores.get(_base(model), ()))

    def measurements(self, variant: Variant) -> tuple[Measurement, ...]:
        """All published benchmarks of a quantized checkpoint beside its base."""
        return tuple(self._measured.get(variant.repository, ()))

    def facts(self, models: Sequence[Model]) -> dict[str, Any]:
        """Return every figure that may count for these models, to tell whether any of them has changed."""
        variants = [variant for model in models for variant in (*model.variants, *model.others)]
        classes = sorted({(model.repository, v.scheme_class) for model in models for v in model.variants})
        return {
            "scores": [self.scores(model) for model in models],
            "measured": [self.measurements(variant) for variant in variants],
            "transferred": [self._transferred.get(key, ()) for key in classes],
            "defaults": self._defaults,
        }

    def of(
        self,
        model: Model,
        variant: Variant,
        task: str,
        *,
        scale: str = "",
        kv_cache_dtype: str = "auto",
        context_tokens: int = 0,
        points: int | None = None,
    ) -> Accuracy:
        """Return the accuracy of a checkpoint at a task, served with this KV cache dtype and context.

        ``scale`` defaults to the task's first; pass ``scale_for(task, candidates)`` to compare models. Where that is
        empty, ``points`` may be those of ``facts.prior``.
        """
        scale = scale or next(iter(self.scales.get(task, ())), "")
        score = next((row for row in self.scores(model) if row.scale == scale), None)
        if points is not None:
            scale, score = ASSUMED, Score(scale=ASSUMED, value=points, mode="", source=ASSUMED_SOURCE)
        kind = self._kind(task, score, context_tokens)
        asked = Same(model), variant.repository, task, kind
        if asked not in self._kept:
            self._kept[asked] = self._weights(model, variant, task, kind)
        weights = self._kept[asked]
        if weights.label == "unknown":
            return accuracy.compose(scale, score, weights)
        return accuracy.compose(
            scale, score, accuracy.combine(weights, self.cache_recovery(kv_cache_dtype, context_tokens))
        )

    def _kind(self, task: str, score: Score | None, context_tokens: int) -> str:
        """The kind of task decides what quantization costs; a thinking model thinks at every task."""
        if task == "long-context":
            return "long" if context_tokens > _MIDDLE_CONTEXT_TOKENS else "mid"
        return "reasoning" if task == "reasoning" or (score is not None and score.mode == "thinking") else "short"

    def _weights(self, model: Model, variant: Variant, task: str, kind: str) -> Recovery:
        if variant.native or not variant.scheme_class:
            return accuracy.NATIVE
        default = accuracy.class_default(
            self._defaults, variant.scheme_class, kind, model.parameters, model.mixture
        ) or accuracy.class_default(self._defaults, variant.scheme_class, "short", model.parameters, model.mixture)
        cautious = default.floor if default else 0
        own = [row for row in self.measurements(variant) if row.task == task]
        siblings = [row for row in self._same_scheme(model, variant) if row.task == task]
        return (
            accuracy.recovery_from(own, "measured", cautious)
            or accuracy.recovery_from(siblings, "transferred", cautious)
            or default
            or accuracy.UNKNOWN_RECOVERY
        )

    def _same_scheme(self, model: Model, variant: Variant) -> Iterator[Measurement]:
        """Yield what was measured for the same base model in the same scheme class, on other checkpoints or on none."""
        for other in (*model.variants, *model.others):
            if other.scheme_class == variant.scheme_class and other is not variant:
                yield from self.measurements(other)
        yield from self._transferred.get((model.repository, variant.scheme_class), ())

    def cache_recovery(self, kv_cache_dtype: str, context_tokens: int) -> Recovery:
        """Return what an FP8 KV cache keeps, by context length; any other quantized cache has no published figure."""
        if kv_cache_dtype in _WHOLE_CACHES:
            return accuracy.NATIVE
        if not kv_cache_dtype.startswith("fp8"):
            return accuracy.UNKNOWN_RECOVERY
        kind = "short" if context_tokens <= _SHORT_CACHE_TOKENS else "long"
        return accuracy.class_default(self._defaults, "kv-cache-fp8", kind, 1, False) or accuracy.UNKNOWN_RECOVERY

    @cached_property
    def _tables(self) -> dict[str, Any]:
        merged: dict[str, Any] = {"tasks": {}, "scales": {}, "defaults": []}
        for path in yaml_files.in_folders(self._catalog.folders, "accuracy"):
            data = self._catalog.read(path, "accuracy")
            for kind in ("tasks", "scales"):
                merged[kind].update(data.get(kind, {}))
            merged["defaults"].extend(data.get("defaults", ()))
            for kind in ("scores", "measured", "transferred"):
                for row in data.get(kind, ()):
                    merged.setdefault(kind, []).append((row, data.get("sources", {})))
        return merged

    @cached_property
    def _questions(self) -> dict[str, int]:
        return {name: row["questions"] for name, row in self._tables["scales"].items() if "questions" in row}

    @cached_property
    def _defaults(self) -> tuple[ClassDefault, ...]:
        return tuple(
            ClassDefault(
                scheme_class=row["class"],
                kind=row["kind"],
                above=row.get("above", 0),
                below=row.get("below", float("inf")),
                mixture=row.get("mixture"),
                median=_hundredths(row["median"]),
                floor=_hundredths(row["floor"]),
                evidence=row["evidence"],
            )
            for row in self._tables["defaults"]
        )

    @cached_property
    def _scores(self) -> dict[str, list[Score]]:
        found: dict[str, list[Score]] = {}
        for row, named in self._tables.get("scores", ()):
            source = named.get(row["source"], row["source"])
            for scale, value in row["scores"].items():
                found.setdefault(row["model"], []).append(
                    Score(scale=scale, value=_hundredths(value), mode=row.get("mode", ""), source=source)
                )
        return found

    @cached_property
    def _scored(self) -> dict[str, frozenset[str]]:
        scales: Iterable[str] = {scale for scales in self.scales.values() for scale in scales}
        return {
            scale: frozenset(model for model, rows in self._scores.items() if any(row.scale == scale for row in rows))
            for scale in scales
        }

    @cached_property
    def _measured(self) -> dict[str, list[Measurement]]:
        found: dict[str, list[Measurement]] = {}
        for row, named in self._tables.get("measured", ()):
            found.setdefault(row["checkpoint"], []).extend(_measurements(row, named))
        return found

    @cached_property
    def _transferred(self) -> dict[tuple[str, str], list[Measurement]]:
        found: dict[tuple[str, str], list[Measurement]] = {}
        for row, named in self._tables.get("transferred", ()):
            found.setdefault((row["model"], row["class"]), []).extend(_measurements(row, named))
        return found


def _base(model: Model) -> str:
    """Return the model whose scores count."""
    return model.base or model.repository


def _months_before(day: str, months: int) -> str:
    """Return the month so many before a day; of an empty day an empty one, which is before all others."""
    if not day:
        return ""
    count = 12 * int(day[:4]) + int(day[5:7]) - 1 - months
    return f"{count // 12}-{count % 12 + 1:02}"


def _measurements(row: Mapping[str, Any], named: Mapping[str, str]) -> Iterator[Measurement]:
    source = named.get(row["source"], row["source"])
    for benchmark, (task, score, baseline) in row["benchmarks"].items():
        yield Measurement(
            task=task, benchmark=benchmark, score=_hundredths(score), baseline=_hundredths(baseline), source=source
        )


def _hundredths(percent: float) -> int:
    return round(percent * 100)
