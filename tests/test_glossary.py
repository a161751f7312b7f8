"""The glossary: every name that output gives to a figure is explained there or in the README, and nothing else is."""

import re
from collections.abc import Iterator
from pathlib import Path

from planner.explain.words import COUNTED, TERMS

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = sorted((ROOT / "examples").glob("*/output.txt"))
SAID = [path for folder in ("planner", "templates") for path in (ROOT / folder).rglob("*") if path.is_file()]


def terms(page: str) -> set[str]:
    """The first column of every table of terms on a page."""
    tables = re.findall(r"^\| term \| meaning \|\n\| --- \| --- \|\n((?:\|.*\n)+)", page, re.M)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return {term.strip() for cell in cells for term in cell.split(",")}


EXPLAINED = terms((ROOT / "docs" / "glossary.md").read_text())
KNOWN = EXPLAINED | terms((ROOT / "README.md").read_text())


def columns(line: str) -> list[str]:
    """The cells of a line of a table, without the units behind their names."""
    return [cell.partition(", ")[0] for cell in re.split(r" {2,}", line.strip())]


def named(text: str) -> Iterator[str]:
    """The headings of the tables of a plan, the names of what is no server in its ledgers, and labels of recoveries."""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if re.match(r"role +(variant|port|requests) ", lines[0]):
            yield from columns(lines[0])
        elif re.match(r".*GPU \d.*, GiB  ", lines[0]):
            yield from columns(lines[0])[1:]
            yield from (columns(line)[0] for line in lines[1:] if len(columns(line)) < len(columns(lines[0])))
    yield from re.findall(r"recovery [\d.]+ % (\w+)", text)


def test_what_plans_name_is_explained() -> None:
    found = {name for path in OUTPUTS for name in named(path.read_text(encoding="utf-8"))}

    assert found >= {"variant", "weights", "free", "default"}
    assert found - KNOWN == set()


def test_what_estimates_and_frontiers_name_is_explained() -> None:
    found: set[str] = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```console\n\$ planner (.*?)```", page.read_text(encoding="utf-8"), re.S):
            if block.startswith("estimate"):
                found.update(re.findall(r"^  (\S+(?: \S+)*) {2,}[\d,.]+", block, re.M))
            if block.startswith("pareto"):
                found.update(columns(block.splitlines()[1])[:4])

    assert found >= {"KV cache tokens", "point"}
    assert found - KNOWN == set()


def test_what_is_maximised_is_explained() -> None:
    assert (COUNTED.keys() | TERMS.keys() | {"$/h", "$/M tokens", "scenario"}) - KNOWN == set()


def test_nothing_is_explained_that_is_not_said() -> None:
    said = "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in SAID if path.suffix != ".pyc")
    said = " ".join(said.split()).casefold()

    assert {term for term in EXPLAINED if term.casefold() not in said} == set()
