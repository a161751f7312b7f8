"""``python -m benchmarks.config_round_trip configs | compare FILE [--write]``."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.engine_oracle.cases import architecture_of, complete, models
from planner.config_json import parse_config
from planner.errors import PlannerError
from planner.tensors.kv_cache import layout
from planner.tensors.kv_rules import KVRules
from planner.tensors.weights import weights_bytes

RESULTS = Path(__file__).resolve().parent / "results.csv"
COLUMNS = ("architecture", "model", "verdict", "weights_bytes", "note")
_TOKENS = 4096


def configs() -> Iterator[dict[str, Any]]:
    """Yield the smallest and the largest catalog model of every class, and those the engine oracle asks about."""
    for name, config, pooling in models():
        yield {"name": name, "config": complete(config, architecture_of(name, config, pooling=pooling))}


def sizes(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what a plan rests on: weights, cache per block and per request, context."""
    architecture, quantization = parse_config(config, where="config.json")
    cache = layout(architecture, rules=KVRules())
    return (
        weights_bytes(architecture, quantization),
        cache.bytes_per_block,
        cache.bytes_needed(_TOKENS, _TOKENS),
        architecture.max_model_len,
    )


def rows(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """Yield one row per model: equal, different, refused by field, or not readable by transformers."""
    for case in configs():
        stated, answer = case["config"], answers[case["name"]]
        row: dict[str, object] = {"architecture": stated["architectures"][0], "model": case["name"]}
        if "error" in answer:
            yield {**row, "verdict": "not readable by transformers", "note": answer["error"].replace(",", ";")}
            continue
        before = sizes(stated)
        try:
            after = sizes(answer["saved"])
        except PlannerError as error:
            yield {**row, "verdict": "refused", "weights_bytes": before[0], "note": str(error)}
            continue
        verdict = "equal" if before == after else "different"
        note = "" if before == after else f"{before} became {after}"
        yield {**row, "verdict": verdict, "weights_bytes": before[0], "note": note}


def main() -> int:
    """Print the configs to ask about, or compare what transformers made of them."""
    parser = argparse.ArgumentParser(prog="benchmarks.config_round_trip")
    parser.add_argument("what", choices=("configs", "compare"))
    parser.add_argument("file", nargs="?")
    parser.add_argument("--write", action="store_true", help="renew results.csv")
    asked = parser.parse_args()
    if asked.what == "configs":
        sys.stdout.writelines(json.dumps(case) + "\n" for case in configs())
        return 0
    lines = Path(asked.file).read_text(encoding="utf-8").splitlines()
    found = sorted(rows({entry["name"]: entry for entry in map(json.loads, lines)}), key=lambda row: str(row["model"]))
    if asked.write:
        with RESULTS.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(found)
    for verdict in sorted({str(row["verdict"]) for row in found}):
        print(f"{verdict}: {sum(row['verdict'] == verdict for row in found)}")
    return int(any(row["verdict"] == "different" for row in found))


if __name__ == "__main__":
    sys.exit(main())
