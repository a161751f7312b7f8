"""The record: ``verdicts.jsonl``, one line for each line of the grid, with every engine version's answers to it.

Answers are runs, ``FLASH_ATTN*3 none``, in the order of the line's questions; versions that answer alike share them.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.attention_backends import grid
from planner.engine.backends import AttentionLayer
from planner.engine.versions import parse_version

PATH = Path(__file__).resolve().parent / "verdicts.jsonl"
Answers = dict[str, dict[str, tuple[str, ...]]]
"""By line of the grid, as text, and by version."""


def read() -> Answers:
    """Return the record."""
    found: Answers = {}
    for text in PATH.read_text(encoding="utf-8").splitlines() if PATH.exists() else ():
        row = json.loads(text)
        said = row.pop("answers")
        found[json.dumps(row)] = {
            version: tuple(_expanded(runs)) for versions, runs in said.items() for version in versions.split()
        }
    return found


def add(record: Answers, lines: Iterable[Mapping[str, Any]]) -> Answers:
    """Return the record with what ``probe.py`` printed for one version in place of what that version said before."""
    head, *rows = lines
    for row in rows:
        common = json.dumps({name: value for name, value in row.items() if name != "answers"})
        record.setdefault(common, {})[str(head["engine"])] = tuple(row["answers"])
    return record


def write(record: Answers) -> None:
    """Write the record in the order of the grid."""
    rows = [json.dumps(common) for common, _ in grid.rows()]
    texts = [json.dumps({**json.loads(row), "answers": _alike(record[row])}) for row in rows if row in record]
    PATH.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def layer(common: Mapping[str, Any], question: Mapping[str, Any]) -> AttentionLayer:
    """Return the layer that a question of the grid is about."""
    asked = {"dtype": common["dtype"], "cache": question["cache"], "block_size": question.get("block")}
    if common["kind"] == "compressed":
        return AttentionLayer(kind="compressed", head_size=512, **asked)
    if common["kind"] == "latent":
        rank, nope, rope, value, topk = common["shape"]
        return AttentionLayer(
            kind="latent", head_size=rank + rope, heads=question["heads"], index_topk=topk, nope_head_dim=nope,
            rope_head_dim=rope, value_head_dim=value, **asked,
        )  # fmt: skip
    features = common["features"].split("+")
    return AttentionLayer(
        kind="encoder_only" if common["kind"] == "encoder_only" else "decoder",
        head_size=question["head_size"],
        sinks="sinks" in features,
        prefix="prefix" in features,
        window="window" in features,
        mixed=common["kind"] == "mixed",
        **asked,
    )


def _alike(said: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the runs of answers by the versions, oldest first, that give them."""
    groups: dict[str, list[str]] = {}
    for version in sorted(said, key=parse_version):
        groups.setdefault(" ".join(_runs(said[version])), []).append(version)
    return {" ".join(versions): runs for runs, versions in groups.items()}


def _runs(answers: Iterable[str]) -> Iterator[str]:
    for name, group in itertools.groupby(answers):
        count = len(list(group))
        yield f"{name}*{count}" if count > 1 else name


def _expanded(runs: str) -> Iterator[str]:
    for run in runs.split():
        name, _, count = run.partition("*")
        yield from itertools.repeat(name, int(count or 1))
