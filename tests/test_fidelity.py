"""The memory model against the measured start-ups: the accuracy the docs state, and the rules of the table."""

from functools import cache
from pathlib import Path

from benchmarks.memory_fidelity import page
from benchmarks.memory_fidelity.predict import predict
from benchmarks.memory_fidelity.score import TERMS, Pair, confusion, errors, quantile, statistics
from benchmarks.memory_fidelity.table import dropped, rows

DOCS = Path(__file__).resolve().parent.parent / "docs"


@cache
def pairs() -> tuple[Pair, ...]:
    return tuple((row, predict(row)) for row in rows())


def sizes(name: str, chosen: list[Pair]) -> list[float]:
    term = next(term for term in TERMS if term.name == name)
    return sorted(abs(error) for error in errors(term, chosen))


def test_sweep_on_h100_is_met_to_a_fraction_of_a_percent() -> None:
    sweep = [pair for pair in pairs() if pair[0].version.startswith("0.19") and "H100" in pair[0].gpu]

    assert len(sweep) >= 35
    for name, mean in (("weights", 0.3), ("activation", 3.0), ("KV cache GiB", 0.5)):
        assert sum(sizes(name, sweep)) / len(sizes(name, sweep)) <= mean
    assert quantile(sizes("KV cache GiB", sweep), 0.95) <= 2.0
    kv = next(term for term in TERMS if term.name == "KV cache GiB")
    assert max(errors(kv, sweep)) <= 1.0


def test_other_rows_are_met_within_a_few_percent() -> None:
    others = [pair for pair in pairs() if not (pair[0].version.startswith("0.19") and "H100" in pair[0].gpu)]
    found = sizes("KV cache tokens", others)

    assert quantile(found, 0.5) <= 2.0
    assert quantile(found, 0.9) <= 6.0


def test_start_verdicts_agree_with_what_happened() -> None:
    table = confusion(pairs())

    assert table[True, False] == []
    assert table[False, True] == []


def test_rows_and_dropped_rows_are_disjoint_and_say_where_they_come_from() -> None:
    kept, left = rows(), dropped()

    assert {row.id for row in kept}.isdisjoint(entry["id"] for entry in left)
    assert all(row.source for row in kept)
    assert all(entry["reason"] and entry["source"] for entry in left)


def test_the_page_in_the_docs_is_what_the_benchmark_says() -> None:
    written = (DOCS / "accuracy-of-estimates.md").read_text(encoding="utf-8")

    assert written == page.text(pairs(), dropped())


def test_statistics_of_nothing_are_none() -> None:
    assert statistics([]) is None


def test_quantile_is_the_value_that_share_does_not_exceed() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.25, 0.5, 0.75, 0.95, 1.0)] == [1, 2, 3, 4, 4]
