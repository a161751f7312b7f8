"""Accuracy: precedence of evidence, floors, scales that are never mixed."""

import pytest
from fleets import fleet
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Catalog, load_catalog
from planner.errors import UnknownName
from planner.facts.accuracy import FULL, NATIVE, Measurement, Recovery, combine, compose, recovery_from
from planner.facts.prior import assumed_points
from planner.facts.variant import Model, Variant
from planner.fleet.open_role import open_candidates


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def row(score: int, baseline: int = 8000) -> Measurement:
    return Measurement(task="code", benchmark="any", score=score, baseline=baseline, source="a card")


def variant(catalog: Catalog, name: str) -> tuple[Model, Variant]:
    return catalog.find(name)


def test_a_measured_checkpoint_beats_its_siblings_and_the_class_default(catalog: Catalog) -> None:
    own = catalog.accuracy.of(*variant(catalog, "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16"), "code")
    sibling = catalog.accuracy.of(*variant(catalog, "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4"), "code")
    nobody = catalog.accuracy.of(*variant(catalog, "TheBloke/deepseek-coder-33B-instruct-GPTQ"), "code")

    assert [own.label, sibling.label, nobody.label] == ["measured", "transferred", "default"]
    assert (nobody.recovery_median, nobody.recovery_floor) == (9900, 9700)


def test_a_measurement_at_one_task_says_nothing_about_another(catalog: Catalog) -> None:
    general = catalog.accuracy.of(*variant(catalog, "RedHatAI/Mistral-7B-Instruct-v0.3-FP8"), "general")
    code = catalog.accuracy.of(*variant(catalog, "RedHatAI/Mistral-7B-Instruct-v0.3-FP8"), "code")

    assert (general.label, code.label) == ("measured", "default")


def test_the_unquantized_checkpoint_keeps_its_own_score(catalog: Catalog) -> None:
    figure = catalog.accuracy.of(*variant(catalog, "Qwen/Qwen2.5-Coder-32B-Instruct"), "code")

    assert (figure.scale, figure.score, figure.score_floor, figure.label) == ("bigcodebench", 4900, 4900, "native")


def test_a_model_without_a_score_on_the_scale_is_unknown_not_zero(catalog: Catalog) -> None:
    figure = catalog.accuracy.of(*variant(catalog, "Qwen/Qwen3-8B"), "code", scale="bigcodebench")

    assert figure.score is None
    assert figure.score_floor is None
    assert figure.recovery_median == FULL


def test_candidates_of_a_role_are_compared_on_the_one_scale_that_knows_most_of_them(catalog: Catalog) -> None:
    def scale(*names: str) -> str:
        return catalog.accuracy.scale_for("code", [catalog.find(name)[0] for name in names])

    assert scale("deepseek-coder-33b-instruct", "Qwen2.5-Coder-32B-Instruct") == "bigcodebench"
    assert scale("Qwen3-8B", "Qwen3-32B", "deepseek-coder-33b-instruct") == "livecodebench"
    assert catalog.accuracy.scale_for("vision", catalog.models[:1]) == ""


def test_a_frozen_benchmark_compares_no_role_whose_newest_candidates_it_does_not_know(catalog: Catalog) -> None:
    old = [catalog.find(name)[0] for name in ("Llama-3.3-70B-Instruct", "Qwen2.5-72B-Instruct")]
    new = [catalog.find(name)[0] for name in ("gpt-oss-20b", "Qwen3-30B-A3B-Thinking-2507", "MiniMax-M2")]

    assert catalog.accuracy.scale_for("chat", old) == "ifeval"
    assert catalog.accuracy.scale_for("chat", [*old, *new]) == "ifbench"
    assert catalog.accuracy.scale_for("agent", [*old, *new]) == ""


def test_a_benchmark_that_stopped_compares_no_role_that_newer_models_could_do(catalog: Catalog) -> None:
    then = [catalog.find(name)[0] for name in ("Qwen3-32B", "gpt-oss-20b", "gpt-oss-120b")]
    now = [*then, catalog.find("Qwen3.6-27B")[0]]

    assert max(model.released for model in then) < "2025-10" < "2026-04" < now[-1].released
    assert catalog.accuracy.scale_for("code", then) == "livecodebench"
    assert catalog.accuracy.scale_for("code", now) == "", "three of four are known, but none of the last six months"


def test_the_task_that_a_maker_names_and_the_size_that_works_count(catalog: Catalog) -> None:
    models = [
        catalog.find(name)[0] for name in ("Qwen3-Coder-30B-A3B-Instruct", "gemma-4-E4B-it", "gemma-4-26B-A4B-it")
    ]
    coder, small, mixture = models
    code, chat = assumed_points(models, "code"), assumed_points(models, "chat")

    assert code[coder.repository] == chat[coder.repository] + 500
    assert code[small.repository] == chat[small.repository]
    assert chat[mixture.repository] - chat[small.repository] < 500, "twice the parameters would be more than E4B lacks"


def test_of_two_sizes_of_a_generation_the_larger_is_assumed_to_be_better(catalog: Catalog) -> None:
    points = assumed_points(catalog.models)
    names = ("Qwen3.5-0.8B", "Qwen3.5-2B", "Qwen3.5-4B", "Qwen3.5-9B", "Qwen3.5-27B")
    sizes = [points[catalog.find(name)[0].repository] for name in names]

    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)
    assert points["Qwen/Qwen3.6-27B"] > points["Qwen/Qwen2.5-VL-72B-Instruct"]
    assert all(100 <= value <= 9900 for value in points.values())


def test_an_assumed_score_meets_no_floor(catalog: Catalog) -> None:
    figure = catalog.accuracy.of(*variant(catalog, "Qwen/Qwen3.6-27B"), "agent", points=7800)

    assert (figure.scale, figure.score, figure.score_floor) == ("assumed", 7800, None)


@pytest.mark.parametrize("task", ["agent", "chat", "code", "embedding", "general", "reasoning", "rerank", "vision"])
def test_a_role_without_models_looks_at_makers_and_widely_used_publishers(catalog: Catalog, task: str) -> None:
    for model in open_candidates(catalog, task):
        makers = {model.repository.split("/")[0], model.base.split("/")[0], *catalog.publishers}
        assert {one.repository.split("/")[0] for one in model.variants} <= makers
        assert not (model.non_commercial or model.pretrained)
        assert model.tool_parser or task != "agent"


def test_an_fp8_cache_costs_more_in_long_contexts_and_its_own_label_is_shown(catalog: Catalog) -> None:
    chosen = variant(catalog, "Qwen/Qwen2.5-Coder-32B-Instruct")
    short = catalog.accuracy.of(*chosen, "code", kv_cache_dtype="fp8", context_tokens=32_768)
    long = catalog.accuracy.of(*chosen, "code", kv_cache_dtype="fp8_e4m3", context_tokens=131_072)

    assert (short.recovery_median, short.recovery_floor, short.label) == (9950, 9800, "default")
    assert (long.recovery_median, long.recovery_floor) == (9700, 9300)


def test_an_fp8_cache_is_refused_where_it_is_known_to_ruin_the_model(catalog: Catalog) -> None:
    assert "fp8" in catalog.find("Qwen/Qwen2.5-7B-Instruct")[0].cache_refusals
    assert "fp8" not in catalog.find("Qwen/Qwen2.5-14B-Instruct")[0].cache_refusals


def test_few_rows_cannot_raise_the_floor_above_the_class_default() -> None:
    lucky = recovery_from([row(8000), row(8100)], "measured", cautious_floor=9300)
    many = recovery_from([row(7900)] * 4, "measured", cautious_floor=9300)

    assert lucky == Recovery(median=FULL, floor=9300, label="measured", source="a card")
    assert many is not None
    assert many.floor == 9875


def test_rows_with_a_tiny_baseline_are_noise() -> None:
    assert recovery_from([row(400, baseline=370)], "measured", 9000) is None


@given(st.lists(st.integers(2000, FULL), min_size=1, max_size=30), st.integers(0, FULL))
def test_a_floor_is_never_above_the_median_and_nothing_exceeds_the_base(scores: list[int], cautious: int) -> None:
    found = recovery_from([row(score, baseline=5000) for score in scores], "measured", cautious)

    assert found is not None
    assert 0 <= found.floor <= found.median <= FULL


def test_weights_and_cache_multiply_and_a_native_cache_changes_nothing() -> None:
    weights = Recovery(median=9900, floor=9000, label="measured", source="w")
    cache = Recovery(median=9950, floor=9800, label="default", source="c")

    assert combine(weights, NATIVE) is weights
    assert combine(weights, cache).median == 9850
    assert combine(weights, cache).label == "measured"
    assert combine(NATIVE, cache).label == "default"


def test_unknown_stays_unknown() -> None:
    figure = compose("any", None, Recovery(median=0, floor=0, label="unknown", source="nobody"))

    assert figure.recovery_floor is None
    assert figure.label == "unknown"


def test_every_accuracy_row_is_about_something_in_the_catalog(catalog: Catalog) -> None:
    tables = catalog.accuracy
    known_scales = {scale for scales in tables.scales.values() for scale in scales}
    names = set(tables._scores) | set(tables._measured) | {model for model, _ in tables._transferred}
    missing = []
    for name in sorted(names):
        try:
            catalog.find(name)
        except UnknownName:
            missing.append(name)

    assert missing == []
    assert {row.scale for rows in tables._scores.values() for row in rows} <= known_scales


def test_no_recovery_is_absurd(catalog: Catalog) -> None:
    rows = [row for rows in catalog.accuracy._measured.values() for row in rows]

    assert len(rows) > 500
    assert [row for row in rows if not 0 < row.baseline <= FULL or not 0 <= row.score <= FULL] == []


def test_a_checkpoint_named_alone_keeps_what_was_measured_of_its_siblings(catalog: Catalog) -> None:
    model, named = variant(catalog, "nvidia/Llama-3.1-8B-Instruct-NVFP4")
    role = {"task": "general", "models": [named.repository], "context": "8k"}
    (alone,) = fleet({"name": "box", "gpu": "RTX 5090", "roles": {"chat": role}}).roles[0].models

    assert [one.repository for one in alone.variants] == [named.repository]
    assert catalog.accuracy.of(model, named, "general").label == "transferred"
    assert catalog.accuracy.of(alone, named, "general") == catalog.accuracy.of(model, named, "general")
