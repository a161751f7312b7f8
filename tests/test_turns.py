"""Roles that take turns, from the fleet file to the plan: what fits, what it says, and what is refused."""

import json
from itertools import combinations
from typing import Any

import pytest
from fleets import catalog, fleet
from msgspec.structs import replace

from planner import explain
from planner.artifacts import render
from planner.check import check
from planner.errors import InputError
from planner.explain.account_text import account
from planner.fleet import Fleet
from planner.plan import NoPlan, Plan, differences, plan_from_yaml, plan_to_yaml
from planner.plan.account import Account
from planner.solve import solve_and_check
from planner.tensors.allocator import allocated_bytes, pinned_bytes
from planner.units import GIB, MIB, format_gib

WRITER: dict[str, Any] = {"task": "chat", "models": ["Qwen3-14B"], "variant": "Qwen/Qwen3-14B-AWQ", "context": "8k"}
CODER: dict[str, Any] = {"task": "code", "models": ["Qwen3-Coder-30B-A3B-Instruct"], "context": "8k"}
DESK: dict[str, Any] = {
    "name": "desk",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": "RTX 4090",
    "roles": {"writer": WRITER, "coder": CODER},
}


def written(keys: dict[str, Any]) -> dict[str, Any]:
    """Return keys without those that are None, nothing in them twice the same object: the file has no aliases."""
    return json.loads(json.dumps({key: value for key, value in keys.items() if value is not None}))  # type: ignore[no-any-return]


def desk(**changes: Any) -> Fleet:  # noqa: ANN401 - any key of a fleet
    return fleet(written({**DESK, **changes}))


def solved(wanted: Fleet) -> Plan:
    found = solve_and_check(wanted, catalog())
    assert isinstance(found, Plan)
    return found


@pytest.fixture(scope="module")
def asleep() -> Plan:
    return solved(desk(time_share=[["writer", "coder"]]))


def test_what_does_not_fit_together_fits_in_turns(asleep: Plan) -> None:
    together = solve_and_check(desk(), catalog())

    assert isinstance(together, NoPlan)
    assert any(change.path == "time_share" for change in together.changes)
    assert "hint: set time_share to [[coder, writer]]\n" in explain.no_plan(together)
    assert asleep.awake_sets == (("coder",), ("writer",))


def test_a_gpu_holds_the_largest_awake_set_and_what_the_others_keep(asleep: Plan) -> None:
    (gpu,) = asleep.gpus
    sizes = {server.role: (server.ledger.total_bytes, server.asleep) for server in asleep.servers}
    moments = []
    for awake in asleep.awake_sets:
        taken = 0
        for role, (total, kept) in sizes.items():
            assert kept is not None
            taken += total if role in awake else kept.gpu_bytes
        moments.append(taken)

    assert gpu.free_bytes == gpu.total_bytes - max(moments) >= 0
    assert sum(total for total, _ in sizes.values()) > gpu.total_bytes


def test_a_sleeper_keeps_what_is_not_weights_or_cache(asleep: Plan) -> None:
    for server in asleep.servers:
        assert server.asleep
        ledger = server.ledger
        outside = ledger.baseline_bytes + ledger.non_torch_bytes + ledger.cuda_graph_bytes + ledger.margin_bytes
        assert server.asleep.how == "sleep"
        assert outside <= server.asleep.gpu_bytes <= outside + ledger.activation_bytes
        assert ledger.weights_bytes <= server.asleep.host_bytes < 2 * ledger.weights_bytes + GIB


def test_the_plan_says_what_a_change_takes(asleep: Plan) -> None:
    text = explain.turns(asleep)
    coder, writer = asleep.server("coder").asleep, asleep.server("writer").asleep
    assert coder
    assert writer

    assert "awake together: coder; or writer" in text
    assert f"a change from coder to writer takes {explain.seconds(coder.leave + writer.enter)}" in text
    assert f"2 sleeping servers keep {format_gib(coder.host_bytes + writer.host_bytes)} of the machine's memory" in text
    assert coder.leave.low_ms < coder.leave.high_ms


def test_explain_says_who_may_be_awake_together_and_what_sleepers_keep(asleep: Plan) -> None:
    facts = Account(plan=asleep, alternatives=(), left_out=(), growths=())
    text = account(facts)

    assert explain.turns(asleep) in text
    assert "in between writer sleeps with its weights in the machine's memory: " in text
    assert explain.turns(asleep) not in account(facts, "finder")


def test_the_plan_survives_its_file(asleep: Plan, tmp_path: Any) -> None:  # noqa: ANN401
    path = tmp_path / "plan.yaml"
    path.write_text(plan_to_yaml(asleep), encoding="utf-8")

    assert plan_from_yaml(path) == asleep


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"awake_sets": (("coder", "writer"),)}, "GPU 0 of desk"),
        ({"awake_sets": (("coder",), ("coder",), ("writer",))}, "awake sets"),
        ({"time_share": ()}, "time share"),
    ],
)
def test_the_check_notices_other_turns(asleep: Plan, change: dict[str, Any], where: str) -> None:
    wrong = replace(asleep, **change)

    found = check(wrong, desk(time_share=[["writer", "coder"]]), catalog())

    assert where in {violation.where for violation in found}


def test_the_check_notices_a_sleeper_that_keeps_more(asleep: Plan) -> None:
    servers = []
    for server in asleep.servers:
        assert server.asleep
        lean = replace(server.asleep, gpu_bytes=server.asleep.gpu_bytes - MIB)
        servers.append(replace(server, asleep=lean))
    (gpu,) = asleep.gpus
    roomy = replace(gpu, shared_bytes=gpu.shared_bytes + MIB, free_bytes=gpu.free_bytes + MIB)

    found = check(
        replace(asleep, servers=tuple(servers), gpus=(roomy,)),
        desk(time_share=[["writer", "coder"]]),
        catalog(),
    )

    kept = [server.asleep.gpu_bytes for server in asleep.servers if server.asleep]
    assert {violation.message for violation in found} >= {
        f"what it keeps between its turns is wrong: gpu_bytes {one - MIB}, recomputed {one}" for one in kept
    }


def test_roles_stop_where_the_machine_has_no_memory_for_sleepers(asleep: Plan) -> None:
    gpu = {"name": "RTX 4090", "host_memory": "16GiB"}
    found = solved(desk(gpu=gpu, time_share=[["writer", "coder"]]))

    assert {server.asleep.how for server in found.servers if server.asleep} == {"stop"}
    assert found.host_bytes == 0
    assert any(item.field == "asleep" for item in differences(asleep, found))


def test_sleep_that_was_asked_for_is_a_requirement() -> None:
    gpu = {"name": "RTX 4090", "host_memory": "16GiB"}
    found = solve_and_check(desk(gpu=gpu, time_share=[["writer", "coder"]], between_turns="sleep"), catalog())

    assert isinstance(found, NoPlan)
    required = {item.path for conflict in found.conflicts for item in conflict.requirements}
    assert {"between_turns", "gpu.host_memory"} <= required
    assert {"between_turns", "gpu.host_memory"} <= {change.path for change in found.changes}


def test_without_its_weights_a_sleeper_needs_no_memory_of_the_machine() -> None:
    gpu = {"name": "RTX 4090", "host_memory": "16GiB"}
    found = solved(desk(gpu=gpu, time_share=[["writer", "coder"]], between_turns="sleep-2"))

    assert {server.asleep.how for server in found.servers if server.asleep} == {"sleep-2"}
    assert found.host_bytes == 0


def test_several_of_a_group_may_be_awake() -> None:
    roles = {"writer": WRITER, "coder": CODER, "thinker": {**WRITER, "task": "reasoning"}}
    found = solved(desk(gpu={"name": "RTX 4090", "count": 2}, roles=roles, max_resident=2))

    names = ("coder", "thinker", "writer")
    assert found.awake_sets == tuple(combinations(names, 2))
    assert all(gpu.free_bytes >= 0 for gpu in found.gpus)


def test_a_role_in_no_group_is_always_awake() -> None:
    finder = {"task": "embedding", "models": ["bge-base-en-v1.5"], "context": 512}
    found = solved(desk(roles={"writer": WRITER, "coder": CODER, "finder": finder}, time_share=[["writer", "coder"]]))

    assert found.awake_sets == (("coder", "finder"), ("finder", "writer"))
    assert found.server("finder").asleep is None


def test_nobody_takes_turns_where_all_who_would_are_left_out() -> None:
    large = {"schemes": "bf16", "variant": None, "optional": True}
    roles = {
        "writer": {**WRITER, **large},
        "coder": {**CODER, **large},
        "finder": {"task": "embedding", "models": ["bge-base-en-v1.5"], "context": 512},
    }
    found = solved(desk(roles={name: written(role) for name, role in roles.items()}, time_share=[["writer", "coder"]]))

    assert found.left_out == ("coder", "writer")
    assert explain.turns(found) == ""
    assert "turns.sh" not in render(found)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"time_share": [["writer", "codr"]]}, "time_share[0][1]", "unknown role 'codr'"),
        ({"time_share": [["writer"]]}, "time_share[0]", "writer alone has nobody to take turns with"),
        ({"time_share": [["writer", "writer"]]}, "time_share[0][1]", "writer is in the group twice"),
        ({"time_share": [["writer", "coder"], ["coder", "writer"]]}, "time_share[1][0]", "coder is in two groups"),
        ({"time_share": ["writer", "codr"]}, "time_share[1]", "unknown role 'codr'"),
        ({"time_share": [["writer", "coder"]], "max_resident": 2}, "max_resident", "may all be awake at once"),
        ({"between_turns": "stop"}, "between_turns", "nothing takes turns"),
        ({"roles": {"writer": WRITER}, "max_resident": 1}, "max_resident", "writer alone has nobody"),
        (
            {"roles": {"writer": {**WRITER, "exclusive": True}, "coder": CODER}, "time_share": [["writer", "coder"]]},
            "time_share[0]",
            "writer is exclusive",
        ),
        (
            {
                "roles": {
                    "writer": {**WRITER, "share_with": ["third"]},
                    "coder": CODER,
                    "third": {**CODER},
                },
                "time_share": [["writer", "coder"]],
            },
            "time_share[0]",
            "writer may not share GPUs with coder",
        ),
        (
            {
                "engine": {"name": "vllm", "version": "0.6.6"},
                "time_share": [["writer", "coder"]],
                "between_turns": "sleep",
            },
            "between_turns",
            "0.6.6 has no sleep mode",
        ),
        (
            {"gpu": "GB10", "time_share": [["writer", "coder"]], "between_turns": "sleep"},
            "between_turns",
            "shares its memory with the machine",
        ),
        (
            {"gpu": None, "nodes": {"a": {"gpu": "RTX 4090", "count": 2}}, "time_share": [["writer", "coder"]]},
            "time_share",
            "turns are taken on one machine",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        desk(**changes)

    found = {problem.path: problem.message for problem in error.value.problems}
    assert message in found[path]


def test_pinned_memory_is_rounded_up_segment_by_segment() -> None:
    """PyTorch pins powers of two; what is small shares segments of two MiB on the device."""
    assert pinned_bytes(((48 * MIB,),)) == 64 * MIB
    assert pinned_bytes(((12 * MIB,), (40 * MIB,))) == (16 + 64) * MIB
    assert pinned_bytes(((4 * MIB, 4 * MIB, 4 * MIB),)) == 32 * MIB
    assert pinned_bytes(((512 * 1024,) * 5,)) == 4 * MIB
    assert allocated_bytes(((48 * MIB,),)) == 48 * MIB


def test_a_sleeper_keeps_no_less_than_was_measured() -> None:
    """A server of a 12B model on a 22 GiB card logged 0.68 GiB for its graphs, and asleep 1.15 GiB still in use."""
    found = solved(desk(gpu="A10", roles={"writer": WRITER, "coder": WRITER}, time_share=[["writer", "coder"]]))
    server = found.server("writer")
    assert server.asleep

    assert server.asleep.gpu_bytes - server.ledger.cuda_graph_bytes > (1.15 - 0.68) * GIB
