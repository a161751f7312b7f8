"""Load tests: what their results teach, about which server, and that no plan is promised more than they show."""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import plans
import pytest
from commands import printed
from msgspec.structs import replace

from benchmarks.speed_fidelity.predict import Pair, asked, predict
from benchmarks.speed_fidelity.score import OUTPUT, TPOT, Term
from benchmarks.speed_fidelity.table import rows
from planner.adopt.load_output import load_output
from planner.adopt.load_result import LoadResult, load_result
from planner.catalog import load_catalog
from planner.check import check
from planner.fleet import load_fleet
from planner.live.loaded import loaded
from planner.plan import Plan, stale
from planner.solve import solve
from planner.speed.constants import Spread
from planner.speed.learnt import Bias

MODEL, VERSION = "Qwen/Qwen3-8B", "0.27.1"
LOAD = ("--input-tokens", "1000", "--output-tokens", "200", "--concurrency", "8")


def start_log(path: Path) -> Path:
    path.write_text(
        f"(APIServer pid=7) INFO 05-01 10:00:00 [utils.py:1] vLLM API server version {VERSION}\n"
        f"(APIServer pid=7) INFO 05-01 10:00:00 [utils.py:2] non-default args: {{'model': '{MODEL}', "
        "'max_model_len': 8192}\n"
        "(EngineCore pid=9) INFO 05-01 10:00:05 [backends.py:1] Directly load the compiled graph(s) for compile range\n"
        "(EngineCore pid=9) INFO 05-01 10:00:05 [model_runner.py:1] Model loading took 15.27 GiB memory and 5 seconds\n"
        "(EngineCore pid=9) INFO 05-01 10:00:09 [gpu_worker.py:1] Available KV cache memory: 5.7 GiB\n"
        "(APIServer pid=7) INFO:     Application startup complete.\n"
    )
    return path


def result(tpot_ms: float = 20.0, ttft_ms: float = 300.0, **other: object) -> dict[str, Any]:
    """Return what ``vllm bench serve`` writes of 80 requests of 1000 + 200 tokens, 8 at once."""
    life_s = (ttft_ms + 199 * tpot_ms) / 1000
    rate = 8 / life_s
    return {
        "date": "20261101-100000",
        "backend": "openai",
        "model_id": MODEL,
        "tokenizer_id": MODEL,
        "num_prompts": 80,
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": 8,
        "duration": 80 / rate,
        "completed": 80,
        "failed": 0,
        "total_input_tokens": 80_000,
        "total_output_tokens": 16_000,
        "request_throughput": rate,
        "output_throughput": 200 * rate,
        "mean_ttft_ms": ttft_ms,
        "median_ttft_ms": ttft_ms,
        "mean_tpot_ms": tpot_ms,
        "median_tpot_ms": tpot_ms,
        **other,
    }


def learn(folder: Path, *results: dict[str, Any], gpu: str = "RTX 4090") -> Path:
    """Keep results in a catalog of one's own, and return its folder."""
    kept = folder / "catalog"
    kept.mkdir(exist_ok=True)
    paths = []
    for number, data in enumerate(results):
        paths.append(folder / f"result-{number}.json")
        paths[-1].write_text(json.dumps(data))
    printed("calibrate", start_log(folder / "start.log"), *paths, "--gpu", gpu, "--catalog", kept, "--write")
    return kept


def estimated(*options: str | Path, load: tuple[str, ...] = LOAD) -> dict[str, Any]:
    asked_for = ("--gpu", "RTX 4090", "--engine-version", VERSION, "--max-model-len", "8192", "--json")
    found: dict[str, Any] = json.loads(printed("estimate", MODEL, *asked_for, *load, *options))
    return found


def test_a_slower_server_is_expected_to_be_slower_under_any_load(tmp_path: Path) -> None:
    before, other_load = estimated(), (*LOAD[:4], "--concurrency", "2")
    tpot, ttft = 1.4 * before["tpot_ms"], 1.5 * before["ttft_ms"]

    kept = learn(tmp_path, result(tpot, ttft))
    after, lighter = estimated("--catalog", kept), estimated("--catalog", kept, load=other_load)

    assert after["speed_grade"] == "measured here"
    assert after["tpot_ms"] == pytest.approx(tpot, rel=0.002)
    assert after["ttft_ms"] == pytest.approx(ttft, rel=0.002)
    assert after["tpot_ms_low"] < tpot < after["tpot_ms_high"]
    assert after["tpot_ms_high"] / after["tpot_ms_low"] < before["tpot_ms_high"] / before["tpot_ms_low"]
    assert lighter["tpot_ms"] == pytest.approx(1.4 * estimated(load=other_load)["tpot_ms"], rel=0.002)


def test_a_faster_server_never_promises_more_than_was_expected_without_its_test(tmp_path: Path) -> None:
    before = estimated()

    after = estimated("--catalog", learn(tmp_path, result(0.7 * before["tpot_ms"], 0.7 * before["ttft_ms"])))

    assert after["tpot_ms"] < 0.71 * before["tpot_ms"]
    assert after["tpot_ms_high"] >= before["tpot_ms"]
    assert after["ttft_ms_high"] >= before["ttft_ms"]
    assert after["output_tokens_per_s_low"] <= before["output_tokens_per_s"]


def test_tests_that_differ_are_all_inside(tmp_path: Path) -> None:
    before = estimated()
    fast, slow = 0.8 * before["tpot_ms"], 1.5 * before["tpot_ms"]

    after = estimated("--catalog", learn(tmp_path, result(fast, 300.0), result(slow, 300.0)))

    assert after["tpot_ms_low"] < fast
    assert after["tpot_ms_high"] > slow


def test_a_test_says_nothing_of_other_servers(tmp_path: Path) -> None:
    kept = learn(tmp_path, result())

    for other in (("--kv-cache-dtype", "fp8"), ("--engine-version", "0.9.2")):
        assert estimated("--catalog", kept, *other)["speed_grade"] != "measured here"


def test_a_result_is_kept_once_and_start_ups_beside_it(tmp_path: Path) -> None:
    kept = learn(tmp_path, result())
    text = (kept / "measured" / "rtx4090.yaml").read_text()

    learn(tmp_path, result())

    assert (kept / "measured" / "rtx4090.yaml").read_text() == text
    assert "starts:" in text
    assert "load_tests:" in text
    printed("catalog", "check", kept)


FLEET = f"""
name: own
engine: {{name: vllm, version: {VERSION}}}
gpu: rtx-4090
roles:
  chat:
    task: general
    models: [{MODEL}]
    schemes: bf16
    kv_cache_dtype: auto
    context: 8k
    concurrency: {{min: 2, target: 32}}
    request: {{prompt_tokens: 1000, output_tokens: 200}}
    speed: {{tpot: TPOT}}
"""


def test_a_plan_heeds_a_test_its_check_agrees_and_one_made_before_is_stale(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.replace("TPOT", f"{1.9 * estimated()['tpot_ms']:.0f}ms"))
    shipped, own = load_catalog(), load_catalog(overlays=[learn(tmp_path, result(1.4 * estimated()["tpot_ms"]))])

    before = solve(load_fleet(file, shipped), shipped)
    after = solve(load_fleet(file, own), own)

    assert isinstance(before, Plan)
    assert isinstance(after, Plan)
    (was,), (now,) = before.servers, after.servers
    assert was.speed and now.speed
    assert now.speed.grade == "measured here"
    assert now.max_num_seqs < was.max_num_seqs
    assert check(after, load_fleet(file, own), own) == []
    assert "speed constants" in stale(before.lock, after.lock)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"completed": 78}, "2 of 80 requests were not answered"),
        ({"num_prompts": 12, "completed": 12}, "its start and its end"),
        ({"max_concurrency": None}, "no --max-concurrency"),
        ({"request_rate": 4.0}, "both a rate"),
        ({"ramp_up_strategy": "linear"}, "ramped up"),
        ({"spec_decode_acceptance_rate": 61.0}, "drafted"),
        ({"mean_itl_ms": 80.0}, "several tokens at once"),
        ({"median_ttft_ms": 9000.0}, "the server was full"),
        ({"request_throughput": 0.2}, "requests at once, not 8"),
        ({"median_tpot_ms": 0.0}, "does not say median_tpot_ms"),
    ],
)
def test_figures_that_are_not_those_of_running_requests_teach_nothing(changed: dict[str, Any], why: str) -> None:
    found = load_result({**result(), **changed})

    assert isinstance(found, str)
    assert why in found


def test_a_result_says_what_was_asked_of_the_server() -> None:
    found = load_result(result(20.0, 300.0))

    assert isinstance(found, LoadResult)
    assert (found.input_tokens, found.output_tokens, found.concurrency) == (1000, 200, 8)
    assert load_result({**result(), "max_concurrency": None, "request_rate": 2.0}) != found


def test_tokens_counted_twice_and_cached_prompts_teach_nothing(tmp_path: Path) -> None:
    before = estimated()
    doubled = result(before["tpot_ms"] / 2.5, before["ttft_ms"])
    cached = result(before["tpot_ms"], before["ttft_ms"] / 4)
    paths = [start_log(tmp_path / "start.log"), tmp_path / "a.json", tmp_path / "b.json"]
    for path, data in zip(paths[1:], (doubled, cached), strict=True):
        path.write_text(json.dumps(data))

    found = json.loads(printed("calibrate", *paths, "--gpu", "RTX 4090", "--json"))["load_tests"]

    assert "counted twice" in found[0]["why_not"]
    assert "prefix cache" in found[1]["why_not"]


def test_a_result_without_its_servers_log_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(result()))

    found = json.loads(printed("calibrate", tmp_path / "a.json", "--gpu", "RTX 4090", "--json"))

    assert "the log of its server's start" in found["load_tests"][0]["why_not"]


def output(name: str, tpot_ms: float, ttft_ms: float, *, running: int = 8, ranged: bool = True) -> str:
    """Return what load.sh prints of a server of 8 requests at once (tests/test_load.py has it of a run)."""
    written = 8 * 200 / ((ttft_ms + 199 * tpot_ms) / 1000)
    lines = [
        "24 requests of 1000 + 200 tokens, 8 at once, all answered",
        "no request was thrown out of the KV cache",
        f"requests at once: {running}, planned 8",
        f"measured: {int(6 * written)} tokens/s in all, {int(written)} of them written; "
        f"first token after {int(ttft_ms)} ms (95 %: 900 ms), then every {int(tpot_ms)} ms (95 %: 99 ms)",
    ]
    if ranged:
        lines += [
            f"first token after {ttft_ms:.4g} ms, planned 150 to 600",
            f"a token every {tpot_ms:.4g} ms, planned 7.5 to 11.25: slower",
            f"written {written:.4g} tokens/s, planned 640 to 960: slower",
        ]
    return "".join(f"ok    {name:<20} {line}\n" for line in lines)


def test_what_load_sh_prints_teaches_about_the_server_of_the_plan(tmp_path: Path) -> None:
    file, catalog_of_mine = tmp_path / "fleet.yaml", tmp_path / "catalog"
    catalog_of_mine.mkdir()
    file.write_text(FLEET.replace("    speed: {tpot: TPOT}\n", ""))
    printed("solve", file, "--out", tmp_path)
    results = tmp_path / "load.txt"
    results.write_text(output("chat", 30.0, 400.0) + output("other", 30.0, 400.0))

    options = ("--plan", tmp_path / "plan.yaml", "--gpu", "RTX 4090", "--catalog", catalog_of_mine, "--write")
    found = json.loads(printed("calibrate", results, *options, "--json"))["load_tests"]
    own = load_catalog(overlays=[catalog_of_mine])
    plan = solve(load_fleet(file, own), own)

    assert [one["why_not"] for one in found] == [None, "the plan has no such server"]
    assert found[0]["measured"]["tpot_ms"] == 30.0
    assert isinstance(plan, Plan)
    assert plan.servers[0].speed
    assert plan.servers[0].speed.grade == "measured here"


def test_whole_numbers_that_load_sh_cut_off_are_taken_for_the_next_slower_ones() -> None:
    (one,) = load_output(output("chat", 30.9, 400.9, ranged=False).splitlines())

    assert isinstance(one.found, LoadResult)
    assert one.found.tpot_ms >= 30.9
    assert one.found.ttft_ms >= 400.9


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (output("chat", 30.0, 400.0, running=3), "3 of 8 requests"),
        (output("chat", 30.0, 400.0) + "FAIL  chat    2 requests were thrown out of the KV cache\n", "thrown out"),
        ("ok    chat    12 requests of 16128 + 0 tokens, 4 at once, all answered\n", "writes no tokens"),
        (output("chat", 2.0, 4000.0), "the server was full"),
    ],
)
def test_an_output_of_load_sh_that_teaches_nothing(text: str, why: str) -> None:
    (one,) = load_output(text.splitlines())

    assert isinstance(one.found, str)
    assert why in one.found


def test_servers_that_shared_a_card_under_load_teach_nothing() -> None:
    shared = plans.plan(plans.server("coder", port=8001), plans.server("general", port=8002))
    gpu = replace(load_catalog().gpu("RTX 4090"), name=shared.gpus[0].gpu)
    both = load_output((output("coder", 30.0, 400.0) + output("general", 30.0, 400.0)).splitlines())

    found = list(loaded(both, "load.txt", "sha256:0", shared, gpu, load_catalog()))

    assert all("loaded at the same time" in one.why_not for one in found)


@pytest.mark.parametrize("term", [TPOT, OUTPUT], ids=lambda term: term.name)
def test_one_public_measurement_of_a_server_narrows_the_range_of_the_others_honestly(term: Term) -> None:
    """A row of a server, taken as a load test of it, leaves a range that holds four of five others of that server."""
    groups: defaultdict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for row in rows():
        pair = predict(asked(row))
        if term.measured(row) and term.said(pair.said):
            key = (row.origin, row.model, row.gpu, row.tensor_ranks, row.data_ranks, row.kv_cache_dtype, row.version)
            groups[key].append(pair)
    inside, widths = [], []
    for own in groups.values():
        for one in own:
            for other in own:
                if one is not other:
                    was_inside, width = _beside(term, one, other)
                    inside.append(was_inside)
                    widths.append(width)

    assert len(inside) > 1000
    assert sum(inside) / len(inside) >= 0.8
    assert sum(widths) / len(widths) < 0.8


def _beside(term: Term, test: Pair, other: Pair) -> tuple[bool, float]:
    """Return whether a row is inside the range that another leaves, and how wide that is beside the one stated."""
    said = term.said(other.said)
    assert said
    stated = Spread(low=said.low / said.value, high=said.high / said.value)
    permille = round(1000 * _ratio(term, test))
    bias = Bias(lowest=permille, middle=permille, highest=permille, kept=0.75)
    left = bias.of_a_rate(stated) if term is OUTPUT else bias.of_a_time(stated)
    width = math.log(left.high / left.low) / math.log(stated.high / stated.low)
    return left.low <= _ratio(term, other) <= left.high, width


def _ratio(term: Term, pair: Pair) -> float:
    said, measured = term.said(pair.said), term.measured(pair.row)
    assert said and measured
    return measured / said.value
