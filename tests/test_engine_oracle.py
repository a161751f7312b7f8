"""Recorded answers of the real engine (vLLM 0.32.0): weights and cache plans, to the byte.

``benchmarks/engine_oracle`` asks the engine about many more models and writes what it answers.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine_oracle.answers import answer
from benchmarks.engine_oracle.cases import FOLDER, class_cases, layout_cases
from benchmarks.engine_oracle.compare import read_reasons, same_plan, same_weights

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
