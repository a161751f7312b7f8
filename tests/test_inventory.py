"""Inventory: what kubectl saved becomes pools of a fleet that loads, and what is left out says why."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inventories import GPU, Json, container, labels_of, listed, node, pod, said, saved

from planner.catalog import Catalog, load_catalog
from planner.cli import main
from planner.fleet import load_fleet

PLUGIN_TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
A100 = "NVIDIA-A100-SXM4-80GB"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def taken(folder: Path, nodes: Json, pods: Json, *options: str) -> Result:
    """Run init on two files; the fleet is fleet.yaml in the folder."""
    files = [str(saved(folder, "nodes.json", nodes)), str(saved(folder, "pods.json", pods))]
    fleet = str(folder / "fleet.yaml")
    return CliRunner().invoke(main, ["init", fleet, "--force", "--from-kubectl", *files, *options])


def pools(folder: Path, catalog: Catalog, nodes: Json, pods: Json | None = None, *options: str) -> list[Any]:
    """Return what a planner reads from the fleet: GPU, GPUs of a node, names of the nodes."""
    result = taken(folder, nodes, listed() if pods is None else pods, *options)
    assert result.exit_code == 0, result.output
    fleet = load_fleet(folder / "fleet.yaml", catalog)
    return sorted((pool.gpu.name, pool.gpus_per_node, pool.nodes) for pool in fleet.pools)


def refused(folder: Path, nodes: Json | str, pods: Json | str) -> str:
    """Return what init says of files that are not as they should be."""
    files = [str(saved(folder, "nodes.json", nodes)), str(saved(folder, "pods.json", pods))]
    result = CliRunner().invoke(main, ["init", str(folder / "fleet.yaml"), "--from-kubectl", *files])
    assert result.exit_code == 1, result.output
    assert not (folder / "fleet.yaml").exists()
    return result.stderr


def test_equal_nodes_are_one_pool_and_others_hold_what_their_pods_ask_for(tmp_path: Path, catalog: Catalog) -> None:
    nodes = listed(
        *(node(f"gpu-{number}", taints=[PLUGIN_TAINT]) for number in range(9, 13)), node("cpu", {}, labels={})
    )
    pods = listed(
        pod("train", "gpu-9", 3),
        pod("ended", "gpu-10", 8, phase="Succeeded"),
        pod("failed", "gpu-10", 8, phase="Failed"),
        pod("waits", "", 4, phase="Pending"),
        pod("bound", "gpu-11", 1, phase="Pending"),
        pod("probe-x", "gpu-12", 1, owner={"kind": "DaemonSet", "name": "probe"}),
        pod("web", "cpu", namespace="web"),
    )

    assert pools(tmp_path, catalog, nodes, pods) == [
        ("H100 80GB SXM5", 5, 1), ("H100 80GB SXM5", 7, 2), ("H100 80GB SXM5", 8, 1),
    ]  # fmt: skip
    text = said(tmp_path)
    assert "team-a/train holds 3 on gpu-9" in text
    assert "DaemonSet team-a/probe holds 1 on gpu-12" in text
    assert "team-a/waits waits for 4 nvidia.com/gpu and is on no node yet: not counted" in text
    assert "gpu-11, gpu-12, 7 of 8" in text
    assert "Tainted nvidia.com/gpu=present:NoSchedule" in text
    assert "Without GPUs: 1 node." in text
    assert "ended" not in text


@pytest.mark.parametrize(
    ("spec", "free"),
    [
        pytest.param({"containers": [container(1), container(2)]}, 5, id="containers run together"),
        pytest.param({"containers": [container(1)], "initContainers": [container(4), container(2)]}, 4, id="init"),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(2, restartPolicy="Always")]}, 5, id="sidecar"
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(2, restartPolicy="Always"), container(4)]},
            2,
            id="init beside a sidecar",
        ),
        pytest.param({"containers": [{"name": "x", "resources": {"limits": {GPU: 2}}}]}, 6, id="limits alone"),
        pytest.param({"containers": [{"name": "x"}]}, 8, id="no resources"),
    ],
)
def test_a_pod_holds_what_the_scheduler_counts(tmp_path: Path, catalog: Catalog, spec: Json, free: int) -> None:
    one = pod("a", "gpu-1")
    one["spec"] |= spec

    assert pools(tmp_path, catalog, listed(node("gpu-1")), listed(one)) == [("H100 80GB SXM5", free, 1)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        pytest.param(node("other", unschedulable=True), "cordoned", id="cordoned"),
        pytest.param(node("other", ready="Unknown"), "not ready", id="lost"),
        pytest.param(node("other", ready="False"), "not ready", id="not ready"),
        pytest.param(
            node("other", taints=[{"key": "team", "value": "b", "effect": "NoExecute"}]), "tainted team=b:NoExecute",
            id="tainted",
        ),
        pytest.param(node("other", 0, has={GPU: "8"}), "calls them unhealthy", id="all ill"),
        pytest.param(node("other", {}), "the node has no device to give out", id="no plugin"),
        pytest.param(node("other", labels={}), "GPU feature discovery does not run there", id="no labels"),
        pytest.param(node("other", labels=labels_of("NVIDIA-H300")), "the catalog has no such GPU", id="unknown"),
        pytest.param(node("other", labels=labels_of(memory=40960)), "it is said to have 40960 MiB", id="other memory"),
        pytest.param(
            node("other", labels=labels_of() | {"nvidia.com/mig.config.state": "pending"}), "are being changed", id="m"
        ),
        pytest.param(
            node("other", 7, labels=labels_of(f"{A100}-MIG-INVALID")), "slices are not all alike", id="mixed slices"
        ),
        pytest.param(
            node("other", 40, labels=labels_of("NVIDIA-A10G-SHARED", 4, 23028, **{f"{GPU}.replicas": "10"})),
            "4 x NVIDIA-A10G: the node gives out shares (none, 10 of each) of 4 real GPUs", id="time slicing",
        ),
        pytest.param(
            node("other", {f"{GPU}.shared": "8"}, labels=labels_of("NVIDIA-A10G", 2, 23028)),
            "of 2 real GPUs", id="renamed shares",
        ),
        pytest.param(
            node("other", {"amd.com/gpu": "8"}, labels={"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}),
            "no plan is made for Instinct MI300X", id="amd",
        ),
        pytest.param(node("other", {"nvidia.com/GA102GL_A10": "2"}), "no plan is made for what", id="passthrough"),
        pytest.param(node("other", {GPU: "8k"}), "8,000 x NVIDIA-H100-80GB-HBM3: more than the 128", id="too many"),
    ],
)  # fmt: skip
def test_what_no_pod_of_a_fleet_could_have_is_left_out_with_the_reason(
    tmp_path: Path, catalog: Catalog, other: Json, reason: str
) -> None:
    assert pools(tmp_path, catalog, listed(node("gpu-1"), other)) == [("H100 80GB SXM5", 8, 1)]
    text = said(tmp_path)
    assert "Left out: other, " in text
    assert reason in text.split("Left out: other, ")[1]


def test_gpus_that_a_node_does_not_give_out_are_not_planned(tmp_path: Path, catalog: Catalog) -> None:
    assert pools(tmp_path, catalog, listed(node("gpu-1", 7, has={GPU: "8"}))) == [("H100 80GB SXM5", 7, 1)]
    assert "gpu-1 gives out 7 of its 8" in said(tmp_path)


def test_slices_are_read_with_both_strategies(tmp_path: Path, catalog: Catalog) -> None:
    single = node("single", 7, labels=labels_of(f"{A100}-MIG-1g.10gb", 7, 9728))
    mixed = node(
        "mixed",
        {"nvidia.com/mig-1g.10gb": "4", "nvidia.com/mig-3g.40gb": "1", GPU: "0"},
        labels=labels_of(A100, 1, 81920) | {"nvidia.com/mig-3g.40gb.product": f"{A100}-MIG-3g.40gb"},
    )
    held = pod("a", "mixed", containers=[container(1, "nvidia.com/mig-1g.10gb")])

    assert pools(tmp_path, catalog, listed(single, mixed), listed(held)) == [
        ("A100 80GB SXM4 MIG 1g.10gb", 3, 1), ("A100 80GB SXM4 MIG 1g.10gb", 7, 1),
        ("A100 80GB SXM4 MIG 3g.40gb", 1, 1),
    ]  # fmt: skip
    fleet = load_fleet(tmp_path / "fleet.yaml", catalog)
    assert sorted(pool.node_names for pool in fleet.pools) == [("mixed",), ("mixed",), ("single",)]


def test_zones_and_soft_taints_make_pools_of_their_own(tmp_path: Path, catalog: Catalog) -> None:
    soft = [{"key": "spot", "value": "true", "effect": "PreferNoSchedule"}]
    nodes = listed(node("a", zone="eu-1a"), node("b", zone="eu-1b"), node("c", zone="eu-1b", taints=soft))

    assert pools(tmp_path, catalog, nodes) == [("H100 80GB SXM5", 8, 1)] * 3
    fleet = load_fleet(tmp_path / "fleet.yaml", catalog)
    assert [pool.name for pool in fleet.pools] == [
        "h100-80gb-sxm5-eu-1a", "h100-80gb-sxm5-eu-1b", "h100-80gb-sxm5-eu-1b-b",
    ]  # fmt: skip


def test_a_name_that_the_catalog_lacks_can_be_told(tmp_path: Path, catalog: Catalog) -> None:
    nodes = listed(node("a", labels=labels_of("NVIDIA-H100-ENGINEERING-SAMPLE")))

    assert pools(tmp_path, catalog, nodes, None, "--gpu-is", "NVIDIA-H100-ENGINEERING-SAMPLE=H100 80GB SXM5") == [
        ("H100 80GB SXM5", 8, 1)
    ]


def own(name: str, fleet: str, on: str, gpus: int) -> Json:
    """A pod as the rendered manifests have it."""
    one = pod(name, on, containers=[container(gpus, command=["/bin/bash", "/opt/planner/gate.sh"])])
    one["metadata"]["labels"] = {"app.kubernetes.io/part-of": f"planner-{fleet}"}
    return one


def test_what_the_fleet_itself_holds_is_free(tmp_path: Path, catalog: Catalog) -> None:
    nodes = listed(node("gpu-1"))
    pods = [own("x", "prod", "gpu-1", 4), pod("a", "gpu-1", 1)]

    assert pools(tmp_path, catalog, nodes, listed(*pods)) == [("H100 80GB SXM5", 7, 1)]
    assert "\nname: prod\n" in (tmp_path / "fleet.yaml").read_text(encoding="utf-8")
    assert pools(tmp_path, catalog, nodes, listed(*pods), "--name", "new") == [("H100 80GB SXM5", 3, 1)]
    assert pools(tmp_path, catalog, nodes, listed(*pods, own("y", "test", "gpu-1", 2))) == [("H100 80GB SXM5", 1, 1)]
    assert "Other fleets hold GPUs here: planner-prod, planner-test." in said(tmp_path)


def test_files_may_be_one_and_in_any_order(tmp_path: Path, catalog: Catalog) -> None:
    pools(tmp_path, catalog, listed(node("a")), listed(pod("x", "a", 1), pod("y", "a", 1, namespace="b")))
    both = saved(tmp_path, "both.json", listed(pod("x", "a", 1), pod("y", "a", 1, namespace="b"), node("a")))
    expected = (tmp_path / "fleet.yaml").read_text(encoding="utf-8")

    printed = CliRunner().invoke(main, ["init", "-", "--from-kubectl", str(both)])

    assert printed.stdout == expected.replace("saved in nodes.json, pods.json", "saved in both.json")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        pytest.param(node("a"), "kind: is one Node, not a List", id="one node"),
        pytest.param("[]", "is a list, not a List", id="bare list"),
        pytest.param("apiVersion: v1\nitems: []\nkind: List\n", "which may be YAML", id="yaml"),
        pytest.param(json.dumps(listed(node("a")))[:-40], "is not complete: it ends in the middle", id="truncated"),
        pytest.param("", "is empty", id="empty"),
        pytest.param({"kind": "ServiceList", "items": []}, "kind: is a list of kind 'ServiceList'", id="services"),
        pytest.param({"kind": "List"}, "items: expected a list, not nothing", id="no items"),
        pytest.param(listed({"kind": "Service"}), "items[0].kind: 'Service' is none of Node", id="a service"),
        pytest.param(listed(), "there are no nodes", id="no nodes"),
        pytest.param(listed(node("a"), node("a")), "items[1].metadata.name: a is there twice", id="duplicate"),
        pytest.param(
            listed(node("a", {GPU: "lots"})), "items[0].status.capacity.nvidia.com/gpu: 'lots' is no quantity",
            id="no quantity",
        ),
        pytest.param(
            listed(node("a", {GPU: "1500m"})), "'1500m' is no whole number of devices", id="half a GPU"
        ),
        pytest.param(
            listed(node("a", labels=labels_of() | {f"{GPU}.count": "eight"})),
            "items[0].metadata.labels.nvidia.com/gpu.count: 'eight' is no quantity", id="label",
        ),
        pytest.param(
            listed(node("a", labels={f"{GPU}.product": 7})),  # type: ignore[dict-item]
            "items[0].metadata.labels.nvidia.com/gpu.product: expected text, not 7", id="label of a number",
        ),
        pytest.param(
            listed(node("a", taints=[{"key": 3}])), "items[0].spec.taints[0].key: expected text, not 3", id="taint"
        ),
        pytest.param(listed({"kind": "Node", "metadata": {}}), "items[0].metadata.name: expected a name", id="no name"),
        pytest.param(listed(node("a\n- b")), "items[0].metadata.name: expected a name", id="name of two lines"),
    ],
)  # fmt: skip
def test_files_that_are_something_else_are_refused_with_their_place(
    tmp_path: Path, nodes: Json | str, message: str
) -> None:
    told = refused(tmp_path, nodes, listed())

    assert message in told
    assert str(tmp_path / "nodes.json") in told


def test_pods_are_required_and_every_mistake_in_them_is_named(tmp_path: Path) -> None:
    alone = saved(tmp_path, "nodes.json", listed(node("a")))
    result = CliRunner().invoke(main, ["init", str(tmp_path / "fleet.yaml"), "--from-kubectl", str(alone)])
    assert result.exit_code == 1
    assert "without them nobody knows which GPUs are taken" in result.stderr

    wrong, none = pod("y", "a", 1, containers=[{"resources": 3}]), pod("z", "a")
    none["spec"]["containers"] = "none"

    told = refused(tmp_path, listed(node("a")), listed(pod("x", "a", "1.5"), wrong, none))

    assert "items[0].spec.containers[0].resources.limits.nvidia.com/gpu: '1.5' is no whole number" in told
    assert "items[1].spec.containers[0].resources: expected a map, not 3" in told
    assert "items[2].spec.containers: expected a list, not 'none'" in told


def test_a_cluster_without_a_usable_gpu_says_why(tmp_path: Path) -> None:
    told = refused(tmp_path, listed(node("a", unschedulable=True), node("b", {}, labels={})), listed())

    assert "no GPU that a plan could use, reason 1: a, 8 x NVIDIA-H100-80GB-HBM3: cordoned" in told


def test_five_thousand_nodes_fit_into_a_fleet(tmp_path: Path, catalog: Catalog) -> None:
    nodes = listed(*(node(f"gpu-{number:04}") for number in range(5000)))
    pods = listed(*(pod(f"p-{number}", f"gpu-{number:04}", 8) for number in range(0, 5000, 2)))

    found = pools(tmp_path, catalog, nodes, pods)

    assert {(gpu, gpus) for gpu, gpus, _ in found} == {("H100 80GB SXM5", 8)}
    assert sum(count for *_, count in found) == 2500
    assert (tmp_path / "fleet.yaml").stat().st_size < 20_000
