"""Calibrate: what logs of start-ups teach, about what, and that they never make a plan promise more than they show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commands import printed
from msgspec.structs import replace

from benchmarks.calibration.__main__ import main as print_table
from benchmarks.calibration.halves import machines, pairs
from planner.catalog import load_catalog
from planner.catalog.asked import asked_model
from planner.catalog.sized import sized
from planner.cli import main
from planner.engine.profile import load_profile
from planner.errors import SourceUnavailable
from planner.facts.gpu import GPU
from planner.facts.seen import Seen
from planner.memory.demand import ledger, with_sequences
from planner.memory.estimate import Estimate, estimate
from planner.memory.learnt import model_key, split_key
from planner.units import GIB

ROOT = Path(__file__).parent.parent
MODEL, VERSION = "Qwen/Qwen3-8B", "0.27.1"


def log(path: Path, kv_gib: float, *, model: str = MODEL, extra: str = "", compiled: str = "Directly load") -> Path:
    path.write_text(
        f"(APIServer pid=7) INFO 05-01 10:00:00 [utils.py:1] vLLM API server version {VERSION}\n"
        f"(APIServer pid=7) INFO 05-01 10:00:00 [utils.py:2] non-default args: {{'model': '{model}', "
        f"'max_model_len': 8192, 'host': 'secret.example'{extra}}}\n"
        f"(EngineCore pid=9) INFO 05-01 10:00:05 [backends.py:1] {compiled} the compiled graph(s) for compile range\n"
        "(EngineCore pid=9) INFO 05-01 10:00:05 [model_runner.py:1] Model loading took 15.27 GiB memory and 5 seconds\n"
        f"(EngineCore pid=9) INFO 05-01 10:00:09 [gpu_worker.py:1] Available KV cache memory: {kv_gib} GiB\n"
        "(APIServer pid=7) INFO:     Application startup complete.\n"
    )
    return path


def facts(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed("calibrate", *arguments, "--gpu", "RTX 4090", "--json"))
    return found


def estimated(gpu: GPU, model: str = MODEL, **flags: object) -> Estimate:
    server, profile = sized(asked_model(load_catalog(), model), gpu, load_profile(VERSION), flags)
    return estimate(server, gpu, profile)


def seen(gpu: GPU, more_gib: float, model: str = MODEL, *, outlier: bool = False, **flags: object) -> Seen:
    server, _ = sized(asked_model(load_catalog(), model), gpu, load_profile(VERSION), flags)
    return Seen(
        version=VERSION,
        model=model_key(server),
        split=split_key(server),
        compiled=str(flags.get("compile_cache", "")),
        more_bytes=round(more_gib * GIB),
        outlier=outlier,
        source=f"log-{more_gib}",
    )


@pytest.fixture
def gpu() -> GPU:
    return load_catalog().gpu("RTX 4090")


def with_seen(gpu: GPU, *found: Seen) -> GPU:
    return replace(gpu, seen=found)


def test_half_of_a_machines_start_ups_brings_the_other_half_nearer_and_all_are_inside() -> None:
    found = list(pairs(machines()))

    assert all(pair.inside for pair in found)
    assert sum(pair.after for pair in found) < sum(pair.before for pair in found) / 2


def test_the_page_has_what_the_benchmark_prints(capsys: pytest.CaptureFixture[str]) -> None:
    print_table()

    assert (ROOT / "benchmarks/calibration/README.md").read_text().endswith(capsys.readouterr().out)


def test_what_is_kept_is_heeded_and_only_once(tmp_path: Path) -> None:
    logs, catalog = log(tmp_path / "a.log", 5.7), tmp_path / "catalog"
    catalog.mkdir()
    options = ("--gpu", "RTX 4090", "--catalog", catalog, "--write")
    asked = ("estimate", MODEL, "--gpu", "RTX 4090", "--engine-version", VERSION, "--catalog", catalog, "--json")
    flags = ("--max-model-len", "8192", "--compile-cache", "warm")
    before = json.loads(printed(*asked, *flags))

    printed("calibrate", logs, logs, *options)
    kept = (catalog / "measured" / "rtx4090.yaml").read_text()
    printed("calibrate", logs, *options)
    after = json.loads(printed(*asked, *flags))

    assert kept.count("source:") == 1
    assert (catalog / "measured" / "rtx4090.yaml").read_text() == kept
    assert before["kv_cache_gib"] != pytest.approx(5.7, abs=0.05)
    assert after["kv_cache_gib"] == pytest.approx(5.7, abs=0.01)
    assert after["kv_cache_gib_high"] - after["kv_cache_gib_low"] < (
        before["kv_cache_gib_high"] - before["kv_cache_gib_low"]
    )


@pytest.mark.parametrize(
    "extra",
    [
        ", 'compilation_config': {'cudagraph_capture_sizes': [1, 2]}",
        ", 'enable_lora': True, 'lora_target_modules': ['q_proj']",
    ],
)
def test_what_is_kept_with_any_flag_can_be_read_again(tmp_path: Path, extra: str) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()

    start = log(tmp_path / "a.log", 4.4, extra=extra)
    printed("calibrate", start, "--gpu", "RTX 4090", "--catalog", catalog, "--write")

    assert load_catalog(overlays=(catalog,)).gpu("RTX 4090").seen


def test_a_server_that_drafts_ahead_teaches_nothing(tmp_path: Path) -> None:
    drafts = ", 'speculative_config': {'method': 'ngram', 'num_speculative_tokens': 3}"

    (start,) = facts(log(tmp_path / "a.log", 5.7, extra=drafts))["starts"]

    assert "drafts tokens ahead" in start["why_not"]
    assert start["measured"] is None


@pytest.mark.parametrize("extra", [", 'cpu_offload_gb': 'x'", ", 'quantization': ['fp8']"])
def test_a_flag_that_makes_no_sense_is_no_traceback(tmp_path: Path, extra: str) -> None:
    (start,) = facts(log(tmp_path / "a.log", 5.7, extra=extra))["starts"]

    assert start["why_not"]


def test_a_shared_row_has_no_hosts_paths_or_names(tmp_path: Path) -> None:
    own = log(tmp_path / "secret.log", 5.7, extra=", 'served_model_name': ['secret'], 'download_dir': '/home/secret'")

    row = printed("calibrate", own, "--gpu", "RTX 4090", "--share")

    assert "secret" not in row
    assert json.loads(row)["model"] == MODEL


def test_a_model_in_a_folder_is_the_catalogs_of_that_name(tmp_path: Path) -> None:
    found = facts(log(tmp_path / "a.log", 5.7, model="/home/me/models/Qwen3-8B"))

    assert found["starts"][0]["measured"]["model"] == MODEL


def test_logs_that_differ_are_shown_and_the_range_spans_them(tmp_path: Path, gpu: GPU) -> None:
    found = facts(log(tmp_path / "a.log", 5.7), log(tmp_path / "b.log", 5.3))
    answer = estimated(with_seen(gpu, seen(gpu, -0.5), seen(gpu, 0.1)))

    assert [one["logs"] for one in found["contradictions"]] == [[str(tmp_path / "a.log"), str(tmp_path / "b.log")]]
    base = estimated(gpu).kv_cache_bytes
    assert answer.kv_cache_low_bytes < base - GIB // 2
    assert answer.kv_cache_high_bytes > base + GIB // 10


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("INFO:     Application startup complete.\n", "engine version"),
        (f"INFO 05-01 10:00:00 [utils.py:1] vLLM API server version {VERSION}\n", "the model"),
    ],
)
def test_a_log_that_does_not_say_enough_teaches_nothing(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.log"
    path.write_text(text)

    (start,) = facts(path)["starts"]

    assert why in start["why_not"]
    assert start["measured"] is None


def test_a_log_of_a_larger_gpu_teaches_nothing(tmp_path: Path) -> None:
    (start,) = facts(log(tmp_path / "a.log", 40.0))["starts"]

    assert start["why_not"] == "weights and KV cache of 55.27 GiB are more than RTX 4090 has"
    assert start["measured"] is None


def test_a_given_kv_cache_leaves_the_weights_to_learn_from(tmp_path: Path, gpu: GPU) -> None:
    own = log(tmp_path / "a.log", 5.7, extra=", 'kv_cache_memory_bytes': 1000000000")

    (start,) = facts(own)["starts"]
    seen_weights = replace(seen(gpu, -0.3), weights_alone=True)
    before, after = estimated(gpu), estimated(with_seen(gpu, seen_weights))

    assert start["measured"]["weights_gib"] == 15.27
    assert "kv_cache_gib" not in start["measured"]
    assert after.kv_cache_bytes == before.kv_cache_bytes + seen_weights.more_bytes
    assert after.kv_cache_low_bytes - after.kv_cache_bytes == before.kv_cache_low_bytes - before.kv_cache_bytes
    assert estimated(with_seen(gpu, seen_weights), "Qwen/Qwen3-4B") == estimated(gpu, "Qwen/Qwen3-4B")


def test_measured_goes_before_transferred(gpu: GPU) -> None:
    base = estimated(gpu).kv_cache_bytes
    other = seen(gpu, -0.3, "Qwen/Qwen3-4B")

    assert estimated(with_seen(gpu, other)).kv_cache_bytes == base + other.more_bytes
    assert estimated(with_seen(gpu, other, seen(gpu, 0.1))).kv_cache_bytes == base + round(0.1 * GIB)


@pytest.mark.parametrize(
    "unlike",
    [
        lambda gpu: replace(seen(gpu, -0.3), version="0.26.0"),
        lambda gpu: seen(gpu, -0.3, enforce_eager=True),
        lambda gpu: seen(gpu, -0.3, tensor_parallel_size=2),
        lambda gpu: seen(gpu, -0.3, compile_cache="warm"),
        lambda gpu: seen(gpu, -5.0, "Qwen/Qwen3-4B", outlier=True),
    ],
)
def test_what_is_unlike_teaches_nothing(gpu: GPU, unlike: Callable[[GPU], Seen]) -> None:
    assert estimated(with_seen(gpu, unlike(gpu))) == estimated(gpu)


@pytest.mark.parametrize("more_gib", [-0.4, 0.0, 0.4])
def test_a_plan_promises_no_more_than_a_log_left_nor_more_than_is_expected_without_it(
    gpu: GPU, more_gib: float
) -> None:
    server, profile = sized(asked_model(load_catalog(), MODEL), gpu, load_profile(VERSION), {"max_model_len": 8192})
    own = with_seen(gpu, seen(gpu, more_gib, max_model_len=8192))
    planned = ledger(with_sequences(server, 64, GIB), own, profile)

    without = ledger(with_sequences(server, 64, GIB), gpu, profile).margin_bytes

    assert max(0, -round(more_gib * GIB)) <= planned.margin_bytes <= without + max(0, -round(more_gib * GIB))


def test_start_ups_of_models_that_are_not_at_hand_are_not_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "a.yaml").write_text(
        "starts:\n  - {gpu: RTX 4090, engine_version: 0.27.1, model: nobody/has-this, source: a, weights_gib: 1.5}\n"
    )
    asked: list[bool] = []

    def absent(repository: str, *, offline: bool, **_: object) -> Path:
        asked.append(offline)
        raise SourceUnavailable(repository, "absent")

    monkeypatch.setattr("planner.catalog.looked_up.looked_up", absent)

    assert load_catalog(overlays=[tmp_path]).gpu("RTX 4090").seen == ()
    assert asked == [True]


def test_bad_facts_are_refused_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "a.yaml").write_text("starts:\n  - gpu: RTX 4090\n    compiled: lukewarm\n")

    result = CliRunner().invoke(main, ["estimate", MODEL, "--gpu", "RTX 4090", "--catalog", str(tmp_path)])

    assert result.exit_code == 1
    assert "a.yaml:3" in result.stderr
