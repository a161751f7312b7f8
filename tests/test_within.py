"""Within: a plan of roles without models is the same, whether or not a first plan says what is worth sizing."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleets import fleet

from planner.catalog import load_catalog
from planner.engine.profile import load_profile
from planner.options import prepare
from planner.plan import Plan
from planner.plan.account import Account
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
    return dataclasses.replace(plan, proof=dataclasses.replace(plan.proof, model_sha256=""))


def planned(document: dict[str, Any]) -> Plan:
    found = solve(fleet(document), load_catalog())
    assert isinstance(found, Plan)
    return found


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


def test_what_there_was_no_time_for_is_in_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    best = planned(FLEETS["tight"]).proof.stages[0]
    monkeypatch.setattr(sys.modules["planner.options.prepare"], "LOOKS", 40)
    monkeypatch.setenv("PLANNER_NO_CACHE", "1")
    found = planned(FLEETS["tight"]).proof

    assert not found.proven
    assert found.stages[0].value <= best.value <= found.stages[0].bound
