"""docs/engine-rules.md, made of the data files: ``python -m benchmarks.engine_rules`` writes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.engine.data_file import read_data_file
from planner.engine.rules import engine_rules
from planner.resources import data_folder

PATH = Path(__file__).resolve().parent.parent / "docs" / "engine-rules.md"
_HEAD = """# What the engine refuses, and what is checked

Made of `catalog/engines/rules.yaml` and `attention.yaml` by `python -m benchmarks.engine_rules`; a test keeps it
current. A server that breaks a rule is no option of a plan, and `planner estimate` says `starts: false` with the rule
as reason, whether it would fit or not.
"""
_ATTENTION = """
## Attention backends

A version tries backends in the order of its device and takes the first whose rules a layer meets. The rules are held
against the answers of every version's own selector (`benchmarks/attention_backends`). Which version changed what:

| backend | since | source |
|---|---|---|
"""
_PATH_HEAD = """
## The engine's way up, read in 0.33.0

Of `raise` and `assert` statements in configuration, model loader, worker, scheduler and KV cache.

| where | covered by | else |
|---|---|---|
"""


def page() -> str:
    """Return the text of the page."""
    rules = (f"| `{rule.name}` | {rule.checks} | {_cell(rule.source)} |" for rule in engine_rules().values())
    table = ["", "## Rules", "", "| rule | checked | where the engine does it |", "|---|---|---|", *rules]
    return (
        _HEAD + "\n".join(table) + "\n" + _ATTENTION + "\n".join(_eras()) + "\n" + _PATH_HEAD + "\n".join(_way()) + "\n"
    )


def start_path() -> list[dict[str, Any]]:
    """Return where the engine raises on the way up, and what covers it."""
    found: list[dict[str, Any]] = _document("rules.yaml", "start_path")["start_path"]
    return found


def _eras() -> Iterator[str]:
    document = _document("attention.yaml", "backends")
    for part in ("backends", "raises"):
        for name, eras in document[part].items():
            what = f"`{name}`" if part == "backends" else f"`{name}`, after the choice"
            yield from (f"| {what} | {era['since']} | {_cell(era['source'])} |" for era in eras)


def _way() -> Iterator[str]:
    for entry in start_path():
        covered = ", ".join(f"`{name}`" for name in entry.get("rules", ()))
        other = f"cannot be met: {entry['unmet']}" if "unmet" in entry else entry.get("open", "")
        yield f"| {_cell(entry['where'])} | {covered} | {'not covered: ' * ('open' in entry)}{other} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _document(name: str, part: str) -> dict[str, Any]:
    return read_data_file(data_folder("catalog") / "engines" / name, frozenset({part}))


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
