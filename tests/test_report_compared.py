"""What planner report compares a plan with, and what it shows of a fleet that has none."""

import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from test_explain import NO_PLAN
from test_report import EXAMPLE, HOSTILE, Page, example

from planner.catalog import load_catalog
from planner.cli import main
from planner.explain import no_plan
from planner.fleet import GPU_OPTION, SET_OPTION, Edit, load_fleet, read_fleet, scenarios
from planner.plan import Frontier, NoPlan, Plan, differences, plan_from_yaml, plan_to_yaml
from planner.report import Compared, changes, frontier_view, no_plan_view, page, scenario_table
from planner.solve.frontier import pareto
from planner.solve.scenarios import what_if


@cache
def compared() -> tuple[Compared, Frontier, Plan]:
    """The example's fleet with half the context and on cards too small for it, a frontier of it, and its own plan."""
    catalog = load_catalog()
    fleet = load_fleet(EXAMPLE / "fleet.yaml", catalog)
    cases = scenarios([Edit(SET_OPTION, "roles.coder.context=16k"), Edit(GPU_OPTION, "rtx-3060")], matrix=False)
    outcomes = list(what_if(read_fleet(EXAMPLE / "fleet.yaml"), cases, catalog, workers=1))
    frontier = pareto(fleet, "concurrency", "accuracy", catalog)
    assert isinstance(frontier, Frontier)
    halved = outcomes[1].answer
    assert isinstance(halved, Plan)
    text = (EXAMPLE / "fleet.yaml").read_text(encoding="utf-8")
    own = Compared(
        scenarios=scenario_table(outcomes),
        frontier=frontier_view(frontier, fleet),
        changes=changes(halved, example()[0], text.replace("32k", "16k"), text),
    )
    return own, frontier, halved


def test_scenarios_are_rows_with_what_they_bring() -> None:
    own, _, halved = compared()
    rows = Page(page(example()[1], own)).rows
    head = next(row for row in rows if row[:1] == ["scenario"])
    found = {row[0]: dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head) and row is not head}

    assert list(found)[-3:] == ["as written", "roles.coder.context=16k", "rtx-3060"]
    assert halved.price is not None
    assert found["roles.coder.context=16k"]["$/h"] == f"{halved.price.per_hour:.2f}"
    assert f"16k × {halved.server('coder').requests}" in found["roles.coder.context=16k"]["coder"]
    assert found["rtx-3060"]["plan"].startswith("none: ")


def test_points_of_the_frontier_are_numbered_as_pareto_numbers_them() -> None:
    own, frontier, _ = compared()
    rows = Page(page(example()[1], own)).rows
    head = next(index for index, row in enumerate(rows) if row[:3] == ["point", "concurrency", "accuracy"])
    points = rows[head + 1 : head + 1 + len(frontier.plans)]

    assert [row[0] for row in points] == [str(plan.point and plan.point.number) for plan in frontier.plans]
    assert [float(row[1]) for row in points] == sorted(float(row[1]) for row in points)
    assert [float(row[2]) for row in points] == sorted((float(row[2]) for row in points), reverse=True)
    for plan, row in zip(frontier.plans, points, strict=True):
        assert f"× {plan.server('coder').requests}" in row[4]


def test_an_earlier_plan_is_compared_as_diff_compares_it() -> None:
    own, _, halved = compared()
    assert own.changes is not None

    assert differences(halved, example()[0])
    assert any("context 32k instead of 16k" in line for line in own.changes.lines)
    assert re.search(r"^-.*16k", own.changes.fleet_diff, re.M)
    assert re.search(r"^\+.*32k", own.changes.fleet_diff, re.M)


def test_what_has_no_plan_is_shown_with_needs_conflicts_and_what_helps() -> None:
    own = no_plan_view(NO_PLAN, "fleet")
    rows = Page(page(own)).rows

    assert own.text == no_plan(NO_PLAN)
    for need in NO_PLAN.needs:
        assert any(row[0] == f"{need.role}, at least" and row[1].endswith(f"{need.total_bytes:,}") for row in rows)
    for number, conflict in enumerate(NO_PLAN.conflicts, 1):
        told = next(row for row in rows if row[0] == f"conflict {number}")
        assert all(item.path in told[1] for item in conflict.requirements)
    for change in NO_PLAN.changes:
        assert any(row[0] == change.path and row[1] == (change.after or "nothing") for row in rows)


def test_names_of_what_is_compared_never_become_html() -> None:
    own, _, _ = compared()
    assert own.scenarios and own.changes and own.frontier
    row = replace(own.scenarios.rows[0], name=HOSTILE, gpus=HOSTILE, why=HOSTILE, change=HOSTILE)
    wild = Compared(
        scenarios=replace(own.scenarios, roles=(HOSTILE,), rows=(row,)),
        frontier=replace(own.frontier, x=HOSTILE, roles=(HOSTILE,), text=HOSTILE),
        changes=replace(own.changes, lines=(HOSTILE,), fleet_diff=HOSTILE),
    )
    found = Page(page(no_plan_view(replace(NO_PLAN, fleet=HOSTILE), HOSTILE), wild))

    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in Page(page(example()[1], own)).elements}
    assert len(found.scripts) == 3


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)], prog_name="planner")
    return result.exit_code, result.output


def test_a_fleet_is_solved_and_its_page_is_that_of_its_plan(tmp_path: Path) -> None:
    fleet = EXAMPLE.parent / "coder-alone" / "fleet.yaml"
    code, said = run(fleet, "--out", tmp_path / "one.html")
    plan = plan_from_yaml(fleet.parent / "plan.yaml")

    assert (code, said.split()) == (0, ["create", str(tmp_path / "one.html")])
    assert plan_to_yaml(plan).splitlines()[1] in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_a_fleet_without_a_plan_has_a_page_that_says_why(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    text = (EXAMPLE.parent / "coder-alone" / "fleet.yaml").read_text(encoding="utf-8")
    fleet.write_text(re.sub(r"^gpu:.*$", "gpu: rtx-3060", text, flags=re.M), encoding="utf-8")
    code, _ = run(fleet, "--out", tmp_path / "none.html")

    assert code == 3
    assert "no plan exists for" in (tmp_path / "none.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("axes", ["concurrency", "concurrency,concurrency", "concurrency,beauty"])
def test_axes_that_are_no_two_axes_are_refused(axes: str, tmp_path: Path) -> None:
    code, said = run(EXAMPLE / "plan.yaml", "--pareto", axes, "--out", tmp_path / "x.html")

    assert code == 2
    assert "expected two of" in said


def test_a_fleet_with_no_frontier_has_none_to_show() -> None:
    assert isinstance(NO_PLAN, NoPlan)
    assert frontier_view(NO_PLAN, load_fleet(EXAMPLE / "fleet.yaml", load_catalog())) is None
