"""Run the comparison: ``python -m benchmarks.engine_oracle cases | compare ANSWERS [--write]``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.engine_oracle import compare
from benchmarks.engine_oracle.adapters import adapter_bytes, adapter_cases, write_adapters
from benchmarks.engine_oracle.cases import cases, class_cases, layout_cases
from benchmarks.engine_oracle.drafts import draft_answer, draft_cases, record_drafts


def main() -> None:
    """Print the cases to ask, or compare answers and print (or write) the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_oracle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("cases", help="print the cases, one JSON object per line, for probe.py")
    asking.add_argument("--only", default="", help="models whose name contains this text")
    asking.add_argument("--classes", action="store_true", help="one small model of each further class")
    asking.add_argument("--layouts", action="store_true", help="mixtures over ranks of data and expert parallelism")
    asking.add_argument("--adapters", action="store_true", help="the buffers of adapters, for a model of each class")
    asking.add_argument("--drafts", action="store_true", help="heads that draft tokens, and models that draft")
    comparing = commands.add_parser("compare", help="compare the engine's answers with the planner's")
    comparing.add_argument("answers", type=Path, help="what probe.py printed")
    comparing.add_argument("--classes", action="store_true", help="the answers are about further classes")
    comparing.add_argument("--layouts", action="store_true", help="the answers are about data and expert parallelism")
    comparing.add_argument("--adapters", action="store_true", help="the answers are about adapters")
    comparing.add_argument("--drafts", action="store_true", help="the answers are about drafts")
    comparing.add_argument("--write", action="store_true", help="write the tables beside this file")
    arguments = parser.parse_args()
    chosen = class_cases if arguments.classes else layout_cases if arguments.layouts else cases
    chosen = adapter_cases if arguments.adapters else draft_cases if arguments.drafts else chosen
    if arguments.command == "cases":
        for case in chosen():
            if arguments.only in case["id"]:
                print(json.dumps(case))
        return
    lines = arguments.answers.read_text(encoding="utf-8").splitlines()
    if arguments.adapters or arguments.drafts:
        _features({answer["id"]: answer for answer in map(json.loads, lines)}, arguments)
        return
    results, plans = compare.compare([json.loads(line) for line in lines], chosen())
    if arguments.write and (arguments.classes or arguments.layouts):
        compare.write_table(results, "classes.csv" if arguments.classes else "layouts.csv")
    elif arguments.write:
        compare.write(results, plans)
    print(compare.summary(results))
    sys.exit(1 if any(result.unexplained for result in results) else 0)


def _features(answers: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print bytes by the engine and by the planner of each case about adapters or drafts, and write the former."""
    if arguments.write and arguments.adapters:
        write_adapters(answers.values())
    elif arguments.write:
        record_drafts(answers)
    for case in adapter_cases() if arguments.adapters else draft_cases():
        theirs = answers.get(case["id"], {}).get("adapter_bytes" if arguments.adapters else "draft_bytes")
        print(case["id"], theirs, adapter_bytes(case) if arguments.adapters else draft_answer(case)["draft_bytes"])


if __name__ == "__main__":
    main()
