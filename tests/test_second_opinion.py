"""Brute force, which knows nothing of options and search, finds no better plan; the benchmark asks about thousands."""

from collections import Counter

import pytest
from fleets import catalog
from msgspec.structs import replace

from benchmarks.second_opinion import __main__ as second_opinion
from benchmarks.second_opinion.__main__ import compare_next, compare_plans, compare_speed, compare_turns
from planner.catalog import Catalog
from planner.fleet import Fleet
from planner.plan import Plan

SEEDS = range(100, 116)


def test_brute_force_finds_no_better_plan() -> None:
    counts: Counter[str] = Counter()
    said = [text for seed in SEEDS for text in compare_plans(seed, catalog(), counts)]

    assert said == []
    assert counts["fleets"] > len(SEEDS) // 2
    assert min(counts["without a plan"], counts["after a plan"]) > 3
    assert counts["undecided"] == 0


def test_brute_force_finds_no_better_next_best_and_no_other_close_calls() -> None:
    counts: Counter[str] = Counter()
    kinds = (compare_next, compare_speed, compare_turns)
    said = [text for kind in kinds for seed in range(2) for text in kind(seed, catalog(), counts)]

    assert said == []
    assert min(counts["with a next best"], counts["close calls"]) > 1


def test_a_plan_that_is_not_the_best_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner that is asked plans for half the concurrency: every fleet that could serve more disagrees."""
    honest = second_opinion._plan

    def lazy(fleet: Fleet, catalog: Catalog, previous: Plan | None) -> Plan | None:
        roles = tuple(replace(role, concurrency_target=role.concurrency_min) for role in fleet.roles)
        return honest(replace(fleet, roles=roles), catalog, previous)

    monkeypatch.setattr(second_opinion, "_plan", lazy)
    monkeypatch.setattr(second_opinion, "_reduced", lambda document, holds: document)

    assert [text for seed in range(100, 106) for text in compare_plans(seed, catalog(), Counter())]
