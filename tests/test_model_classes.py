"""Which model classes are sized: the page that lists them, and what the real engine says of each."""

import csv
from pathlib import Path

from benchmarks.engine_oracle.compare import read_reasons
from planner.config_json.encoders import ENCODERS
from planner.config_json.pooling import body
from planner.config_json.registry import TEXT
from planner.config_json.whisper import WHISPER
from planner.config_json.wrappers import WRAPPERS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "model-classes.md"
MARK = "<!-- classes -->\n"
GROUPS = {
    "Text": sorted(TEXT),
    "Images, sound": sorted([*WRAPPERS, WHISPER]),
    "Encoders: embeddings, rerankers, classifiers": sorted(ENCODERS),
}


def listed() -> str:
    return "\n".join(f"**{title}** ({len(names)}): {', '.join(names)}.\n" for title, names in GROUPS.items())


def test_the_page_lists_the_classes_that_are_sized(update_golden: bool) -> None:
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    made_anew = before + MARK + "\n" + listed()
    if update_golden:
        PAGE.write_text(made_anew, encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == made_anew


def answered() -> set[str]:
    """Classes of which the engine was asked, and answered as the planner does or could not be asked for a reason."""
    names = {row["architecture"] for row in read_reasons()}
    for table in ("results.csv", "classes.csv"):
        with (ROOT / "benchmarks" / "engine_oracle" / table).open(encoding="utf-8", newline="") as file:
            names |= {row["architecture"] for row in csv.DictReader(file) if row["verdict"] == "equal"}
    return names


def test_the_engine_was_asked_about_every_class_or_about_one_that_is_built_alike() -> None:
    asked = answered()
    inside = {WRAPPERS[name].text for name in asked & WRAPPERS.keys()}
    same = [TEXT[name] for name in (asked | inside) & TEXT.keys()]
    towers = [WRAPPERS[name] for name in asked & WRAPPERS.keys()]
    encoders = [ENCODERS[name] for name in asked & ENCODERS.keys()]

    text = {name for name in TEXT.keys() - asked if not any(TEXT[name] == family for family in same)}
    wrapped = {name for name in WRAPPERS.keys() - asked if not any(WRAPPERS[name] == other for other in towers)}
    encoded = {name for name in ENCODERS.keys() - asked if not any(ENCODERS[name] == other for other in encoders)}

    assert (text, wrapped, encoded) == (set(), set(), set())
    assert WHISPER in asked


def test_a_class_that_scores_is_built_on_a_decoder_that_is_sized() -> None:
    assert body("Qwen3ForSequenceClassification") in TEXT
    assert body("FrobnicatorForSequenceClassification") not in TEXT
