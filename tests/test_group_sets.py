"""Equal servers on several machines are one LeaderWorkerSet with replicas, and unequal ones are apart."""

from pathlib import Path

import pytest
import test_kubernetes
from crds import validate
from msgspec.structs import replace
from test_clusters import of_kind, two_groups, wide
from test_kubernetes import documents

from planner.artifacts import render, write
from planner.artifacts.groups import in_cluster
from planner.artifacts.read_back import WORKER, read_back
from planner.artifacts.read_routes import wrong_routes
from planner.artifacts.verify import compared
from planner.plan import Plan


def equal_groups() -> Plan:
    """Two replicas of a role, each of two stages on two machines, with ports of their own."""
    groups = two_groups()
    servers = tuple(replace(one, spread="", port=8001 + number) for number, one in enumerate(groups.servers))
    return replace(groups, servers=servers)


def equal_ranks() -> Plan:
    """Two replicas of a role, each with ranks on the same three machines, on GPUs of its own."""
    plan = wide()
    first = replace(plan.server("big"), name="big-1", role="big")
    later = tuple(replace(group, gpu_indices=(2, 3)) for group in first.later_stages)
    second = replace(
        first, name="big-2", gpu_indices=(2, 3), later_stages=later, port=first.port + 1, master_port=29502
    )
    gpus = tuple(
        replace(gpu, index=gpu.index + shift, servers=(name,))
        for gpu in plan.gpus
        for shift, name in ((0, "big-1"), (2, "big-2"))
    )
    return replace(plan, servers=(first, second), start_order=("big-1", "big-2"), gpus=gpus)


EQUAL = pytest.mark.parametrize("plan", [equal_groups(), equal_ranks()], ids=["stages", "ranks"])


@EQUAL
def test_equal_servers_are_one_object_that_follows_the_schemas(plan: Plan, tmp_path: Path) -> None:
    (group,) = of_kind(plan, "LeaderWorkerSet")

    assert group["metadata"]["name"] == "planner-workstation--big"
    assert group["spec"]["replicas"] == 2
    assert group["spec"]["leaderWorkerTemplate"]["size"] == len(plan.server("big-1").nodes)
    for document in documents(plan):
        validate(document)
    test_kubernetes.test_names_are_unique_labels(plan)
    test_kubernetes.test_the_router_knows_every_server_by_its_service(plan, tmp_path)


@EQUAL
def test_the_files_of_equal_groups_are_the_plan(plan: Plan, tmp_path: Path) -> None:
    write(render(plan, targets=("kubernetes",)), tmp_path)
    read = {one.server: one for commands in read_back(tmp_path).values() for one in commands}

    assert {"big-1", "big-2", "big-1" + WORKER, "big-2" + WORKER} == read.keys()
    assert list(compared(plan, "kubernetes", read)) == []


@EQUAL
def test_every_pod_uses_the_ports_of_the_first_and_the_router_finds_it_there(plan: Plan, tmp_path: Path) -> None:
    first = plan.server("big-1")
    write(render(plan, targets=("kubernetes",)), tmp_path)

    for name in ("leaderTemplate", "workerTemplate"):
        (group,) = of_kind(plan, "LeaderWorkerSet")
        (container,) = group["spec"]["leaderWorkerTemplate"][name]["spec"]["containers"]
        (told,) = [word for word in container["args"] if word.startswith(("--master-port=", "--data-parallel-rpc"))]
        assert told.endswith(f"={first.master_port}")
    assert wrong_routes(plan, tmp_path)["kubernetes/fleet/haproxy.cfg"] == []
    names = "planner-workstation--big--api"
    services = [item for item in of_kind(plan, "Service") if item["metadata"]["name"].startswith(names)]
    assert len(services) == len(first.answering_nodes)
    for service in services:
        assert service["spec"]["clusterIP"] == "None", "the router asks for the address of every group"
        assert service["spec"]["ports"][0]["targetPort"] == first.port
    router = (tmp_path / "kubernetes/fleet/haproxy.cfg").read_text(encoding="utf-8")
    assert router.count("server-template big") == len(first.answering_nodes)


def test_a_set_that_lost_a_replica_or_took_another_port_is_not_the_plan(tmp_path: Path) -> None:
    write(render(equal_groups(), targets=("kubernetes",)), tmp_path)
    groups = tmp_path / "kubernetes/fleet/groups.yaml"
    text = groups.read_text(encoding="utf-8")
    groups.write_text(text.replace("--port=8001", "--port=8002"), encoding="utf-8")
    read = {one.server: one for one in read_back(tmp_path)["kubernetes/fleet/groups.yaml"]}

    assert {str(one) for one in compared(equal_groups(), "kubernetes", read)} == {
        f"kubernetes: {name}: --port is 8002, planned 8001"
        for name in ("big-1", "big-2", "big-1 worker", "big-2 worker")
    }
    groups.write_text(text.replace("big-1,big-2", "big-1"), encoding="utf-8")
    with pytest.raises(Exception, match="big has 2 replicas"):
        read_back(tmp_path)


def test_unequal_servers_of_a_role_are_sets_apart() -> None:
    first, second = equal_groups().servers
    plan = replace(equal_groups(), servers=(first, replace(second, max_num_seqs=second.max_num_seqs - 1)))

    names = [group["metadata"]["name"] for group in of_kind(plan, "LeaderWorkerSet")]
    assert names == ["planner-workstation--big-1", "planner-workstation--big-2"]
    assert {group["spec"]["replicas"] for group in of_kind(plan, "LeaderWorkerSet")} == {1}


def test_the_readme_starts_again_all_that_it_stopped() -> None:
    text = render(equal_groups(), targets=("kubernetes",))["README.md"].text

    assert "kubectl logs pod/planner-workstation--big-0 -c big\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith("kubectl scale")]
    assert "leaderworkerset/planner-workstation--big --replicas=0" in line
    assert line.endswith("2 starts them again")


@pytest.mark.parametrize("count", [10, 11, 101])
def test_names_of_sets_leave_room_for_the_number_of_the_last_group(count: int) -> None:
    first = equal_groups().servers[0]
    names = [f"{'r' * 40}-{number}" for number in range(count)]
    servers = [replace(first, name=name, role="r" * 40) for name in names]
    plan = replace(equal_groups(), servers=tuple(servers), start_order=tuple(names))
    (found,) = set(in_cluster(plan).sets.values())

    assert found.replicas == count
    # controller-revision-hash of the workers' pods: the name of their StatefulSet, and ten characters.
    assert len(f"{found.object}-{count - 1}-{'0' * 10}") <= 63
