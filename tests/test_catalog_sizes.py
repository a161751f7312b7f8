"""What is derived from shapes agrees with what was published: parameter counts, file sizes, scheme names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.catalog.check import check_folders
from planner.config_json import parse_config
from planner.errors import UnsupportedModel
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.resources import data_folder
from planner.tensors.weights import Rank, parameter_bytes, rotary_bytes

CATALOG = load_catalog()


def checkpoints() -> Iterator[tuple[Model, Variant, Architecture, Quantization]]:
    for model in CATALOG.models:
        for variant in model.variants:
            try:
                yield model, variant, *parse_config(model.config_for(variant), where=variant.repository)
            except UnsupportedModel:
                continue


SIZED = list(checkpoints())


def file_bytes(model: Model, architecture: Architecture, quantization: Quantization) -> int:
    """Bytes a checkpoint's files hold: parameters without the tables the engine computes itself."""
    stored_in_32_bits = quantization.method is None and model.config.get("torch_dtype") == "float32"
    rank = Rank(dtype_bytes=4 if stored_in_32_bits else 2)
    return parameter_bytes(architecture, quantization, rank) - rotary_bytes(architecture, rank)


def explained(model: Model, variant: Variant) -> bool:
    return bool(model.note or model.conflicts or variant.conflicts)


def test_the_shipped_catalog_has_no_problems() -> None:
    report = check_folders([data_folder("catalog")])

    assert [str(problem) for problem in report.problems] == []
    assert report.model_count >= 120
    assert report.checkpoint_count >= 300 + report.model_count
    assert report.gpu_count >= 70


def test_few_checkpoints_are_listed_without_being_planned() -> None:
    total = sum(len(model.variants) for model in CATALOG.models)

    assert len(SIZED) >= 0.95 * total


def test_parameters_from_shapes_are_the_published_ones() -> None:
    outliers = {}
    for model, variant, architecture, quantization in SIZED:
        # Audio towers are not counted by the memory model yet.
        if not variant.native or quantization.method is not None or model.config.get("audio_config"):
            continue
        rank = Rank()
        derived = (parameter_bytes(architecture, quantization, rank) - rotary_bytes(architecture, rank)) / 2
        allowed = 0.05 if explained(model, variant) else 0.1 if model.parameters_grade == "rounded" else 0.001
        if abs(derived / model.parameters - 1) > allowed:
            outliers[model.repository] = derived / model.parameters - 1

    assert outliers == {}


def test_bytes_from_shapes_are_the_published_ones() -> None:
    errors: dict[str, float] = {}
    for model, variant, architecture, quantization in SIZED:
        if variant.published_bytes and not explained(model, variant):
            error = abs(file_bytes(model, architecture, quantization) - variant.published_bytes)
            errors[variant.repository] = max(0.0, error - rounding(variant)) / variant.published_bytes

    assert len(errors) >= 60
    assert {name: error for name, error in errors.items() if error > 0.03} == {}
    assert sum(errors.values()) / len(errors) <= 0.005


def rounding(variant: Variant) -> float:
    """Half a unit of the last digit of a published size, which is given to one to three decimals of 10**9 bytes."""
    assert variant.published_bytes is not None
    units = (10**8, 10**7, 10**6)
    return next((unit / 2 for unit in units if variant.published_bytes % unit == 0), 0.0)


def test_the_scheme_a_checkpoint_is_listed_under_is_the_one_its_config_has() -> None:
    plain = {"fp16": "bf16", "fp32": "bf16"}
    wrong = {
        variant.repository: (variant.scheme, quantization.scheme)
        for _, variant, _, quantization in SIZED
        if plain.get(variant.scheme, variant.scheme) != plain.get(quantization.scheme, quantization.scheme)
    }

    assert wrong == {}


def test_a_stated_context_limit_is_below_what_the_engine_derives() -> None:
    stated = [
        (model, architecture) for model, variant, architecture, _ in SIZED if variant.native and model.context_limit
    ]

    assert stated
    assert all((model.context_limit or 0) < architecture.max_model_len for model, architecture in stated)


@pytest.mark.parametrize(
    ("file", "text", "place", "words"),
    [
        (
            "models/a.yaml",
            "family: a\nmodels:\n  - repository: a/b\n    license: mit\n",
            "4:5",
            "did you mean licence?",
        ),
        ("models/a.yaml", "family: a\nmodels: 3\n", "2:9", "expected a list"),
        ("models/a.yaml", "family: a\nmodels:\n  - {repository: 'no slash'}\n", "3:18", "repository"),
        ("models/a.yaml", "family: a\n\tmodels: []\n", "2:1", "tab"),
        ("gpus/a.yaml", "vendor: a\ngpus:\n  - {name: x, memory: {torch_mib: []}}\n", "3:35", "empty"),
        (
            "accuracy/a.yaml",
            "defaults:\n  - {class: c, kind: huge, median: 1, floor: 2, evidence: e}\n",
            "2:22",
            "'short'",
        ),
        ("prices/a.yaml", "providers: {}\ninstances:\n  - {provider: p, usd_per_hour: -1}\n", "3:33", "more than 0"),
    ],
)
def test_a_mistake_in_ones_own_entry_is_shown_with_its_place(
    tmp_path: Path, file: str, text: str, place: str, words: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(text)
    report = check_folders([tmp_path])
    shown = [str(problem) for problem in report.problems]

    assert any(line.startswith(f"{path}:{place}:") and words in line for line in shown), shown


def test_names_that_fit_nothing_are_problems(tmp_path: Path) -> None:
    (tmp_path / "accuracy").mkdir()
    (tmp_path / "accuracy" / "a.yaml").write_text(
        "scores:\n  - {model: Qwen/Qwen3-9B, source: s, scores: {openlm-v2: 1}}\n"
        "measured:\n  - {checkpoint: a/b, source: s, benchmarks: {x: [code, 1, 2]}}\n"
        "defaults:\n  - {class: c, kind: short, median: 1, floor: 2, evidence: e}\n"
    )
    shipped, some = data_folder("catalog"), tmp_path / "some"
    (some / "models").mkdir(parents=True)
    for file in ("schemes.yaml", "models/qwen3.yaml"):
        (some / file).symlink_to(shipped / file)
    shown = "\n".join(str(problem) for problem in check_folders([some, tmp_path]).problems)

    assert "unknown model 'Qwen/Qwen3-9B'" in shown
    assert "Qwen/Qwen3-8B" in shown
    assert "unknown scale 'openlm-v2'" in shown
    assert "unknown checkpoint 'a/b'" in shown
    assert "above the median" in shown
