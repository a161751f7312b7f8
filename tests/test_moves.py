"""From one plan to the next: which servers move, and in which order, without a role falling below its minimum."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import plans
import pytest
from click.testing import CliRunner
from documents import valid
from fleets import fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from planner.check.moves import check_moves
from planner.cli import main
from planner.explain.moves_text import moves as told
from planner.fleet import Fleet
from planner.plan import Ledger, Plan, ServerPlan, plan_to_yaml
from planner.solve.moves import moves_between
from planner.units import GIB

CAPACITY = 12
"""GiB of each GPU that servers of these tests may take."""

ROLES: dict[str, dict[str, Any]] = {
    "a": {"replicas": 2, "concurrency": {"min": 2, "target": 8}},
    "b": {"replicas": "auto", "concurrency": {"min": 2, "target": 8}},
    "c": {"exclusive": True},
    "d": {"spread": "node", "replicas": 2},
}


def cluster(nodes: int = 2, **changes: Any) -> Fleet:  # noqa: ANN401 - any key of the pool
    """Nodes of two GPUs with 12 GiB left of each, and four roles that keep to different rules."""
    role = {"task": "general", "models": "Mistral-7B-Instruct-v0.3", "context": "8k"}
    roles = {name: {**role, **own} for name, own in ROLES.items()}
    pool = {"gpu": "L40S", "gpus": 2, "count": nodes, **changes}
    found = fleet(
        {"name": "workstation", "engine": {"name": "vllm", "version": "0.33.0"}, "nodes": {"h": pool}, "roles": roles}
    )
    held = found.pools[0].capacity_bytes - CAPACITY * GIB
    return found.with_pool(replace(found.pools[0], memory_in_use_bytes=held))


def server(name: str, place: tuple[int, int], size: int = 6, requests: int = 1) -> ServerPlan:
    """A server of the role before the hyphen, of so many GiB, on a GPU of a node."""
    role, _, number = name.partition("-")
    ledger = Ledger(
        baseline_bytes=0, weights_bytes=size * GIB, kv_cache_bytes=0, activation_bytes=0, non_torch_bytes=0,
        cuda_graph_bytes=0, margin_bytes=0,
    )  # fmt: skip
    port = 8001 + "abcd".index(role) * 100 + int(number)
    return plans.server(
        name, role=role, node=f"h-{place[0]}", gpu_indices=(place[1],), port=port, ledger=ledger, max_num_seqs=requests
    )


def made(*servers: ServerPlan) -> Plan:
    return plans.plan(*servers)


def test_a_server_that_has_room_starts_elsewhere_before_it_stops() -> None:
    old, new = made(server("c-1", (1, 0))), made(server("c-1", (2, 1)))
    found = moves_between(cluster(), old, new)

    assert [(step.action, step.groups[0].node) for step in found.steps] == [("start", "h-2"), ("stop", "h-1")]
    assert (found.gaps, found.stay, found.were) == ((), 0, 1)
    assert check_moves(found, old, new, cluster()) == []


def test_a_server_that_loads_another_checkpoint_says_so_wherever_it_goes() -> None:
    old = made(server("c-1", (1, 0)), server("b-1", (1, 1)))
    new = made(
        *(replace(server(name, place), repository="maker/other") for name, place in (("c-1", (2, 1)), ("b-1", (1, 1))))
    )
    found = moves_between(cluster(), old, new)
    loads = f", and loads maker/other in place of {old.servers[0].repository}"

    assert f"c-1: moved from GPU 0 of h-1 to GPU 1 of h-2{loads}" in told(found)
    assert f"b-1: reconfigured on GPU 1 of h-1{loads}" in told(found)
    assert check_moves(found, old, new, cluster()) == []


def test_servers_move_up_one_after_another() -> None:
    """The place of one is free only when the next has left it."""
    old = made(server("c-1", (1, 0)), server("a-1", (1, 1), 12), server("a-2", (2, 0), 12))
    new = made(server("a-1", (2, 1), 12), server("a-2", (1, 1), 12), server("c-1", (2, 0)))
    found = moves_between(cluster(), old, new)

    assert [step.server for step in found.steps if step.action == "start"] == ["a-1", "a-2", "c-1"]
    assert found.gaps == ()
    assert check_moves(found, old, new, cluster()) == []


def test_two_that_change_places_without_a_third_need_a_gap() -> None:
    places = list(itertools.product((1, 2), (0, 1)))
    sizes = dict(zip(("a-1", "a-2", "b-1", "b-2"), places, strict=True))
    old = made(*(server(name, place, 12) for name, place in sizes.items()))
    new = made(
        *(server(name, sizes[other], 12) for name, other in zip(sizes, ("b-1", "a-2", "a-1", "b-2"), strict=True))
    )
    found = moves_between(cluster(), old, new)
    (gap,) = found.gaps

    assert check_moves(found, old, new, cluster()) == []
    assert gap.role == "b" and (gap.servers, gap.of_servers, gap.requests, gap.of_requests) == (1, 1, 1, 2)
    assert gap.seconds == sum(step.seconds for step in found.steps[gap.first : gap.last]) > 0
    assert "gap: from step" in told(found) and "b has 1 of 2 requests at once" in told(found)


def test_a_role_that_can_spare_a_server_makes_room() -> None:
    """The open number of servers of b is no minimum, so that one of three may stop first."""
    spare = {"b-1": (1, 0), "b-2": (2, 1), "b-3": (2, 0), "c-1": (1, 1)}
    old = made(*(server(name, place, 12) for name, place in spare.items()))
    new = made(*(server(name, place, 12) for name, place in (spare | {"b-3": (1, 1), "c-1": (2, 0)}).items()))
    found = moves_between(cluster(), old, new)

    assert found.gaps == ()
    assert [(step.action, step.server) for step in found.steps] == [
        ("stop", "b-3"), ("start", "c-1"), ("stop", "c-1"), ("start", "b-3"),
    ]  # fmt: skip


def test_what_a_lost_node_had_is_started_and_roles_without_any_server_first() -> None:
    left = cluster(3, without="h-2")
    old = made(server("a-1", (1, 0)), server("a-2", (2, 0)), server("c-1", (2, 1)))
    new = made(server("a-1", (1, 0)), server("a-2", (3, 0)), server("c-1", (3, 1)))
    found = moves_between(left, old, new)

    assert [(step.action, step.server) for step in found.steps] == [("start", "c-1"), ("start", "a-2")]
    assert (found.stay, found.were) == (1, 1)
    assert all(move.lost for move in found.moves)
    assert told(found).splitlines()[:3] == [
        "1 of 1 server that run stay as they are.",
        "What changes:",
        "  a-2: moved from GPU 0 of h-2, which is lost, to GPU 0 of h-3",
    ]


def test_many_that_restart_one_after_another_are_one_line() -> None:
    places = [(node, gpu) for node in range(1, 6) for gpu in (0, 1)]
    old = made(*(server(f"b-{number}", place, 12) for number, place in enumerate(places, 1)))
    new = made(*(server(f"b-{number}", place, 12, 2) for number, place in enumerate(places, 1)))
    text = told(moves_between(cluster(5), old, new))

    assert "1 to 20. stop and start, one after another: b-1 to 10, up to " in text
    assert len(text.splitlines()) < 16


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: replace(found, steps=found.steps[:-1]),
        lambda found: replace(found, steps=found.steps[::-1]),
        lambda found: replace(found, steps=(*found.steps, found.steps[0])),
        lambda found: replace(found, gaps=()),
        lambda found: replace(found, gaps=(replace(found.gaps[0], seconds=1),)),
        lambda found: replace(found, gaps=(*found.gaps, replace(found.gaps[0], role="a"))),
        lambda found: replace(found, stay=found.stay + 1),
        lambda found: replace(found, steps=(replace(found.steps[0], server="b-9"), *found.steps[1:])),
    ],
)
def test_moves_that_lie_are_found_out(spoil: Any) -> None:  # noqa: ANN401 - a function of moves
    places = list(itertools.product((1, 2), (0, 1)))
    names = ("a-1", "a-2", "b-1", "b-2")
    old = made(*(server(name, place, 12) for name, place in zip(names, places, strict=True)))
    swapped = [places[2], places[1], places[0], places[3]]
    new = made(*(server(name, place, 12) for name, place in zip(names, swapped, strict=True)))
    found = moves_between(cluster(), old, new)

    assert check_moves(found, old, new, cluster()) == []
    assert check_moves(spoil(found), old, new, cluster()) != []


PLACES = list(itertools.product((1, 2), (0, 1)))


LEAST = {"a": (2, 2), "b": (1, 2), "c": (1, 1), "d": (2, 1)}
"""The servers, and the requests of one each, that the roles of the fleet must have."""


@st.composite
def some_plan(draw: st.DrawFn, *, whole: bool) -> Plan:
    """Up to three servers of each role on GPUs on which all fit; a ``whole`` plan has enough of each role, or none."""
    found: list[ServerPlan] = []
    for role in draw(st.permutations("abcd")):
        most = {"a": 2, "b": 3, "c": 1, "d": 2}[role]
        own: list[ServerPlan] = []
        for number in range(1, draw(st.integers(0, most)) + 1):
            size = {"a": 6, "b": 4, "c": 6, "d": 6}[role]
            one = server(f"{role}-{number}", draw(st.sampled_from(PLACES)), size)
            if room([*found, *own, one]):
                own.append(one)
        if not whole or len(own) >= max(LEAST[role]):
            found += own
    return made(*found)


def room(servers: Sequence[ServerPlan]) -> bool:
    """Whether servers may all run at once, by the rules of these tests' fleet."""
    for one, other in itertools.combinations(servers, 2):
        if one.node == other.node and (one.name == other.name or one.role == other.role == "d"):
            return False
        if set(one.gpus) & set(other.gpus) and ("c" in (one.role, other.role) or {one.role, other.role} == {"d"}):
            return False
    taken = {
        place: sum(one.ledger.total_bytes for one in servers if place in one.gpus)
        for place in {gpu for one in servers for gpu in one.gpus}
    }
    return all(size <= CAPACITY * GIB for size in taken.values())


@settings(max_examples=80, deadline=None)
@given(some_plan(whole=False), some_plan(whole=True))
def test_a_gap_is_told_only_where_every_order_has_one(old: Plan, new: Plan) -> None:
    if not new.servers:
        return
    box = cluster()
    found = moves_between(box, old, new)

    assert check_moves(found, old, new, box) == []
    assert bool(found.gaps) == (not any_order(old, new))


def any_order(old: Plan, new: Plan) -> bool:
    """Whether any order of starts and stops at all keeps what each role has reached of its minimum: brute force."""
    stays = {one.name for one in old.servers if any(one == other for other in new.servers)}
    before = tuple(one for one in old.servers if one.name not in stays)
    after = tuple(one for one in new.servers if one.name not in stays)
    always = [one for one in new.servers if one.name in stays]
    served = {one.role for one in new.servers}

    def has(state: tuple[int, int]) -> dict[str, tuple[int, int]]:
        running = [*always, *chosen(before, state[0]), *chosen(after, state[1])]
        counts = {role: sum(one.role == role for one in running) for role in served}
        return {role: (count, count) for role, count in counts.items()}

    def steps(state: tuple[int, int]) -> Iterator[tuple[int, int]]:
        yield from ((state[0] & ~(1 << place), state[1]) for place in range(len(before)) if state[0] >> place & 1)
        for place in range(len(after)):
            there = [*always, *chosen(before, state[0]), *chosen(after, state[1] | 1 << place)]
            if not state[1] >> place & 1 and room(there):
                yield state[0], state[1] | 1 << place

    begin, end = ((1 << len(before)) - 1, 0), (0, (1 << len(after)) - 1)
    todo = [(begin, has(begin))]
    seen = set()
    while todo:
        state, best = todo.pop()
        if state == end:
            return True
        for other in steps(state):
            now = has(other)
            if all(
                one >= min(most, enough)
                for role in served
                for one, most, enough in zip(now[role], best[role], LEAST[role], strict=True)
            ):
                reached = {role: tuple(map(max, best[role], now[role])) for role in served}
                key = other, tuple(sorted(reached.items()))
                if key not in seen:
                    seen.add(key)
                    todo.append((other, reached))  # type: ignore[arg-type]
    return False


def chosen(servers: Sequence[ServerPlan], bits: int) -> list[ServerPlan]:
    return [one for place, one in enumerate(servers) if bits >> place & 1]


def test_diff_lists_the_moves_of_a_fleet(tmp_path: Path) -> None:
    text = (
        "name: workstation\ngpu: rtx-pro-6000\nroles: {coder: {task: code, models: [qwen2.5-coder-7b], context: 8k}}\n"
    )
    (tmp_path / "fleet.yaml").write_text(text, encoding="utf-8")
    before, after = (plans.plan(plans.server("coder", max_num_seqs=count)) for count in (8, 9))
    for name, one in (("old", before), ("new", after)):
        held = tuple(replace(gpu, node="workstation") for gpu in one.gpus)
        moved = tuple(replace(own, node="workstation") for own in one.servers)
        (tmp_path / f"{name}.yaml").write_text(plan_to_yaml(replace(one, gpus=held, servers=moved)), encoding="utf-8")
    command = ["diff", *(str(tmp_path / f"{name}.yaml") for name in ("old", "new"))]
    shown = CliRunner().invoke(main, [*command, "--fleet", str(tmp_path / "fleet.yaml")])
    document = valid(
        "diff", CliRunner().invoke(main, [*command, "--json", "--fleet", str(tmp_path / "fleet.yaml")]).stdout
    )

    assert shown.exit_code == 5
    assert "coder: reconfigured on GPU 0 of workstation" in shown.stdout
    assert [step["action"] for step in document["moves"]["steps"]] == ["stop", "start"]
    assert json.dumps(document["moves"]["gaps"]).count('"role": "coder"') == 1
