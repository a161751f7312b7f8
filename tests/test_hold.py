"""A plan follows the one before it: what need not change stays, and nothing gets worse for that."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from fleets import changed
from hypothesis import given, settings
from msgspec.structs import replace
from problems import Plan as Choices
from problems import Planted, headroom, many_gpus, plans, valid, values
from solving import planned

from planner.explain import reasons
from planner.plan import Plan, differences
from planner.search.optimise import optimise
from planner.search.problem import (
    COST,
    MINIMAL_CHANGE,
    Answer,
    Block,
    Candidate,
    Choice,
    PoolProblem,
    Problem,
    RoleProblem,
    by_server,
    staying,
)
from planner.solve.hold import Earlier, hold

few = settings(max_examples=60, deadline=None)

BOX: dict[str, Any] = {
    "name": "box",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "L40S", "count": 4},
    "roles": {
        "chat": {
            "task": "general", "models": ["Mistral-7B-Instruct-v0.3"], "replicas": 2, "context": "8k",
            "concurrency": {"min": 2, "target": 8},
        },
        "find": {"task": "embedding", "models": ["bge-m3"], "context": "8k"},
        "talk": {"task": "general", "models": ["Mistral-7B-Instruct-v0.3"], "context": "8k"},
    },
}  # fmt: skip


def places(plan: Plan) -> dict[str, tuple[object, ...]]:
    return {server.name: (server.node, server.gpu_indices, server.port) for server in plan.servers}


def stages(plan: Plan) -> list[tuple[str, int]]:
    return [(stage.name, stage.value) for stage in plan.proof.stages]


def earlier(choices: Choices) -> Sequence[Earlier]:
    return [Earlier((choice.candidate, choice.sequences), choice.blocks) if choice else Earlier() for choice in choices]


def in_order(problem: Problem, choices: Choices) -> Choices:
    """The same choices with the servers of each role in order of their blocks, as brute force lists them."""
    return tuple(choice and in_order_of(problem.roles[role], choice) for role, choice in enumerate(choices))


def in_order_of(role: RoleProblem, choice: Choice) -> Choice:
    stages = role.candidates[choice.candidate].stages
    servers = sorted(choice.blocks[first : first + stages] for first in range(0, len(choice.blocks), stages))
    return replace(choice, blocks=tuple(block for server in servers for block in server))


def rank(problem: Problem, choices: Choices) -> tuple[int, ...]:
    return (*values(problem, choices), headroom(problem, choices))


def best(problem: Problem) -> Answer | None:
    return optimise(problem)


@few
@given(many_gpus())
def test_no_earlier_plan_makes_a_plan_worse(case: Planted) -> None:
    fresh = best(case.problem)
    if fresh is None or not case.choices:
        return
    held = hold(case.problem, fresh, earlier(case.choices))

    assert valid(case.problem, in_order(case.problem, held.choices))
    assert rank(case.problem, held.choices) >= rank(case.problem, fresh.choices)
    assert tuple(stage.value for stage in held.stages[:-1]) == values(case.problem, held.choices)
    assert all(stage.proven for stage in held.stages) or not all(stage.proven for stage in fresh.stages)


@few
@given(many_gpus())
def test_following_a_plan_again_changes_nothing(case: Planted) -> None:
    fresh = best(case.problem)
    if fresh is None or not case.choices:
        return
    held = hold(case.problem, fresh, earlier(case.choices))

    assert hold(case.problem, fresh, earlier(held.choices)) == held
    assert hold(case.problem, fresh, earlier(fresh.choices)) == fresh


@few
@given(many_gpus())
def test_a_plan_that_is_as_good_stays_where_gpus_are_to_be_few(case: Planted) -> None:
    if COST not in case.problem.stages:
        return
    fresh = best(case.problem)
    if fresh is None:
        return
    equal = [one for one in plans(case.problem) if rank(case.problem, one) == rank(case.problem, fresh.choices)]
    for one in equal[-3:]:
        held = hold(case.problem, fresh, earlier(one))

        assert in_order(case.problem, held.choices) == in_order(case.problem, one)


def test_of_two_equal_roles_the_one_that_was_served_stays() -> None:
    one = Candidate(
        fixed=1, per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0, peak_base=0, peak_per_sequence=0,
        least=1, most=1, worth=((1, 0),),
    )  # fmt: skip
    roles = tuple(RoleProblem(name=name, candidates=(one,), optional=True) for name in "ab")
    problem = Problem(roles=roles, pools=(PoolProblem(capacity=1),), stages=("first",))
    served = Choice(candidate=0, sequences=1, blocks=(Block(0, 0, 0, 1),))
    fresh = best(problem)

    assert fresh is not None
    for before in ((served, None), (None, served)):
        assert hold(problem, fresh, earlier(before)).choices == before


def test_a_plan_follows_itself() -> None:
    plan = planned(BOX)

    assert planned(BOX, plan) == plan
    assert not plan.lock.held


def test_a_new_role_moves_no_other_server() -> None:
    before = planned(BOX)
    wider = changed(BOX, "roles.a-new-one", BOX["roles"]["find"])
    fresh, after = planned(wider), planned(wider, before)

    assert {name: places(fresh).get(name) for name in places(before)} != places(before)
    assert {name: places(after).get(name) for name in places(before)} == places(before)
    assert stages(after) == stages(fresh)
    assert (fresh.lock.held, after.lock.held) == (False, True)
    assert planned(wider, after) == after


def test_a_role_that_goes_moves_no_other_server() -> None:
    before = planned(BOX)
    fewer = changed(BOX, "roles.chat", None)
    after = planned(fewer, before)

    assert places(after) == {name: place for name, place in places(before).items() if not name.startswith("chat")}


def test_replicas_that_stay_keep_gpu_and_port() -> None:
    before = planned(BOX)
    after = planned(changed(BOX, "roles.chat.replicas", 3), before)

    assert {name: places(after)[name] for name in places(before)} == places(before)
    assert set(places(after)) == {*places(before), "chat-3"}


def test_a_gpu_that_is_gone_takes_only_its_servers_along() -> None:
    before = planned(BOX)
    after = planned(changed(BOX, "gpu.count", 3), before)
    there = {name: place for name, place in places(before).items() if place[1] != (3,)}

    assert {name: place for name, place in places(after).items() if place[1] == places(before)[name][1]} == there


def test_servers_do_not_share_a_gpu_for_the_sake_of_an_earlier_plan() -> None:
    small = changed(changed(BOX, "roles.chat", None), "gpu.count", 1)
    before = planned(small)
    after = planned(changed(small, "gpu.count", 2), before)

    assert {gpu.servers for gpu in before.gpus} == {("find", "talk")}
    assert all(len(gpu.servers) == 1 for gpu in after.gpus)


def test_a_port_that_the_fleet_gives_goes_first() -> None:
    before = planned(BOX)
    taken = places(before)["talk"][2]
    after = planned(changed(BOX, "roles.find.port", taken), before)

    assert places(after)["find"][2] == taken
    assert places(after)["talk"][2] not in {taken, 8000}
    assert places(after)["chat-1"] == places(before)["chat-1"]


def test_a_better_plan_is_taken() -> None:
    before = planned(changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2}))
    after = planned(BOX, before)

    assert stages(after) == stages(planned(BOX))
    assert replace(after, lock=before.lock) != before
    assert {item.name for item in differences(before, after) if item.kind == "server"} == {"chat-1", "chat-2"}


@pytest.mark.parametrize("name", ["chat", "find"])
def test_fresh_ports_follow_the_role_names(name: str) -> None:
    plan = planned(changed(BOX, f"roles.{name}.port", 8002))
    ports = {server.name: server.port for server in plan.servers}

    expected = {"chat": [8002, 8001, 8003], "find": [8001, 8002, 8003]}[name]
    assert [ports[key] for key in ("chat-1", "find", "talk")] == expected
    assert ports["chat-2"] == 8004


LEAST = changed(BOX, "objective", "minimal-change")


def test_what_fits_stays_though_something_better_is_there() -> None:
    small = changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2})
    before = planned(small)
    better, least = planned(BOX, before), planned(LEAST, before)

    assert {server.max_num_seqs for server in least.servers if server.role == "chat"} == {1}
    assert least.servers == before.servers
    assert stages(least) < stages(better)
    assert [stage.name for stage in least.proof.stages] == [stage.name for stage in better.proof.stages]
    assert (least.proof.proven, least.lock.held) == (True, True)


def test_what_must_change_is_best_and_the_rest_stays() -> None:
    before = planned(changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2}))
    more = changed(LEAST, "roles.chat.concurrency", {"min": 6, "target": 8})
    after = planned(more, before)

    assert {server.max_num_seqs for server in after.servers if server.role == "chat"} == {4}
    assert {name: place for name, place in places(after).items() if not name.startswith("chat")} == {
        name: place for name, place in places(before).items() if not name.startswith("chat")
    }


def test_minimal_change_may_come_after_something_else() -> None:
    before = planned(changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2}))
    last = planned(changed(BOX, "objective", ["balanced", "minimal-change"]), before)

    assert stages(last)[0] == stages(planned(BOX))[0]


def test_minimal_change_without_a_plan_is_balanced_and_again_changes_nothing() -> None:
    first = planned(LEAST)
    before = planned(changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2}))
    after = planned(LEAST, before)

    assert stages(first) == stages(planned(BOX))
    assert planned(LEAST, first) == first
    assert planned(LEAST, after) == after


def test_a_runner_up_of_a_plan_that_changes_little_may_be_better_but_for_that() -> None:
    before = planned(changed(BOX, "roles.chat.concurrency", {"min": 2, "target": 2}))
    after = planned(LEAST, before)

    assert after.runner_up is not None
    assert "loses in" in reasons(after) or "it changes servers that this plan leaves as they are" in reasons(after)


@few
@given(many_gpus())
def test_the_fewest_servers_move(case: Planted) -> None:
    """Brute force counts the servers that stay in every plan there is."""
    if not case.choices:
        return
    roles = [
        replace(role, candidates=tuple(with_stays(role.candidates, choice)))
        for role, choice in zip(case.problem.roles, case.choices, strict=True)
    ]
    stages = (MINIMAL_CHANGE, *case.problem.stages)
    problem = replace(case.problem, roles=tuple(roles), stages=stages)
    answer = best(problem)
    expected = max(
        (
            sum(stay(case.problem, role, *both) for role, both in enumerate(zip(one, case.choices, strict=True))),
            values(case.problem, one),
        )
        for one in plans(case.problem)
    )

    assert answer is not None
    assert (answer.stages[0].value, tuple(stage.value for stage in answer.stages[1:-1])) == expected
    assert answer.stages[0].proven
    assert answer.stages[0].value == sum(
        staying(role.candidates[choice.candidate], choice.blocks)
        for role, choice in zip(roles, answer.choices, strict=True)
        if choice
    )


def stay(problem: Problem, role: int, mine: Choice | None, old: Choice | None) -> int:
    """How many servers of a role are as and where they were."""
    if mine is None or old is None or (mine.candidate, mine.sequences) != (old.candidate, old.sequences):
        return 0
    stages = problem.roles[role].candidates[mine.candidate].stages
    now, before = (Counter(by_server(choice.blocks, stages)) for choice in (mine, old))
    return (now & before).total()


def with_stays(candidates: Sequence[Candidate], old: Choice | None) -> Iterator[Candidate]:
    """Candidates of which none stays as it was, and then the one that does."""
    for one in candidates:
        yield replace(one, worth=((0, 0), *one.worth))
    if old:
        one = candidates[old.candidate]
        worth = ((one.blocks, 0), *one.worth)
        yield replace(one, least=old.sequences, most=old.sequences, stays=old.blocks, worth=worth)
