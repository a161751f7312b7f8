"""From fleet to plan and from fleet to explanation, with the shipped catalog."""

import math
from typing import Any

import pytest
from fleets import PAIR, catalog, changed, fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from solving import planned, refused

from planner.check import check
from planner.conflict.minimal import minimal
from planner.conflict.requirements import requirements, without
from planner.conflict.sizing import Sizing
from planner.engine.profile import load_profile
from planner.fleet import Fleet
from planner.plan import Change, NoPlan, Plan, plan_to_yaml
from planner.solve import solve
from planner.solve.assemble import utilization
from planner.units import GIB
from planner.yaml_source import parse_yaml

FP16 = changed(
    changed(changed(PAIR, "roles.coder.schemes", ["bf16", "fp16"]), "roles.general.models", ["qwen2.5-14b-instruct"]),
    "roles.general.schemes", ["bf16", "fp16"],
)  # fmt: skip
"""Two unquantized models that do not fit one 96 GB card together."""


def sizing() -> Sizing:
    return Sizing(catalog(), load_profile("0.33.0"))


def values(found: Plan) -> list[int]:
    return [stage.value for stage in found.proof.stages]


def test_a_plan_is_proven_and_adds_up() -> None:
    found = planned(PAIR)
    gpu = found.gpus[0]
    taken = sum(server.ledger.total_bytes for server in found.servers)

    assert found.proof.proven
    assert gpu.total_bytes == gpu.memory_in_use_bytes + taken + gpu.free_bytes
    assert gpu.free_bytes >= 0


def test_a_plan_on_unified_memory_leaves_what_a_booted_system_holds() -> None:
    """Of 121.7 GiB, CUDA found 101.3 to 110.4 free after boot; a share of the total must be free on the largest too."""
    spark = {
        "name": "spark",
        "gpu": "GB10",
        "roles": {
            "chat": {
                "task": "general",
                "models": ["Qwen3-30B-A3B"],
                "context": "32k",
                "concurrency": {"min": 1, "target": 512},
            }
        },
    }
    found = planned(spark)
    (gpu,), (server,) = found.gpus, found.servers

    assert gpu.total_bytes - gpu.free_bytes - gpu.system_bytes == server.ledger.total_bytes
    assert server.ledger.total_bytes <= 101.3 * GIB
    assert server.gpu_memory_utilization * 121.7 * GIB <= 101.3 * GIB


def test_the_order_of_the_roles_in_the_file_changes_nothing() -> None:
    other = {**PAIR, "roles": dict(reversed(PAIR["roles"].items()))}

    assert plan_to_yaml(planned(other)) == plan_to_yaml(planned(PAIR))


def test_memory_taken_by_others_never_makes_a_plan_better() -> None:
    before = values(planned(PAIR))
    for size in ("4GiB", "16GiB", "30GiB", "45GiB"):
        after = values(planned(changed(PAIR, "gpu.memory_in_use", size)))

        assert after <= before
        before = after


def test_a_second_gpu_never_makes_a_plan_worse() -> None:
    one, two = planned(PAIR), planned(changed(PAIR, "gpu.count", 2))

    assert values(one)[:-1] <= values(two)[:-1]
    assert {index for server in two.servers for index in server.gpu_indices} <= {0, 1}


def test_an_objective_of_many_terms_does_not_overflow_the_solver() -> None:
    many = changed(PAIR, "roles.coder.concurrency.target", 64)

    assert planned(changed(many, "objective", "accuracy")).proof.proven


@pytest.mark.parametrize("objective", ["balanced", "accuracy", "concurrency", ["concurrency", "accuracy"]])
def test_no_other_objective_reaches_more_of_the_first_thing_asked_for(objective: str | list[str]) -> None:
    document = changed(PAIR, "gpu.memory_in_use", "40GiB")
    own = planned(changed(document, "objective", objective))
    first = own.proof.stages[0].name

    for other in ("balanced", "accuracy", "concurrency"):
        found = planned(changed(document, "objective", other))
        reached = {stage.name: stage.value for stage in found.proof.stages}
        assert reached.get(first, 0) <= own.proof.stages[0].value


def test_the_runner_up_uses_other_variants_and_is_no_better() -> None:
    found = planned(PAIR)

    assert found.runner_up
    assert [server.repository for server in found.runner_up.servers] != [s.repository for s in found.servers]
    assert [stage.value for stage in found.runner_up.stages] <= values(found)


def test_the_runner_up_is_the_best_plan_without_one_of_the_chosen_variants() -> None:
    found = planned(PAIR)
    best: list[int] = []
    for server in found.servers:
        role = fleet(PAIR).role(server.role)
        others = [v.repository for model in role.models for v in model.variants if v.repository != server.repository]
        for name in others:
            answer = solve(fleet(changed(PAIR, f"roles.{server.role}.variant", name)), catalog())
            if isinstance(answer, Plan):
                best = max(best, values(answer))

    assert found.runner_up
    assert [stage.value for stage in found.runner_up.stages][1:] == best[1:]


def test_what_memory_stops_does_not_fit() -> None:
    found = planned(changed(PAIR, "gpu.memory_in_use", "55GiB"))
    stopped = [binding for binding in found.bindings if binding.limit == "memory"]

    assert stopped
    assert all(binding.needed_bytes > binding.free_bytes for binding in stopped)


@given(st.integers(1 << 20, 1 << 38), st.data())
def test_utilization_is_the_largest_that_the_engine_accepts(total: int, data: st.DataObject) -> None:
    allowed = data.draw(st.integers(total // 5000, total))
    share = utilization(total, allowed)

    assert math.ceil(total * share) <= allowed
    assert share >= 1 or math.floor(total * (share + 0.0001)) >= allowed - 1


def test_servers_start_in_an_order_in_which_each_finds_its_memory() -> None:
    found = planned(PAIR)
    total = found.gpus[0].total_bytes
    free = total - found.gpus[0].memory_in_use_bytes
    for name in found.start_order:
        server = found.server(name)
        assert math.ceil(total * server.gpu_memory_utilization) <= free - server.ledger.baseline_bytes
        free -= server.ledger.total_bytes


MANY = {"min": 400, "target": 400}
CONFLICTS = {
    "fp16": FP16,
    "context": changed(changed(FP16, "roles.coder.schemes", None), "roles.coder.concurrency", MANY),
    "memory in use": changed(changed(PAIR, "gpu.memory_in_use", "80GiB"), "roles.coder.schemes", ["gptq-int4"]),
    "floors": changed(changed(PAIR, "roles.coder.accuracy", {"recovery": 99.5}), "gpu.name", "rtx-a6000"),
    "scheme and score": changed(PAIR, "roles.coder.accuracy", {"score": 90}),
    "kv cache": changed(changed(PAIR, "roles.general.kv_cache_dtype", "auto"), "roles.general.concurrency", MANY),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_conflict_is_minimal(name: str) -> None:
    found, sizes = fleet(CONFLICTS[name]), sizing()
    core = minimal(found, sizes)
    kept = {item.requirement for item in core}
    rest = [item for item in requirements(found) if item.requirement not in kept]

    assert core
    assert not sizes.fits(without(found, rest))
    for item in core:
        assert sizes.fits(without(found, [*rest, item])), item.requirement.path


@pytest.mark.parametrize("name", CONFLICTS)
def test_every_change_offered_makes_a_plan(name: str) -> None:
    answer = refused(CONFLICTS[name])

    assert answer.conflicts
    for change in answer.changes:
        assert isinstance(solve(fleet(applied(CONFLICTS[name], change)), catalog()), Plan), change


def applied(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """Edit the file as a reader of the hint would."""
    value: Any = change.after or None
    if change.path.endswith(".schemes"):
        value = change.after.split(", ")
    elif change.path == "time_share":
        value = parse_yaml(change.after, "hint").data
    elif change.after.isdecimal() or (change.path.startswith(("roles",)) and ".accuracy." in change.path):
        value = float(change.after) if "." in change.after else int(change.after)
    return changed(document, change.path, value)


def test_a_smaller_step_than_the_one_offered_does_not_help() -> None:
    document = changed(changed(PAIR, "roles.coder.variant", "deepseek-ai/deepseek-coder-33b-instruct"),
                       "roles.coder.concurrency", {"min": 60, "target": 60})  # fmt: skip
    offered = [change for change in refused(document).changes if change.path == "roles.coder.concurrency.min"]

    assert len(offered) == 1
    one_more = changed(document, "roles.coder.concurrency.min", int(offered[0].after) + 1)
    assert isinstance(solve(fleet(one_more), catalog()), NoPlan)


def test_the_most_replicas_that_fit_beside_an_exclusive_role_are_offered() -> None:
    """So many servers that counting and packing answer, not the solver."""
    document = {
        "name": "crowd",
        "engine": {"name": "vllm", "version": "0.33.0"},
        "nodes": {"node": {"gpu": "L4", "gpus": 2}},
        "roles": {
            "alone": {"task": "general", "models": ["qwen3-8b"], "exclusive": True, "context": "4k", "concurrency": 4},
            "many": {"task": "general", "models": ["qwen3-0.6b"], "replicas": 90, "context": 512, "concurrency": 90},
        },
    }
    answer = refused(document)
    (offered,) = (change for change in answer.changes if change.path == "roles.many.replicas")
    most = changed(document, offered.path, int(offered.after))

    assert not answer.cut
    assert len(planned(most).servers) == 1 + int(offered.after)
    assert not sizing().fits(fleet(changed(document, offered.path, int(offered.after) + 1)))


def test_the_deficit_is_what_a_larger_gpu_must_have() -> None:
    found = fleet(FP16)
    answer = refused(FP16)

    assert answer.deficit_bytes > 0
    assert sizing().fits(_grown(found, answer.deficit_bytes))
    assert not sizing().fits(_grown(found, answer.deficit_bytes - 1))


def _grown(found: Fleet, more_bytes: int) -> Fleet:
    gpu = replace(found.gpu, name="larger", memory_bytes=found.gpu.memory_bytes + more_bytes)
    return found.with_pool(replace(found.pools[0], gpu=gpu))


def test_a_role_nothing_is_left_for_is_named_with_its_rejections() -> None:
    answer = refused(changed(PAIR, "gpu.name", "rtx-4080"))

    assert answer.empty_roles == ("coder",)
    # Checkpoints whose groups are ordered by activation are refused by the engine before they could be too large.
    assert {item.reason for item in answer.rejections if item.role == "coder"} == {"memory", "capability"}


def test_a_plan_serves_something_even_when_every_role_may_be_left_out() -> None:
    optional = changed(changed(PAIR, "roles.coder.optional", True), "roles.general.optional", True)

    assert planned(changed(optional, "objective", "cost")).servers
    assert refused(changed(optional, "gpu.memory_in_use", "94GiB")).needs


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["24GiB", "40GiB", "60GiB", "75GiB", "85GiB"]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 4, 16]),
    st.sampled_from(["4k", "8k", "16k"]),
)
def test_every_answer_holds(in_use: str, gpus: int, requests: int, context: str) -> None:
    document = changed(changed(PAIR, "gpu.memory_in_use", in_use), "gpu.count", gpus)
    document = changed(document, "roles.coder.concurrency", {"min": requests, "target": 16})
    document = changed(changed(document, "roles.coder.request", None), "roles.coder.context.min", context)
    found = fleet(document)

    answer = solve(found, catalog())

    if isinstance(answer, Plan):
        assert check(answer, found, catalog()) == []
    else:
        assert not sizing().fits(found)
        assert answer.conflicts


def test_no_replica_is_called_as_another_role() -> None:
    document = changed(changed(PAIR, "gpu.count", 3), "roles.general.replicas", 2)
    document["roles"]["general-1"] = document["roles"]["coder"]
    del document["roles"]["coder"]
    found = fleet(document)

    answer = solve(found, catalog())

    assert isinstance(answer, Plan)
    assert [server.name for server in answer.servers] == ["general-1", "general_1", "general_2"]
    assert check(answer, found, catalog()) == []


def test_all_replicas_may_share_the_only_gpu_that_is_left() -> None:
    chat = {"task": "general", "models": ["qwen3-8b"], "context": "8k", "exclusive": True}
    small = {"task": "embedding", "models": ["Qwen/Qwen3-Embedding-0.6B"], "context": "2k", "replicas": 6}
    found = planned(
        {"name": "six", "gpu": {"name": "a100-80gb-sxm", "count": 2}, "roles": {"small": small, "chat": chat}}
    )

    assert len({server.gpu_indices for server in found.servers if server.role == "small"}) == 1


def test_a_parser_that_the_engine_lacks_is_left_out() -> None:
    role = {"task": "reasoning", "models": ["Seed-OSS-36B-Instruct"], "context": "4k"}
    document = {"name": "seed", "gpu": "h200-sxm", "roles": {"only": role}}
    old = planned({**document, "engine": {"name": "vllm", "version": "0.10.2"}}).servers[0]
    new = planned({**document, "engine": {"name": "vllm", "version": "0.12.0"}}).servers[0]

    assert (old.tool_parser, old.reasoning_parser) == ("seed_oss", "")
    assert (new.tool_parser, new.reasoning_parser) == ("seed_oss", "seed_oss")
