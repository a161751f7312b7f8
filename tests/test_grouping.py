"""Equal servers are told of together: in the text of a plan, in what explains it, and in what changed."""

import itertools

import plans
import pytest
from msgspec.structs import replace

from planner.cli.plan_text import plan_text
from planner.explain import difference
from planner.explain.named import gpus_named, named, numbered
from planner.plan import Plan, differences


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["chat"], "chat"),
        (["chat-1", "chat-2"], "chat-1 and chat-2"),
        (["chat-10", "chat-8", "chat-9", "find"], "chat-8 to 10 and find"),
        (["chat-1", "chat-2", "chat-3", "chat-5"], "chat-1 to 3 and chat-5"),
        (["h100", "h-1", "h-01", "qwen2.5"], "h100, h-1, h-01 and qwen2.5"),
        (["chat", "chat", "chat-1"], "chat and chat-1"),
    ],
)
def test_names_that_count_up_are_a_run(names: list[str], text: str) -> None:
    assert named(names) == text


def test_numbers_of_many_have_runs() -> None:
    assert numbered([8004, 8001, 8005, 8006, 8007]) == "8001 and 8004 to 8007"


def thousand(**changes: int) -> Plan:
    """A thousand servers that fill 125 nodes of 8 GPUs."""
    places = itertools.product(range(1, 126), range(8))
    servers = [
        plans.server(f"chat-{number}", role="chat", node=f"h-{node}", gpu_indices=(gpu,), port=8000 + number, **changes)
        for number, (node, gpu) in enumerate(places, 1)
    ]
    return plans.plan(*sorted(servers, key=lambda server: server.name))


def test_a_thousand_equal_servers_are_read_on_one_screen() -> None:
    text = plan_text(thousand())

    assert len(text.splitlines()) < 24
    assert max(len(line) for line in text.splitlines()) < 130
    assert "chat-1 to 1000  8001 to 9000  auto" in text
    assert "h-1 to 125 GPU 0 to 7 each, GiB" in text


def test_one_that_is_not_like_the_others_has_its_own_line() -> None:
    found = thousand()
    servers = tuple(
        replace(server, max_num_seqs=4) if server.name == "chat-500" else server for server in found.servers
    )
    lines = plan_text(replace(found, servers=servers)).splitlines()

    assert any(line.startswith("chat-500 ") for line in lines)
    assert any(line.startswith("chat-1 to 499 and chat-501 to 1000 ") for line in lines)


def test_a_change_of_all_servers_is_one_line() -> None:
    assert difference(differences(thousand(), thousand(max_num_seqs=9))) == (
        "chat-1 to 1000: requests at once 9 instead of 8"
    )


def test_servers_that_come_and_go_are_counted() -> None:
    many, none = thousand(), plans.plan(plans.server("find", node="a"))

    lines = difference(differences(none, many)).splitlines()
    assert lines[:2] == ["start order chat-1 to 1000 instead of find", "find: gone"]
    assert lines[2].startswith("chat-1 to 1000: new, ")
    assert lines[2].endswith(", on 1000 GPUs of 125 nodes")


def test_gpus_with_the_same_numbers_share_their_name() -> None:
    gpus = [gpu for gpu in thousand().gpus if gpu.node in ("h-1", "h-2") or (gpu.node, gpu.index) == ("h-3", 0)]

    assert gpus_named(gpus, nodes=True) == "h-1 and h-2 GPU 0 to 7; h-3 GPU 0"
