"""Freeing a node, or GPUs side by side: the fewest moves, proven against brute force, and why there are none."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from documents import valid
from fleets import catalog, fleet
from hypothesis import given, settings
from msgspec.structs import replace
from problems import Plan as Choices
from problems import Planted, many_gpus, plans

from planner.check.moves import check_moves
from planner.check.placement import check_gpus, check_roles
from planner.cli import main
from planner.plan import Plan
from planner.plan.freeing import Freeing, What
from planner.search.freeing import Unit, freed
from planner.search.problem import MINIMAL_CHANGE, Candidate, Choice, Problem, staying
from planner.solve import solve
from planner.solve.freeing import free

BOX: dict[str, Any] = {
    "name": "box",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "nodes": {"h": {"gpu": "L40S", "gpus": 4, "count": 3}},
    "roles": {
        "chat": {
            "task": "general", "models": ["Mistral-7B-Instruct-v0.3"], "replicas": 4, "context": "8k",
            "concurrency": {"min": 4, "target": 32}, "spread": "gpu",
        },
        "find": {"task": "embedding", "models": ["bge-m3"], "context": "8k", "replicas": 2, "spread": "node"},
        "code": {
            "task": "code", "models": ["Qwen2.5-Coder-7B-Instruct"], "context": "8k", "tensor_parallel": 2,
            "exclusive": True,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Plan:
    answer = solve(fleet(BOX), catalog())
    assert isinstance(answer, Plan)
    return answer


def settled(problem: Problem, choices: Choices) -> tuple[Problem, list[Choice]]:
    """The problem of where the servers of a plan are, when nothing else may change."""
    kept = [position for position, choice in enumerate(choices) if choice]
    roles, found = [], []
    for position in kept:
        role, choice = problem.roles[position], choices[position]
        assert choice
        one = role.candidates[choice.candidate]
        roles.append(replace(role, optional=False, candidates=(as_it_is(one, choice),)))
        found.append(replace(choice, candidate=0))
    apart = frozenset((kept.index(one), kept.index(other)) for one, other in problem.apart if {one, other} <= set(kept))
    return replace(problem, roles=tuple(roles), apart=apart, stages=(MINIMAL_CHANGE,)), found


def as_it_is(one: Candidate, choice: Choice) -> Candidate:
    """A candidate with its sequences settled, and its size as a constant."""
    return replace(
        one, fixed=one.footprint(choice.sequences), per_sequence=0, kv_floor=0, kv_per_sequence=0, peak_floor=0,
        peak_base=0, peak_per_sequence=0, least=choice.sequences, most=choice.sequences, stays=choice.blocks,
        worth=((one.blocks, 0),),
    )  # fmt: skip


def units_of(problem: Problem) -> list[Unit]:
    """Each machine's GPUs."""
    nodes: dict[int, set[tuple[int, int, int]]] = {}
    for pool, shape in enumerate(problem.pools):
        for place, node in enumerate(shape.nodes):
            nodes.setdefault(node, set()).update((pool, place, index) for index in range(shape.width))
    return [frozenset(gpus) for gpus in nodes.values()]


@settings(max_examples=50, deadline=None)
@given(many_gpus())
def test_no_other_way_moves_fewer(case: Planted) -> None:
    if not any(case.choices):
        return
    problem, before = settled(case.problem, case.choices)
    servers = sum(role.candidates[0].blocks for role in problem.roles)
    units = units_of(problem)
    ways = [
        sum(staying(role.candidates[0], mine.blocks) for role, mine in zip(problem.roles, one, strict=True) if mine)
        for one in plans(problem)
        if any(not unit & used(one) for unit in units)
    ]
    found = freed(problem, units, 1)

    if not ways:
        assert found is None
        return
    assert found is not None
    assert (found.moved, found.bound) == (servers - max(ways), servers - max(ways))
    assert not {gpu for blocks in found.blocks for block in blocks for gpu in block.gpus} & units[found.units[0]]
    assert len(before) == len(found.blocks)


def used(choices: Choices) -> set[tuple[int, int, int]]:
    return {gpu for choice in choices if choice for block in choice.blocks for gpu in block.gpus}


@pytest.mark.parametrize(("what", "count", "moved"), [("nodes", 1, 1), ("gpus", 4, 1), ("gpus", 2, 0)])
def test_the_servers_that_move_have_room_where_they_go(what: What, count: int, moved: int, running: Plan) -> None:
    box = fleet(BOX)
    found = free(box, running, Freeing(what=what, count=count))

    assert found.plan and found.moves
    assert (found.moved, found.at_least, len(found.moves.moves)) == (moved, moved, moved)
    assert [*check_gpus(found.plan, box), *check_roles(found.plan, box)] == []
    assert check_moves(found.moves, running, found.plan, box) == []
    assert {server.name for server in found.plan.servers} == {server.name for server in running.servers}


@pytest.mark.parametrize(
    ("what", "count", "reason"),
    [
        ("nodes", 4, "the fleet has 3 nodes"),
        ("gpus", 8, "no node has 8 neighbouring GPUs"),
        ("nodes", 2, "what may not share GPUs or nodes leaves no room: exclusive, share_with and spread together"),
    ],
)
def test_what_cannot_be_freed_has_a_reason(what: What, count: int, reason: str, running: Plan) -> None:
    found = free(fleet(BOX), running, Freeing(what=what, count=count))

    assert (found.plan, found.moves, found.reason) == (None, None, reason)


def test_replicas_on_nodes_of_their_own_are_a_reason() -> None:
    everywhere = copy.deepcopy(BOX)
    everywhere["roles"]["find"]["replicas"] = 3
    plan = solve(fleet(everywhere), catalog())
    assert isinstance(plan, Plan)
    found = free(fleet(everywhere), plan, Freeing(what="nodes", count=1))

    assert found.reason == "the replicas of find must be on nodes of their own (spread: node)"


def test_servers_without_room_elsewhere_are_a_reason() -> None:
    full = copy.deepcopy(BOX)
    full["nodes"]["h"] |= {"gpus": 1, "count": 2}
    full["roles"] = {"chat": {**BOX["roles"]["chat"], "replicas": 2}}
    del full["roles"]["chat"]["spread"]
    full["roles"]["chat"] |= {"schemes": ["bf16"], "concurrency": {"min": 16, "target": 16}}
    plan = solve(fleet(full), catalog())
    assert isinstance(plan, Plan)
    found = free(fleet(full), plan, Freeing(what="nodes", count=1))

    assert found.reason == "the servers that are there do not fit the memory of the other GPUs"


def asked(folder: Path, *options: str) -> Result:
    (folder / "fleet.yaml").write_text(yaml.safe_dump(BOX, sort_keys=False), encoding="utf-8")
    return CliRunner().invoke(main, ["what-if", str(folder / "fleet.yaml"), "--jobs", "1", *options])


def test_what_if_says_what_it_takes_to_free_a_node(tmp_path: Path) -> None:
    shown = asked(tmp_path, "--free-node", "1")
    document = valid("what-if", asked(tmp_path, "--free-node", "2", "--free-gpus", "4", "--json").stdout)

    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0] == "1 node: h-3, once 1 server moves; fewer do not suffice."
    assert [one["moved"] for one in document["freed"]] == [None, 1]
    assert asked(tmp_path, "--free-node", "1", "--gpu", "l40s").exit_code == 2


def test_what_if_says_what_a_lost_node_makes_move(tmp_path: Path) -> None:
    shown = asked(tmp_path, "--lose-node", "h-2")
    document = valid("what-if", asked(tmp_path, "--lose-node", "h-3", "--json").stdout)
    unknown = asked(tmp_path, "--lose-node", "h-9")

    assert "without h-2: 4 of 4 servers that run stay as they are" in shown.stdout
    assert [step["action"] for step in document["scenarios"][1]["moves"]["steps"]] == ["start"]
    assert "moves" not in document["scenarios"][0]
    assert "--lose-node h-9: unknown node 'h-9'" in unknown.stderr
    assert json.dumps(document["scenarios"][1]["edits"]) == '["--lose-node h-3"]'


def test_what_if_says_when_no_node_would_be_left_and_what_it_cannot_read(tmp_path: Path) -> None:
    nodes = [name for pool in fleet(BOX).pools for name in pool.node_names]
    nothing = asked(tmp_path, "--lose-node", ",".join(nodes))
    (tmp_path / "plan.yaml").mkdir()
    unread = asked(tmp_path, "--lose-node", nodes[0])

    assert f"--lose-node {','.join(nodes)}: no node of the fleet would be left" in nothing.stderr
    assert unread.stderr == f"error: cannot read {tmp_path / 'plan.yaml'}: is a directory\n"


def test_blocks_that_stay_keep_their_servers_names(running: Plan) -> None:
    found = free(fleet(BOX), running, Freeing(what="nodes", count=1))

    assert found.plan
    before, after = ({server.name: server.gpus for server in plan.servers} for plan in (running, found.plan))
    assert sum(before[name] != after[name] for name in before) == found.moved == 1
