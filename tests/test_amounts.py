"""Amounts of memory: the same bytes read the same everywhere, and what is missing is never too little."""

import random

import pytest
from msgspec.structs import replace
from plans import plan, server

from planner.cli.plan_text import plan_text
from planner.explain.account_text import account
from planner.plan.account import Account
from planner.report.glance import glance
from planner.report.memory import gpu_bars
from planner.units import GIB, format_apart, format_gib, format_missing, gib

SOME = [random.Random(seed).randrange(1, 200 * GIB) for seed in range(50)]


@pytest.mark.parametrize("free_bytes", SOME[:8])
def test_what_is_free_reads_the_same_in_the_plan_its_explanation_and_its_report(free_bytes: int) -> None:
    one = server("coder")
    total = one.ledger.total_bytes + free_bytes
    own = plan(one)
    own = replace(own, gpus=(replace(own.gpus[0], free_bytes=free_bytes, total_bytes=total),))
    row = next(line.split() for line in plan_text(own).splitlines() if line.startswith("free "))
    told = {one.question: one.text for one in glance(gpu_bars(own), (), ())}

    assert row == ["free", gib(free_bytes), f"{free_bytes:,}"]
    assert f": {format_gib(free_bytes)} free of {format_gib(total)}" in told["Tightest GPU"]
    assert f"{format_gib(free_bytes)} free" in account(Account(plan=own, left_out=(), alternatives=(), growths=()))
    assert format_gib(free_bytes) == f"{gib(free_bytes)} GiB"


def test_nothing_but_nothing_reads_as_nothing() -> None:
    assert [format_gib(amount) for amount in (0, 1, GIB // 1000, GIB // 100)] == [
        "0.00 GiB", "1 byte", "1,073,741 bytes", "0.01 GiB",
    ]  # fmt: skip


@pytest.mark.parametrize("missing_bytes", [1, *SOME])
def test_what_is_said_to_be_missing_suffices(missing_bytes: int) -> None:
    hundredths = round(float(format_missing(missing_bytes).removesuffix(" GiB")) * 100)

    assert 0 <= hundredths * GIB - 100 * missing_bytes < GIB


@pytest.mark.parametrize("needed_bytes", SOME)
def test_what_is_needed_never_reads_like_the_less_that_is_there(needed_bytes: int) -> None:
    for less in (1, 1000, GIB // 300, GIB):
        needed, there = format_apart(needed_bytes, needed_bytes - less)
        assert needed != there
