"""Fleets of cases/search and what their answer must be, compared with the answers of fleets a little different."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleets import catalog, changed, fleet

from planner import explain
from planner.conflict.minimal import cores
from planner.conflict.requirements import as_required, drop_role, requirements, without
from planner.conflict.sizing import Sizing
from planner.engine.profile import load_profile
from planner.plan import Change, NoPlan, Plan
from planner.solve import solve_and_check
from planner.yaml_source import parse_yaml

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "cases" / "search" / "answers.yaml").read_text(encoding="utf-8")
)


def cases(kind: str) -> pytest.MarkDecorator:
    found = [case for case in CASES if kind in case]
    assert found
    return pytest.mark.parametrize("case", found, ids=lambda case: case["id"])


def planned(document: dict[str, Any], previous: Plan | None = None) -> Plan | None:
    answer = solve_and_check(fleet(document), catalog(), previous=previous)
    return answer if isinstance(answer, Plan) else None


def edited(document: dict[str, Any], edits: dict[str, Any]) -> dict[str, Any]:
    for path, value in edits.items():
        document = changed(document, path, value)
    return document


def values(plan: Plan | None) -> tuple[int, ...]:
    """What is maximised, but for headroom; nothing without a plan."""
    return tuple(stage.value for stage in plan.proof.stages if stage.name != "headroom") if plan else ()


@cases("as_good_as_replicas")
def test_an_open_number_of_replicas_is_as_good_as_any(case: dict[str, Any]) -> None:
    open_number = planned(case["fleet"])
    assert open_number
    assert open_number.proof.proven
    for role, most in case["as_good_as_replicas"].items():
        fixed = [
            values(planned(changed(case["fleet"], f"roles.{role}.replicas", count))) for count in range(1, most + 1)
        ]
        assert values(open_number) == max(fixed)


@cases("as_good_as")
def test_less_freedom_makes_no_plan_better(case: dict[str, Any]) -> None:
    plan = planned(case["fleet"])
    assert plan
    for edits in case["as_good_as"]:
        served = {role.name: role.concurrency_target for role in fleet(case["fleet"]).roles}
        other = planned(edited(case["fleet"], edits))
        assert other is None or share(plan, served) >= share(other, served)


def share(plan: Plan, targets: dict[str, int]) -> int:
    """The requests served, as far as they are wanted."""
    return sum(
        min(target, sum(server.max_num_seqs for server in plan.servers if server.role == role))
        for role, target in targets.items()
    )


@cases("stays_when")
def test_what_meets_every_requirement_stays(case: dict[str, Any]) -> None:
    before = planned(case["fleet"])
    after = planned(edited(case["fleet"], case["stays_when"]), before)

    assert before
    assert after
    assert after.servers == before.servers


@cache
def refused(name: str) -> NoPlan:
    """Why the fleet of a case has no plan."""
    (document,) = [case["fleet"] for case in CASES if case["id"] == name]
    answer = solve_and_check(fleet(document), catalog())
    assert isinstance(answer, NoPlan)
    return answer


@cases("hints")
def test_every_hint_makes_a_plan(case: dict[str, Any]) -> None:
    answer = refused(case["id"])
    text = explain.no_plan(answer)
    for hint in case["hints"]:
        assert f"hint: {hint}" in text
    assert len(answer.conflicts) == case.get("conflicts", 1)
    for made in (*((change,) for change in answer.changes), *answer.pairs):
        assert planned(edited(case["fleet"], {change.path: value(change) for change in made})), made


def value(change: Change) -> Any:  # noqa: ANN401 - any YAML value
    """What a reader of a hint writes; nothing where something is to go."""
    if change.path.endswith(".schemes") and change.after:
        return change.after.split(", ")
    if change.path == "time_share":
        return parse_yaml(change.after, "hint").data
    return int(change.after) if change.after.isdecimal() else change.after or None


@cases("hints")
def test_every_conflict_is_minimal_and_decisive_only_where_it_says_so(case: dict[str, Any]) -> None:
    found = as_required(fleet(case["fleet"]))
    sizes = Sizing(catalog(), load_profile(None))
    for core in cores(found, sizes):
        kept = {item.requirement for item in core}
        rest = [item for item in requirements(found) if item.requirement not in kept]
        assert not sizes.solved(without(found, rest))
        for item in core:
            assert sizes.solved(without(found, [*rest, item])), item.requirement
    for one in refused(case["id"]).conflicts:
        some = [item for item in requirements(found) if item.requirement in one.requirements]
        assert one.decisive == all(sizes.solved(without(found, [item])) for item in some)


def _pinned() -> dict[str, Any]:
    """Without CUDA graphs one server fits over two of the cards, so that two are too many; with them not even one."""
    role = {"task": "chat", "models": ["Llama-3.2-3B-Instruct"], "schemes": ["fp8"], "context": {"min": "16k"},
            "concurrency": 1, "replicas": 2, "pipeline_parallel": 1, "eager": True,
            "request": {"prompt_tokens": 1500, "output_tokens": 500}}  # fmt: skip
    nodes = {"x": {"gpu": "RTX 4060 Ti 16GB", "memory_in_use": "12GiB", "count": 3}}
    return {"name": "f", "nodes": nodes, "roles": {"a": role}}


def _alone() -> dict[str, Any]:
    """A server with its card to itself lacks a second card; one that others may be beside is too slow on any."""

    def role(model: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any YAML value
        request = {"prompt_tokens": 800, "output_tokens": 400}
        return {"task": "general", "models": model, "schemes": "bf16", "context": "4k", "request": request, **more}

    quick = role("Qwen2.5-1.5B-Instruct", concurrency=1, exclusive=True, speed="8ms")
    nodes = {"x": {"gpu": "RTX 4090", "memory_in_use": "22GiB"}, "y": {"gpu": "L40S"}}
    return {"name": "f", "nodes": nodes, "roles": {"a": role("Qwen2.5-7B-Instruct", concurrency=1), "b": quick}}


@pytest.mark.parametrize("document", [_pinned(), _alone()], ids=["pin", "exclusive"])
def test_what_decided_only_beside_another_requirement_is_no_part_of_a_conflict_without_that(
    document: dict[str, Any],
) -> None:
    found, sizes = fleet(document), Sizing(catalog(), load_profile(None))
    (core,) = cores(found, sizes)
    rest = [item for item in requirements(found) if item.requirement not in {one.requirement for one in core}]

    assert not sizes.solved(without(found, rest))
    assert [item.requirement.path for item in core if not sizes.solved(without(found, [*rest, item]))] == []


def test_roles_that_may_be_awake_together_once_another_is_gone_take_no_turns() -> None:
    role = {"task": "general", "models": "Qwen2.5-7B-Instruct", "context": "4k"}
    turns = {"time_share": [["a", "b", "c"]], "between_turns": "sleep"}
    three, two = (
        {"name": "f", "gpu": "RTX 4090", "roles": {name: {**role} for name in names}} for names in ("abc", "ac")
    )

    both = drop_role(fleet({**three, **turns, "max_resident": 2}), "b")
    one = drop_role(fleet({**three, **turns}), "b")

    assert (both.roles, both.time_share) == (fleet(two).roles, ())
    assert one.time_share == fleet({**two, "time_share": [["a", "c"]]}).time_share
    assert {left.sleeps for left in one.roles} == {1}


def test_a_conflict_names_what_is_required_though_a_role_that_may_be_left_out_does_not_fit_either() -> None:
    def large(scheme: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any YAML value
        return {"task": "general", "models": ["Qwen2.5-7B-Instruct"], "schemes": [scheme], "context": "4k", **more}

    roles = {"a": large("bf16", optional=True), "b": large("gptq-int8")}
    answer = solve_and_check(
        fleet({"name": "f", "gpu": {"name": "RTX 4090", "memory_in_use": "18GiB"}, "roles": roles}), catalog()
    )

    assert isinstance(answer, NoPlan)
    (found,) = answer.conflicts
    assert {"roles.b", "gpu.memory_in_use"} <= {one.path for one in found.requirements}
    assert found.deficit_bytes > 0
