"""The record: ``verdicts.jsonl``, one line of JSON for each command line, with what every engine version said to it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.serve_args.lines import Line
from planner.engine.versions import parse_version

PATH = Path(__file__).resolve().parent / "verdicts.jsonl"
Verdicts = Mapping[Line, Mapping[str, str]]
"""For each line, why each version refuses it; an empty text where it is accepted."""


def read() -> dict[Line, dict[str, str]]:
    """Return the record."""
    verdicts = {}
    for text in PATH.read_text(encoding="utf-8").splitlines() if PATH.exists() else ():
        row = json.loads(text)
        verdicts[Line(row["repository"], row["line"])] = {**dict.fromkeys(row["accepted"], ""), **row["refused"]}
    return verdicts


def record(verdicts: Verdicts, version: str, answers: Iterable[Mapping[str, Any]]) -> dict[Line, dict[str, str]]:
    """Return the record with this version's answers in place of all that it said before."""
    kept = {line: {v: why for v, why in said.items() if v != version} for line, said in verdicts.items()}
    for answer in answers:
        assert answer["engine"] == version, f"these are answers of {answer['engine']}"
        kept.setdefault(Line(answer["repository"], answer["line"]), {})[version] = answer["verdict"]
    return {line: said for line, said in kept.items() if said}


def write(verdicts: Verdicts) -> None:
    """Write the record, sorted."""
    rows = [
        {
            "repository": line.repository,
            "line": line.line,
            "accepted": sorted((v for v, why in said.items() if not why), key=parse_version),
            "refused": {v: said[v] for v in sorted(said, key=parse_version) if said[v]},
        }
        for line, said in sorted(verdicts.items())
    ]
    PATH.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
