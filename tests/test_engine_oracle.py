"""Recorded answers of the real engine (vLLM 0.32.0): weights and cache plans, to the byte.

``benchmarks/engine_oracle`` asks the engine about many more models and writes what it answers.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine_oracle.adapters import adapter_bytes, adapter_cases, read_adapters
from benchmarks.engine_oracle.answers import answer
from benchmarks.engine_oracle.cases import FOLDER, cases, class_cases, layout_cases
from benchmarks.engine_oracle.compare import read_reasons, same_plan, same_weights
from benchmarks.engine_oracle.drafts import draft_answer, draft_cases, recorded_drafts

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "engine-oracle.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: str(recorded["case"]["id"]))
def test_the_planner_answers_as_the_engine_did(recorded: dict[str, Any]) -> None:
    theirs, ours = recorded["answer"], answer(recorded["case"])

    if "error" in theirs:
        assert ours["refused"]
        return
    assert same_weights(theirs, ours), f"parameters {ours['parameter_bytes'] - theirs['parameter_bytes']:+d} bytes"
    unequal = [plan for plan, mine in zip(theirs["kv"], ours["kv"], strict=True) if not same_plan(plan, mine)]
    assert unequal == []


def test_an_encoder_of_sound_is_whole_where_ranks_do_not_divide_its_heads() -> None:
    name = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    case = next(case for case in cases() if case["id"] == f"{name}|tp8")
    with (FOLDER / "results.csv").open(encoding="utf-8", newline="") as file:
        said = next(row for row in csv.DictReader(file) if (row["model"], row["ranks"]) == (name, "8"))
    ours = answer(case)

    assert ours["parameter_bytes"] + ours["rotary_bytes"] == int(said["engine_bytes"])


def test_one_small_model_of_every_further_class_weighs_what_the_engine_said() -> None:
    with (FOLDER / "classes.csv").open(encoding="utf-8", newline="") as file:
        said = {f"{row['model']}|tp{row['ranks']}": row for row in csv.DictReader(file)}
    different = {}
    for case in class_cases():
        row = said.get(case["id"])
        if row is None or row["verdict"] != "equal":
            continue
        ours = answer(case)
        if ours["parameter_bytes"] + ours["rotary_bytes"] != int(row["engine_bytes"]):
            different[case["id"]] = row["engine_bytes"]

    assert different == {}


def test_every_mixture_weighs_what_the_engine_said_over_ranks_of_data_and_expert_parallelism() -> None:
    with (FOLDER / "layouts.csv").open(encoding="utf-8", newline="") as file:
        said = {
            (row["model"], row["ranks"], row["data_ranks"], row["expert_parallel"]): row for row in csv.DictReader(file)
        }
    different, equal = {}, 0
    for case in layout_cases():
        layout = tuple(str(case[key]) for key in ("tensor_parallel_size", "data_parallel_size", "expert_parallel"))
        row = said[(case["id"].split("|")[0], *layout)]
        if row["verdict"] == "equal":
            ours, equal = answer(case), equal + 1
            if ours["parameter_bytes"] + ours["rotary_bytes"] != int(row["engine_bytes"]):
                different[case["id"]] = row["engine_bytes"]
        elif row["verdict"] == "refused by both":
            assert answer(case)["refused"]

    assert different == {}
    assert equal > 150


def test_every_reason_for_a_difference_is_written_down() -> None:
    assert all(row["reason"] and row["excuses"] in ("build", "figures") for row in read_reasons())


SAID_OF_ADAPTERS = read_adapters()


def test_llama_with_four_slots_of_rank_64_takes_what_the_engine_said() -> None:
    assert SAID_OF_ADAPTERS["meta-llama/Llama-3.1-8B-Instruct|tp1"] == "1477705728"


def test_adapters_of_every_class_take_what_the_engine_said() -> None:
    """The score of a reranker is a layer that no plan gives adapters to."""
    ours = {case["id"]: adapter_bytes(case) for case in adapter_cases() if case["id"] in SAID_OF_ADAPTERS}
    said = {name: SAID_OF_ADAPTERS[name] for name in ours}
    different = {name: (said[name], size) for name, size in ours.items() if said[name] != str(size or "none")}

    assert len(ours) > 90
    assert different.keys() <= {"tomaarsen/Qwen3-Reranker-8B-seq-cls|tp1"}


SAID_OF_DRAFTS = recorded_drafts()


@pytest.mark.parametrize("case", list(draft_cases()), ids=lambda case: str(case["id"]))
def test_what_drafts_weighs_and_caches_what_the_engine_said(case: dict[str, Any]) -> None:
    theirs, ours = SAID_OF_DRAFTS[case["id"]], draft_answer(case)

    assert ours["draft_bytes"] == theirs["draft_bytes"]
    for said, mine in zip(theirs["kv"], ours["kv"], strict=True):
        assert (said["groups"], said["blocks"]) == (mine["groups"], mine["blocks"])
        assert said["max_concurrency"] == pytest.approx(mine["max_concurrency"])
