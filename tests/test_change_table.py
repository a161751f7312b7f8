"""``planner diff --markdown``: what a new plan brings, as a table for a review."""

from pathlib import Path

from commands import run
from msgspec.structs import replace
from plans import plan, server

from planner.explain.change_table import change_table
from planner.plan import HourlyPrice, Money, Plan, ServerSpeed, TokenPrice, plan_to_yaml
from planner.speed.forecast import Range
from planner.units import GIB

CODER = server("coder", gpu_indices=(0,))
OLD = plan(CODER, server("chat", gpu_indices=(0,)))


def cells(table: str) -> dict[str, list[str]]:
    """The cells of each row of a table, by what its first one says."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    return {name: rest for name, *rest in rows[1:]}


def speed(tpot_us: int, ttft_us: int) -> ServerSpeed:
    tpot, ttft = (Range(value=one, low=one * 8 // 10, high=one * 13 // 10) for one in (tpot_us, ttft_us))
    return ServerSpeed(
        busy_permille=1000,
        reason=None,
        grade="measured",
        tpot_us=tpot,
        ttft_us=ttft,
        output_millitokens_per_second=None,
    )


def priced(found: Plan, per_hour: float, micro: int) -> Plan:
    price = HourlyPrice(per_hour=per_hour, currency="USD", basis="own", date="")
    output = Range(value=micro, low=micro, high=micro)
    return replace(
        found, price=price, money=Money(full_load=TokenPrice(output=output, all_tokens=output), planned_load=None)
    )


def test_it_has_memory_speed_and_dollars_of_both_plans_and_how_far_they_are_apart() -> None:
    larger = replace(CODER.ledger, weights_bytes=CODER.ledger.weights_bytes + GIB)
    before = priced(plan(replace(CODER, speed=speed(20_000, 900_000))), 1.5, 2_000_000)
    after = priced(plan(replace(CODER, ledger=larger, speed=speed(15_000, 1_800_000))), 2.25, 1_000_000)

    found = cells(change_table(before, after))

    assert found["coder: memory"][2] == "+1.00 GiB"
    assert found["memory of all servers"][2] == "+1.00 GiB"
    assert found["coder: time per output token"] == ["20.0 ms (16.0 to 26.0)", "15.0 ms (12.0 to 19.5)", "−25 %"]
    assert found["coder: time to first token"] == ["900.0 ms (720.0 to 1170.0)", "1.8 s (1.4 to 2.3)", "+100 %"]
    assert found["price per hour"] == ["1.50 $", "2.25 $", "+0.75 $"]
    assert found["a million output tokens, all requests running"] == ["2 $", "1 $", "−50 %"]


def test_a_role_that_comes_or_goes_has_nothing_on_the_other_side() -> None:
    table = cells(change_table(OLD, plan(CODER)))

    assert table["chat: model"] == ["qwen2.5-coder-7b bf16", "–", ""]
    assert "chat: time per output token" not in table


def test_without_a_plan_before_every_figure_is_new(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(plan_to_yaml(OLD), encoding="utf-8")
    (tmp_path / "old.yaml").touch()

    code, printed = run("diff", "--markdown", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"))

    assert code == 5
    assert "there was none before" in printed.splitlines()[0]
    assert {(before, change) for before, _, change in cells(printed).values()} == {("–", "")}


def test_plans_that_promise_the_same_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_to_yaml(OLD), encoding="utf-8")

    code, printed = run("diff", "--markdown", *[str(tmp_path / "plan.yaml")] * 2)

    assert (code, printed.count("\n")) == (0, 1)
    assert "the plans promise the same" in printed


def test_a_name_is_no_markup_and_calls_nobody() -> None:
    hostile = replace(CODER, model="a|b <img src=x> [x](y) @everyone #1 ``` </details>", repository="```\n# x")

    table = change_table(OLD, plan(hostile))
    row = next(line for line in table.splitlines() if line.startswith("| coder: model"))

    assert not set("<@") & set(row)
    assert row.count("|") - row.count("\\|") == 5
    assert "&#64;everyone &#35;1" in row
    assert "````text" in table
    assert table.rstrip().endswith("````\n\n</details>")


def test_a_table_and_json_at_once_make_no_sense() -> None:
    code, printed = run("diff", "--markdown", "--json", "a.yaml", "b.yaml")

    assert code == 2
    assert "not both" in printed
