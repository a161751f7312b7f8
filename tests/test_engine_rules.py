"""docs/engine-rules.md says what the data says, and every rule in it is one that is checked."""

import re
from pathlib import Path

from benchmarks.engine_rules import PATH, page, start_path
from planner.engine.rules import engine_rules
from planner.memory import verdict

PACKAGE = Path(__file__).resolve().parent.parent / "planner"
RAISED = {
    name for path in PACKAGE.rglob("*.py") for name in re.findall(r'refused\(\s*"([a-z0-9-]+)"', path.read_text())
}


def test_the_page_is_made_of_the_data(update_golden: bool) -> None:
    if update_golden:
        PATH.write_text(page(), encoding="utf-8")

    assert PATH.read_text(encoding="utf-8") == page()


def test_every_rule_is_raised_and_every_refusal_has_a_rule() -> None:
    assert engine_rules().keys() == RAISED


def test_every_statement_of_the_way_up_is_accounted_for_once() -> None:
    for entry in start_path():
        assert len(entry.keys() & {"rules", "unmet", "open"}) == 1, entry
        for name in entry.get("rules", ()):
            assert name in engine_rules() or hasattr(verdict, name), name
