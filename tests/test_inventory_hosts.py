"""Inventory out of what nvidia-smi, Slurm and Ray write."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inventories import said

from planner.catalog import Catalog, load_catalog
from planner.cli import main
from planner.fleet import load_fleet
from planner.inventory.ray import accelerator_type

Json = dict[str, Any]
HEAD = "index, name, memory.total [MiB], memory.used [MiB], mig.mode.current"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def taken(folder: Path, kind: str, files: dict[str, str | Json | list[Json]], *options: str) -> Result:
    paths = []
    for name, data in files.items():
        path = folder / name
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        paths.append(str(path))
    arguments = ["init", str(folder / "fleet.yaml"), "--force", f"--from-{kind}", *paths, *options]
    return CliRunner().invoke(main, arguments)


def pools(folder: Path, catalog: Catalog, kind: str, files: dict[str, Any], *options: str) -> list[Any]:
    """Return what a planner reads from the fleet: GPU, first device, GPUs of a node, their nodes, MiB in use."""
    result = taken(folder, kind, files, *options)
    assert result.exit_code == 0, result.output
    fleet = load_fleet(folder / "fleet.yaml", catalog)
    return sorted(
        (pool.gpu.name, pool.gpu_index, pool.gpus_per_node, pool.node_names, pool.memory_in_use_bytes >> 20)
        for pool in fleet.pools
    )


def csv(*rows: str) -> str:
    return "\n".join((HEAD, *rows)) + "\n"


def xml(*gpus: tuple[str, int, int], mig: str = "Disabled") -> str:
    """A log of GPUs by name, MiB in all and in use, with the elements around those that are read."""
    body = "".join(
        f"<gpu id='00000000:0{place}:00.0'><product_name>{name}</product_name><product_brand>NVIDIA</product_brand>"
        f"<mig_mode><current_mig>{mig}</current_mig><pending_mig>{mig}</pending_mig></mig_mode>"
        f"<fb_memory_usage><total>{total} MiB</total><reserved>600 MiB</reserved><used>{used} MiB</used>"
        f"<free>1 MiB</free></fb_memory_usage></gpu>"
        for place, (name, total, used) in enumerate(gpus)
    )
    head = '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n'
    return f"{head}<nvidia_smi_log><attached_gpus>{len(gpus)}</attached_gpus>{body}</nvidia_smi_log>\n"


def test_hosts_in_csv_and_xml_are_pools_with_what_others_hold(tmp_path: Path, catalog: Catalog) -> None:
    h100 = "NVIDIA H100 80GB HBM3"
    files = {
        "one.csv": csv(*(f"{index}, {h100}, 81559 MiB, {4 + index} MiB, Disabled" for index in range(8))),
        "two.xml": xml(*((h100, 81559, 4) for _ in range(8))),
        "desk.csv": csv(
            "0, NVIDIA GeForce RTX 4090, 24564 MiB, 900 MiB, [N/A]",
            "1, NVIDIA GeForce RTX 4090, 24564 MiB, 12000 MiB, [N/A]",
            "2, NVIDIA L40S, 46068 MiB, 0 MiB, [N/A]",
        ),
    }

    assert pools(tmp_path, catalog, "nvidia-smi", files) == [
        ("H100 80GB SXM5", 0, 8, ("h100-80gb-sxm5-1", "h100-80gb-sxm5-2"), 0),
        ("L40S", 2, 1, ("desk",), 0),
        ("RTX 4090", 0, 1, ("desk",), 1024),
        ("RTX 4090", 1, 1, ("desk",), 12032),
    ]
    assert "one, two, 8 x NVIDIA H100 80GB HBM3 each; h100-80gb-sxm5-1 to h100-80gb-sxm5-2 in this order" in said(
        tmp_path
    )


def test_cards_that_the_driver_calls_the_same_are_told_apart_by_their_memory(tmp_path: Path, catalog: Catalog) -> None:
    files = {"desk.csv": csv("0, NVIDIA GeForce RTX 4090, 49140 MiB, 0 MiB, [N/A]")}

    assert [pool[0] for pool in pools(tmp_path, catalog, "nvidia-smi", files)] == ["RTX 4090 48GB"]


def test_several_hosts_may_be_in_one_table(tmp_path: Path, catalog: Catalog) -> None:
    rows = "host, index, name, memory.total, memory.used\na, 0, NVIDIA L4, 23034, 1\nb, 0, NVIDIA L4, 23034, 1\n"

    assert [pool[3] for pool in pools(tmp_path, catalog, "nvidia-smi", {"all.csv": rows})] == [("l4-1", "l4-2")]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ({"b.xml": xml(("NVIDIA A100-SXM4-80GB", 81920, 0), mig="Enabled")}, "MIG is on"),
        ({"b.csv": csv("0, NVIDIA L4, 23034 MiB, 22900 MiB, [N/A]")}, "others hold 22.36 GiB of it"),
        ({"b.csv": csv("0, NVIDIA L4, 23034 MiB, [GPU requires reset], [N/A]")}, "'[GPU requires reset]'"),
        ({"b.csv": csv("0, NVIDIA L9, 23034 MiB, 0 MiB, [N/A]")}, "the catalog has no such GPU"),
        ({"b.csv": csv("0, Tesla P40, 23040 MiB, 0 MiB, [N/A]")}, "no plan is made for P40"),
    ],
)
def test_gpus_of_a_host_that_cannot_be_planned_are_left_out(
    tmp_path: Path, catalog: Catalog, file: dict[str, str], reason: str
) -> None:
    found = pools(tmp_path, catalog, "nvidia-smi", {"a.csv": csv("0, NVIDIA L4, 23034 MiB, 1 MiB, [N/A]"), **file})

    assert [pool[3] for pool in found] == [("a",)]
    assert reason in said(tmp_path).split("Left out: b, ")[1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": "0, NVIDIA L4, 23034 MiB, 1 MiB\n"}, "a.csv:1:1: has no column index, name"),
        ({"a.csv": csv("0, NVIDIA L4, 1")}, "a.csv:2:1: has 3 values under 5 columns"),
        ({"a.csv": csv("x, NVIDIA L4, 1, 1, 1")}, "a.csv:2:1: 'x' is no device number"),
        ({"a.csv": csv(*["0, NVIDIA L4, 23034 MiB, 1 MiB, [N/A]"] * 2)}, "GPU 0 of a is there twice"),
        ({"a.xml": xml(("NVIDIA L4", 23034, 0))[:-60]}, "a.xml:3:329: is no XML that can be read"),
        ({"a.xml": "<html></html>"}, "is XML of 'html', not of nvidia_smi_log"),
        ({"a.xml": "\n"}, "is empty"),
    ],
)
def test_files_that_nvidia_smi_did_not_write_are_refused(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    result = taken(tmp_path, "nvidia-smi", files)

    assert result.exit_code == 1
    assert message in result.stderr


def slurm(name: str, gres: str, used: str = "gpu:0", *state: str, **more: Any) -> Json:  # noqa: ANN401 - any JSON
    return {"name": name, "state": list(state or ("IDLE",)), "gres": gres, "gres_used": used, **more}


def test_nodes_of_slurm_have_what_jobs_do_not_hold(tmp_path: Path, catalog: Catalog) -> None:
    nodes = {
        "nodes": [
            slurm("g1", "gpu:nvidia_h100_80gb_hbm3:8(S:0-1)", "gpu:nvidia_h100_80gb_hbm3:0(IDX:N/A)"),
            slurm("g2", "gpu:nvidia_h100_80gb_hbm3:8(S:0-1)", "gpu:nvidia_h100_80gb_hbm3:3(IDX:0-2)", "MIXED"),
            slurm("g3", "gpu:l40s:4,shard:l40s:16", "gpu:l40s:1(IDX:0),shard:l40s:0", "MIXED", "PLANNED"),
            slurm("g4", "gpu:nvidia_a100-sxm4-80gb_1g.10gb:7", "gpu:0"),
            slurm("c1", "(null)", "(null)"),
        ]
    }

    assert [pool[:3] for pool in pools(tmp_path, catalog, "slurm", {"nodes.json": nodes})] == [
        ("A100 80GB SXM4 MIG 1g.10gb", 0, 7), ("H100 80GB SXM5", 0, 5), ("H100 80GB SXM5", 0, 8), ("L40S", 0, 3),
    ]  # fmt: skip
    assert "jobs hold 3 on g2 (0-2)" in said(tmp_path)
    assert "Without GPUs: 1 node." in said(tmp_path)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (slurm("b", "gpu:l4:4", "gpu:l4:1", "MIXED", "DRAIN"), "Slurm calls it DRAIN"),
        (slurm("b", "gpu:l4:4", "gpu:0", "DOWN", "NOT_RESPONDING"), "Slurm calls it DOWN+NOT_RESPONDING"),
        (slurm("b", "gpu:l4:4") | {"state": "idle", "state_flags": ["DRAIN"]}, "Slurm calls it DRAIN"),
        (slurm("b", "gpu:l4:4") | {"state": "idle~"}, "Slurm calls it IDLE~"),
        (slurm("b", "gpu:l4:4", "gpu:l4:1", "ALLOCATED"), "Slurm has given out all its processors"),
        (slurm("b", "gpu:l4:4", "gpu:l4:4", "MIXED"), "jobs hold all of them"),
        (slurm("b", "gpu:l4:4,shard:16", "gpu:l4:0,shard:2", "MIXED"), "jobs hold shares of its GPUs"),
        (slurm("b", "gpu:h100:4"), "the name may mean H100 80GB PCIe or H100 80GB SXM5 or H100 NVL 94GB"),
        (slurm("b", "gpu:4"), "the catalog has no"),
        ({"name": "b", "state": ["IDLE"], "gres": "gpu:l4:4"}, "what is in use there is not said"),
    ],
)
def test_what_slurm_would_not_give_out_is_left_out(tmp_path: Path, catalog: Catalog, node: Json, reason: str) -> None:
    found = pools(tmp_path, catalog, "slurm", {"nodes.json": {"nodes": [slurm("a", "gpu:l4:2"), node]}})

    assert [pool[3] for pool in found] == [("a",)]
    assert reason in said(tmp_path).split("Left out: b, ")[1]


def test_a_short_name_can_be_told(tmp_path: Path, catalog: Catalog) -> None:
    nodes = {"nodes": [slurm("a", "gpu:h100:8"), slurm("b", "gpu:8")]}
    options = ("--gpu-is", "h100=H100 80GB SXM5", "--gpu-is", "gpu=L40S")

    assert [pool[0] for pool in pools(tmp_path, catalog, "slurm", {"n.json": nodes}, *options)] == [
        "H100 80GB SXM5", "L40S",
    ]  # fmt: skip


def test_sinfo_is_read_as_far_as_it_tells(tmp_path: Path, catalog: Catalog) -> None:
    def line(nodes: list[str], used: str, *state: str) -> Json:
        return {
            "node": {"state": list(state)},
            "nodes": {"total": len(nodes), "nodes": nodes},
            "gres": {"total": "gpu:l4:4(S:0)", "used": used},
        }

    lines = [
        line(["a[01-02]"], "gpu:l4:0(IDX:N/A)", "IDLE"),
        line(["a01"], "gpu:l4:0(IDX:N/A)", "IDLE"),
        line(["b1"], "gpu:l4:3(IDX:0-2)", "MIXED"),
        line(["c1", "c2"], "gpu:l4:1(IDX:0)", "MIXED"),
    ]

    assert [pool[1:4] for pool in pools(tmp_path, catalog, "slurm", {"sinfo.json": {"sinfo": lines}})] == [
        (0, 1, ("b1",)), (0, 4, ("l4-1", "l4-2")),
    ]  # fmt: skip
    assert "Left out: c1, c2, 8 x l4: what is in use there is not said" in said(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is a list, not what Slurm writes"),
        ({"jobs": []}, "has neither nodes nor sinfo"),
        ({"nodes": [slurm("a", "gpu:l4:2"), {"state": 3}]}, "nodes[1].name: is missing"),
        ({"nodes": [slurm("a", "gpu:l4:many")]}, "nodes[0].gres: 'gpu:l4:many' is no generic resource"),
        ({"nodes": [slurm("a", "gpu:l4:2")] * 2}, "node a is there twice"),
        ({"nodes": {}}, "nodes: expected a list"),
    ],
)
def test_files_that_slurm_did_not_write_are_refused(tmp_path: Path, data: Any, message: str) -> None:  # noqa: ANN401
    result = taken(tmp_path, "slurm", {"n.json": data})

    assert result.exit_code == 1
    assert message in result.stderr


def ray(name: str, gpus: int, used: int = 0, product: str = "NVIDIA H100 80GB HBM3", state: str = "ALIVE") -> Json:
    """A node of the dashboard's page; ``used`` GPUs have their memory full."""
    cards = [
        {"index": index, "name": product, "uuid": f"GPU-{index}", "utilizationGpu": 0, "memoryTotal": 81559,
         "memoryUsed": 70000 if index < used else 4, "processesPids": None}
        for index in range(gpus)
    ]  # fmt: skip
    raylet = {"nodeId": f"id-{name}", "state": state, "isHeadNode": False, "nodeManagerAddress": "10.0.0.1"}
    resources = {"CPU": 96.0, "GPU": float(gpus), "acceleratorType:H100": 1.0, f"node:{name}": 1.0}
    return {"hostname": name, "ip": "10.0.0.1", "gpus": cards, "raylet": raylet | {"resourcesTotal": resources}}


def test_nodes_of_the_dashboard_have_what_ray_has_not_given_out(tmp_path: Path, catalog: Catalog) -> None:
    groups = "1.0/96.0 CPU\n1.0/8.0 GPU (0.5 used of 3.0 reserved in placement groups)"
    page = {
        "result": True,
        "msg": "Node summary fetched.",
        "data": {
            "summary": [ray("a", 8), ray("b", 8), ray("c", 8, used=5), ray("d", 8, state="DEAD"), ray("cpu", 0)],
            "nodeLogicalResources": {"id-a": "0.0/8.0 GPU", "id-b": groups, "id-c": "1.0/8.0 GPU", "id-cpu": ""},
        },
    }

    assert [pool[2:4] for pool in pools(tmp_path, catalog, "ray", {"nodes.json": page})] == [
        (3, ("c",)), (4, ("b",)), (8, ("a",)),
    ]  # fmt: skip
    assert "Left out: d, 8 x NVIDIA H100 80GB HBM3: Ray calls it DEAD" in said(tmp_path)
    assert "b has given out 3.5" in said(tmp_path)
    assert "Without GPUs: 1 node." in said(tmp_path)


def test_the_report_of_the_autoscaler_is_read(tmp_path: Path, catalog: Catalog) -> None:
    usage = {
        "10.0.0.1": {"CPU": [0.0, 8.0], "GPU": [0.0, 4.0], "accelerator_type:L40S": [0.0, 1.0]},
        "10.0.0.2": {"CPU": [0.0, 8.0], "GPU": [1.5, 4.0], "accelerator_type:L40S": [0.0, 1.0]},
    }
    camel = {"result": True, "data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": usage}}}}
    plain = {"load_metrics_report": {"usage_by_node": usage}}

    expected = [("L40S", 0, 2, ("10.0.0.2",), 0), ("L40S", 0, 4, ("10.0.0.1",), 0)]
    assert pools(tmp_path, catalog, "ray", {"status.json": camel}) == expected
    assert pools(tmp_path, catalog, "ray", {"status.json": plain}) == expected


def test_a_list_of_nodes_says_nothing_of_what_is_in_use(tmp_path: Path, catalog: Catalog) -> None:
    nodes = [
        {"node_id": "1", "node_ip": "10.0.0.1", "node_name": "a", "state": "ALIVE", "is_head_node": True,
         "resources_total": {"CPU": 8.0, "memory": "4 GiB", "GPU": 4.0, "accelerator_type:A10G": 1.0}, "labels": {}},
        {"node_id": "2", "node_ip": "10.0.0.2", "node_name": "b", "state": "ALIVE", "is_head_node": False,
         "resources_total": {"GPU": 8.0, "accelerator_type:H200": 1.0}, "labels": {}},
    ]  # fmt: skip

    assert pools(tmp_path, catalog, "ray", {"nodes.json": nodes}) == [("A10G", 0, 4, ("a",), 0)]
    assert "Ray does not say there what is given out, of 2 nodes such as a" in said(tmp_path)
    assert "Left out: b, 8 x H200: the name may mean H200 SXM or H200 NVL" in said(tmp_path)


def test_a_name_that_ray_gives_an_older_card_too_is_left_to_the_user(tmp_path: Path, catalog: Catalog) -> None:
    usage = {"a": {"GPU": [0.0, 2.0], "accelerator_type:RTX-6000": [0.0, 1.0]}}
    status: dict[str, Any] = {"status.json": {"load_metrics_report": {"usage_by_node": usage}}}

    refused = taken(tmp_path, "ray", status)

    assert refused.exit_code == 1
    assert "the name may mean RTX 6000 Ada or Quadro RTX 6000; --gpu-is says which" in refused.stderr
    told = pools(tmp_path, catalog, "ray", status, "--gpu-is", "RTX-6000=RTX 6000 Ada")
    assert told == [("RTX 6000 Ada", 0, 2, ("a",), 0)]


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("Quadro RTX 6000", "RTX-6000"), ("NVIDIA RTX 6000 Ada Generation", "RTX-6000"),
        ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200 NVL", "H200"), ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"), ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 5090", "GeForce-RTX-5090"), ("NVIDIA L40S", "L40S"),
    ],
)  # fmt: skip
def test_accelerator_types_are_what_ray_makes_of_names(product: str, name: str) -> None:
    assert accelerator_type(product) == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"result": True, "data": {}}, "has no nodes: neither data.summary nor usage_by_node"),
        ([{"node_id": "1"}], "[0].state: is missing"),
        ({"load_metrics_report": {"usage_by_node": {"a": {"GPU": [1]}}}}, "usage_by_node.a.GPU: expected two numbers"),
        ([ray("a", 1) | {"state": "ALIVE", "node_name": "a"}] * 2, "node a is there twice"),
        ("======== Autoscaler status ========\nNode status\n", "is no JSON: it begins with '======== Autoscaler"),
    ],
)
def test_files_that_ray_did_not_write_are_refused(tmp_path: Path, data: Any, message: str) -> None:  # noqa: ANN401
    result = taken(tmp_path, "ray", {"status.json": data})

    assert result.exit_code == 1
    assert message in result.stderr


def test_one_source_at_a_time(tmp_path: Path) -> None:
    both = taken(tmp_path, "slurm", {"a.json": {}}, "--from-ray", str(tmp_path / "a.json"))

    assert both.exit_code == 2
    assert "--from-slurm and --from-ray say the same thing" in both.stderr
