"""Data-parallel ranks of one server on several machines: each answers for its own, and they only work together."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from staged import Stage, free_ports, stage
from test_artifacts import run
from test_launch import alive
from test_several_machines import eventually, spanning

from planner.artifacts import render, write
from planner.artifacts.nodes import on_nodes
from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import planned_server
from planner.errors import InputError
from planner.plan import Plan

ALL = ("script", "compose", "systemd", "monitoring", "quadlet")


def ranks(*ports: int) -> Plan:
    """Two data-parallel ranks of one server on two machines."""
    plan = spanning(*ports)
    apart: dict[str, Any] = {"pipeline_parallel_size": 1, "data_parallel_size": 2, "expert_parallel": True}
    servers = tuple(replace(one, **apart) if one.name == "big" else one for one in plan.servers)
    return replace(plan, servers=servers)


def test_every_machine_has_an_api_and_the_router_asks_both() -> None:
    files = render(ranks(), targets=ALL)

    for node in ("rack-1", "rack-2"):
        assert f"{node}/smoke.sh" in files
        assert f"{node}/router/haproxy.cfg" in files
        assert "Environment=PATH" in files[f"{node}/systemd/planner-workstation--big.service"].text
    assert re.findall(r"server (rack-\d) .* weight 1", files["router/haproxy.cfg"].text).count("rack-2") == 1
    assert "each answers for the ranks it has" in files["README.md"].text


def test_every_target_starts_the_ranks_of_its_machine(tmp_path: Path) -> None:
    plan = ranks()
    write(render(plan, targets=ALL), tmp_path)

    for number, node in enumerate(("rack-1", "rack-2")):
        found = [command for files in read_back(tmp_path / node).values() for command in files]
        started = [command for command in found if command.server == "big"]
        assert len(started) == 4, "script, Compose, systemd, Podman"
        for command in started:
            flags = {argument.flag: argument.value for argument in command.arguments}
            assert flags["--data-parallel-size"] == "2"
            assert flags["--data-parallel-size-local"] == "1"
            assert flags["--data-parallel-start-rank"] == str(number)
            assert flags["--data-parallel-address"] == "PLANNER_NODE_RACK_1"
            assert flags["--data-parallel-rpc-port"] == "29501"
            assert {"--data-parallel-hybrid-lb", "--enable-expert-parallel"} <= flags.keys()
            assert not {"--headless", "--nnodes", "--master-port", "--master-addr"} & flags.keys()
            assert planned_server(plan.server("big"), command.arguments).master_port == 29501


def test_a_chart_of_single_pods_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="one pod"):
        render(ranks(), targets=("helm-values",))


@pytest.fixture
def racks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Stage]]:
    """Both machines on this one, at the same address, with ports of their own."""
    first, second, chat, master, router = free_ports(5)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    address = {"PLANNER_NODE_RACK_1": "127.0.0.1", "PLANNER_NODE_RACK_2": "127.0.0.1"}
    staged = [
        stage(dict(on_nodes(ranks(port, chat, master)))[node], tmp_path / node, **address)
        for node, port in (("rack-1", first), ("rack-2", second))
    ]
    yield staged[0], staged[1]
    for one in staged:
        one.run("launch.sh", "down")


@pytest.mark.parametrize("first", [0, 1])
def test_the_machines_start_in_any_order_and_fall_together(racks: tuple[Stage, Stage], first: int) -> None:
    one, other = racks[first], racks[1 - first]
    for part in (one, other):
        up = part.run("launch.sh", "up", "big")
        assert up.returncode == 0, up.stderr
    before = one.pid("big"), other.pid("big")
    assert all(map(alive, before))
    assert not eventually(lambda: not alive(before[0]), seconds=4), "both are there"

    assert other.run("launch.sh", "down").returncode == 0

    assert eventually(lambda: not alive(before[0])), "its ranks would wait for those of the other machine"
    log = (one.folder / "logs" / "big.log").read_text(encoding="utf-8")
    assert "another part of this server has stopped" in log


def test_the_shell_of_every_machine_is_sound(tmp_path: Path) -> None:
    write(render(ranks(), targets=ALL), tmp_path)

    for script in sorted(tmp_path.rglob("*.sh")):
        run("bash", "-n", str(script))
