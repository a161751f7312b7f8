"""CONTRIBUTING.md names files that are there, and the places of one rule name each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:planner|tests|catalog|templates|benchmarks|docs)/[^`* ]*)`", PAGE)))
NOT_ON_ONE_NODE = ("fleet/placement.py", "search/placing.py", "search/board.py", "check/placement.py")


@pytest.mark.parametrize("path", NAMED)
def test_a_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_row_names_code_and_a_test() -> None:
    rows = [line.split(" | ") for line in PAGE.split("## To change something")[1].splitlines() if line.startswith("| ")]
    changes = {
        row[0].removeprefix("| "): row[1:] for row in rows[1:] if len(row) == 3 and not row[0].startswith("| --")
    }

    assert len(changes) >= 7
    for name, (edit, test) in changes.items():
        assert re.search(r"`(planner|templates|catalog)/", edit), name
        assert re.search(r"`tests/test_\w+\.py`", test), name


@pytest.mark.parametrize("path", NOT_ON_ONE_NODE)
def test_the_places_of_one_rule_name_each_other(path: str) -> None:
    text = (ROOT / "planner" / path).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "# Not on one node:" in line]

    assert len(lines) == 1
    assert [other for other in NOT_ON_ONE_NODE if other != path and other not in lines[0]] == []
