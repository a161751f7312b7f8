"""Within: a plan of roles without models is the same, whether or not a first plan says what is worth sizing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleets import fleet
from msgspec.structs import replace

from planner.catalog import load_catalog
from planner.cli.plan_text import plan_text
from planner.engine.profile import load_profile
from planner.explain import no_plan
from planner.options import prepare
from planner.plan import NoPlan, Plan
from planner.plan.account import Account
from planner.search.budget import LOOKS, BudgetSpent, spending
from planner.search.optimise import optimise
from planner.search.problem import Answer, Problem
from planner.solve import solve
from planner.solve.account import account
from planner.solve.within import prepared_within


def embed(**more: object) -> dict[str, Any]:
    return {"task": "embedding", "context": "2k", "concurrency": {"min": 4, "target": 8}} | more


OPEN: dict[str, Any] = {
    "name": "open",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "rtx-3090", "count": 2},
    "roles": {
        "embed": embed(weight=2),
        "rerank": embed(task="rerank", replicas="auto", optional=True),
    },
}
FLEETS = {
    "tight": OPEN | {"gpu": {"name": "rtx-3090", "count": 2, "memory_in_use": "15GiB"}},
    "cheap": OPEN | {"objective": ["cost", "accuracy"]},
}


@pytest.fixture(autouse=True)
def _many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Look for a first plan in small catalogs too, and forget it afterwards."""
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path))
    monkeypatch.setattr("planner.solve.within.MANY", 8)
    yield


def plain(plan: Plan) -> Plan:
    """Return a plan without the digest of its model, which has as many options as were sized."""
    return replace(plan, proof=replace(plan.proof, model_sha256=""))


def planned(document: dict[str, Any]) -> Plan:
    found = solve(fleet(document), load_catalog())
    assert isinstance(found, Plan)
    return found


def test_what_is_remembered_takes_as_much_of_the_budget_as_it_took() -> None:
    open_fleet, profile = fleet(OPEN), load_profile("0.33.0")
    left = []
    for _ in range(2):
        with spending(60) as purse:
            prepared_within(open_fleet, load_catalog(), profile)
        left.append((purse.left, purse.looks))

    assert left[0] == left[1]
    assert left[0][0] < 60


def test_the_plan_found_first_is_told_where_no_better_one_is_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        """Find too little that is enough, as with many GPUs that are nearly full."""

    monkeypatch.setattr("planner.solve.within.prepare_within", nothing)
    all_of_it = prepared_within(fleet(OPEN), load_catalog(), load_profile("0.33.0"))
    most = sum(len(one.options) for one in all_of_it.roles)

    def late(asked: Problem, budget: int) -> Answer | None:
        if sum(len(role.candidates) for role in asked.roles) >= most:
            raise BudgetSpent(budget)
        return optimise(asked, budget)

    monkeypatch.setattr("planner.solve.engine_version.optimise", late)
    plan = planned(OPEN)

    assert {server.role for server in plan.servers} == {"embed", "rerank"}
    assert not any(stage.proven for stage in plan.proof.stages)
    assert {one.role for one in plan.proof.unsearched} == {"embed", "rerank"}


@pytest.mark.parametrize("name", FLEETS)
def test_plan_and_runner_up_are_those_of_all_options(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planned(FLEETS[name])
    kept = list((tmp_path / "made").glob("within-*"))
    second = planned(FLEETS[name])
    monkeypatch.setattr("planner.solve.engine_version.prepared_within", prepare)

    assert len(kept) == 1
    assert plain(first) == plain(planned(FLEETS[name]))
    assert second == first


def test_what_cannot_be_in_the_plan_is_not_sized() -> None:
    asked, catalog, profile = fleet(OPEN), load_catalog(), load_profile("0.33.0")
    some, every = prepared_within(asked, catalog, profile), prepare(asked, catalog, profile)

    for few, many in zip(some.roles, every.roles, strict=True):
        assert {option.variant.repository for option in few.options} <= {o.variant.repository for o in many.options}
    assert sum(len(few.options) for few in some.roles) < sum(len(many.options) for many in every.roles)


def test_explanations_go_on_to_what_reaches_less() -> None:
    found = account(fleet(OPEN), load_catalog())

    assert isinstance(found, Account)
    assert all(one.runner_up for one in found.alternatives)


def test_what_there_was_no_time_for_is_in_the_bound_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    best = planned(FLEETS["tight"]).proof.stages[0]
    monkeypatch.setattr("planner.search.budget.LOOKS", 3_000)
    monkeypatch.setenv("PLANNER_NO_CACHE", "1")
    plan = planned(FLEETS["tight"])
    found, text = plan.proof, plan_text(plan)

    assert not found.proven
    assert found.stages[0].value <= best.value <= found.stages[0].bound
    assert {(one.what, one.role) for one in found.unsearched} >= {("options", "embed"), ("options", "rerank")}
    assert "some options of roles.embed; less is open with models, schemes" in text.replace("\n    ", " ")
    assert "not proven best" in text
    assert "proven best for" not in text.replace("not proven best for", "")


def test_a_budget_too_small_for_any_plan_is_no_proof_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.search.budget.LOOKS", 800)
    monkeypatch.setenv("PLANNER_NO_CACHE", "1")

    with pytest.raises(BudgetSpent, match=r"roles\.embed, roles\.rerank .* name fewer models"):
        planned(FLEETS["tight"])


def test_what_is_remembered_takes_as_much_of_the_budget_as_finding_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    with spending(60) as first:
        prepared_within(fleet(OPEN), load_catalog(), load_profile("0.33.0"))
    with spending(60) as second:
        prepared_within(fleet(OPEN), load_catalog(), load_profile("0.33.0"))

    assert first.looks == second.looks < LOOKS


def test_hints_end_with_the_budget_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    role = {"task": "general", "concurrency": 64}
    roles = {name: role | {"context": "32k", "models": ["qwen3-8b", "qwen3-14b"]} for name in ("one", "two")}
    asked = OPEN | {"gpu": {"name": "rtx-3090", "count": 2, "memory_in_use": "22GiB"}, "roles": roles}
    monkeypatch.setattr("planner.search.budget.LOOKS", 20_000)
    found = solve(fleet(asked), load_catalog())

    assert isinstance(found, NoPlan)
    assert found.cut
    assert "the budget ran out" in no_plan(found)
