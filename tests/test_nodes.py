"""A fleet of several machines: a folder for each, and one door before them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import plans
import pytest
from certificates import certify
from staged import KEY, Stage, free_ports, listens, program, stage, wait_until
from test_router import post

from planner.artifacts import context, render, write
from planner.artifacts.nodes import address_variable, on_nodes
from planner.artifacts.read_back import read_back
from planner.plan import GPULedger, Plan


def two_nodes(*ports: int) -> Plan:
    """Role chat on both nodes, code on the second only; GPU 0 and, where they are not given, ports exist on each."""
    first, second, third = ports or (8001, 8001, 8002)
    servers = (
        plans.server("chat-1", role="chat", node="rack-1", port=first),
        plans.server("chat-2", role="chat", node="rack-2", port=second),
        plans.server("code", node="rack-2", port=third),
    )
    gpus = tuple(gpu(node, [one.name for one in servers if one.node == node]) for node in ("rack-1", "rack-2", "spare"))
    return plans.plan(*servers, gpus=gpus)


def gpu(node: str, servers: list[str]) -> GPULedger:
    return GPULedger(
        node=node, index=0, gpu="rtx-pro-6000", product="NVIDIA RTX PRO 6000 Blackwell Server Edition",
        total_bytes=plans.TOTAL_BYTES, memory_in_use_bytes=0, servers=tuple(servers), free_bytes=0,
    )  # fmt: skip


def test_every_node_has_a_complete_folder_of_its_own() -> None:
    files = render(two_nodes())
    folders = {path.split("/")[0] for path in files if "/" in path}

    assert folders == {"rack-1", "rack-2", "router", "monitoring"}, "a node without servers has nothing to run"
    alone = render(dict(on_nodes(two_nodes()))["rack-1"])
    assert {path.removeprefix("rack-1/"): file for path, file in files.items() if path.startswith("rack-1/")} == alone
    assert "chat-2" not in files["rack-1/launch.sh"].text
    assert "chat-1" not in files["rack-2/compose.yaml"].text


def test_the_order_of_one_node_does_not_wait_for_another() -> None:
    built = {server.name: server for server in context.build_context(two_nodes()).servers}

    assert built["chat-2"].after == ()
    assert built["code"].after == ("chat-2",)


def test_a_cluster_target_is_rendered_once_for_all() -> None:
    files = render(two_nodes(), targets=("script", "kubernetes"))

    assert "kubernetes/fleet/servers.yaml" in files
    assert not any(path.startswith("rack-1/kubernetes") for path in files)
    assert files["kubernetes/fleet/servers.yaml"].text.count("kind: Deployment") == 2
    assert files["kubernetes/fleet/kustomization.yaml"].text.count("gpu-0=lock") == 1


def test_each_folder_reads_back_as_its_share(tmp_path: Path) -> None:
    write(render(two_nodes()), tmp_path)

    assert [one.server for one in read_back(tmp_path / "rack-1")["launch.sh"]] == ["chat-1"]
    assert [one.server for one in read_back(tmp_path / "rack-2")["launch.sh"]] == ["chat-2", "code"]


def test_no_two_nodes_share_the_variable_of_their_address() -> None:
    names = ["a-b", "a.b", "a_b", "a-b-c", "a.b-c", "ab"]

    assert address_variable("rack-1") == "PLANNER_NODE_RACK_1"
    assert len({address_variable(name) for name in names}) == len(names)
    assert all(re.fullmatch("PLANNER_NODE_[A-Z0-9_]+", address_variable(name)) for name in names)


def test_the_front_configuration_is_valid(tmp_path: Path) -> None:
    write(render(two_nodes()), tmp_path)
    run = subprocess.run(
        [program("haproxy"), "-c", "-f", tmp_path / "router" / "haproxy.cfg"],
        capture_output=True, text=True, check=False, env={"VLLM_API_KEY": "x"},
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    watched = subprocess.run(
        [program("promtool"), "check", "config", tmp_path / "monitoring" / "prometheus.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "SUCCESS: 4 rules found" in watched.stdout, watched.stdout + watched.stderr


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, dict[str, Stage]]]:
    """Both nodes on this machine, each with its own router, and the door before them."""
    *ports, routers = free_ports(4)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", routers)
    plan = two_nodes(*ports)
    write(render(plan), tmp_path / "all")
    authority = certify(tmp_path, tmp_path / "tls.pem")
    nodes = {}
    with ExitStack() as stack:
        for node, address in (("rack-1", "127.0.0.2"), ("rack-2", "127.0.0.3")):
            staged = stage(dict(on_nodes(plan))[node], tmp_path / node, PLANNER_ROUTER="on", PLANNER_BIND=address)
            shutil.copy(tmp_path / "tls.pem", staged.folder)
            stack.callback(staged.run, "launch.sh", "down")
            assert staged.run("launch.sh", "up").returncode == 0, staged.run("launch.sh", "status").stdout
            nodes[node] = staged
        port = context.build_context(plan).router.port
        environment = {
            "VLLM_API_KEY": KEY, "PLANNER_NODES_CA": str(authority), "PLANNER_METRICS": f"127.0.0.1:{free_ports(1)[0]}",
            "PLANNER_NODE_RACK_1": "127.0.0.2", "PLANNER_NODE_RACK_2": "127.0.0.3",
        }  # fmt: skip
        process = subprocess.Popen(
            [program("haproxy"), "-db", "-f", tmp_path / "all" / "router" / "haproxy.cfg"],
            env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        wait_until("the router listens", lambda: listens(port))
        wait_until("a request is answered", lambda: post(port, "/v1/completions", {"model": "code"})[0] == 200)
        yield port, nodes


def test_one_door_before_all_nodes(front: tuple[int, dict[str, Stage]]) -> None:
    port, nodes = front

    assert post(port, "/v1/completions", {"model": "code"})[1]["served_by"] == "code"
    assert post(port, "/v1/completions", {"model": "chat"})[1]["served_by"] == "chat"
    assert post(port, "/v1/completions", {"model": "nobody"})[0] == 404
    assert post(port, "/v1/completions", {"model": "chat"}, {})[0] == 401
    assert post(port, "/metrics", {"model": "chat"})[0] == 404

    assert nodes["rack-1"].run("launch.sh", "down", "chat-1").returncode == 0
    for _ in range(10):
        assert post(port, "/v1/completions", {"model": "chat"})[0] == 200, "the other node takes over"
