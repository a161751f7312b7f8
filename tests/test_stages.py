"""Pipeline stages: planned where a model does not fit one node otherwise, explained, and checked."""

import functools
from pathlib import Path
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace
from solving import planned, violations

from planner import explain
from planner.artifacts import render, write
from planner.artifacts.verify import verify
from planner.cli.plan_text import plan_text
from planner.fleet import Pool
from planner.plan import GPUGroup, NoPlan, Plan, ServerPlan, plan_from_yaml, plan_to_yaml
from planner.solve import solve
from planner.solve.ports import master_ports

TWO_NODES: dict[str, Any] = {
    "name": "two-nodes",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "nodes": {"h100": {"gpu": "h100-sxm-80gb", "gpus": 8, "count": 2}},
    "roles": {
        "large": {
            "task": "general",
            "models": ["Llama-3.1-405B-Instruct"],
            "schemes": "bf16",
            "context": "16k",
            "concurrency": {"min": 4, "target": 8},
            "request": {"prompt_tokens": "8k", "output_tokens": "1k"},
        },
        "small": {"task": "general", "models": ["Qwen2.5-7B-Instruct"], "schemes": "awq-int4", "context": "8k"},
    },
}
"""A model whose 756 GiB fit two nodes of eight 80 GB GPUs and not one, and one that fits beside it."""

THREE_GPUS: dict[str, Any] = {
    "name": "three-gpus",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "rtx-4090", "count": 3},
    "roles": {"large": {"task": "general", "models": ["Qwen2.5-72B-Instruct"], "schemes": "awq-int4", "context": "8k"}},
}
"""A model that needs three GPUs of one node, a number that no layer is split over."""


@functools.cache
def two_nodes() -> Plan:
    return planned(TWO_NODES)


def test_a_model_that_does_not_fit_one_node_is_on_two() -> None:
    large, small = two_nodes().servers

    assert (large.tensor_parallel_size, large.pipeline_parallel_size) == (8, 2)
    assert large.groups == tuple(GPUGroup(node=f"h100-{number}", gpu_indices=tuple(range(8))) for number in (1, 2))
    assert (small.pipeline_parallel_size, small.later_stages, small.master_port) == (1, (), 0)
    assert large.master_port not in (0, large.port, small.port)
    assert two_nodes().proof.proven


def test_every_gpu_of_a_stage_carries_the_largest_stage() -> None:
    large = two_nodes().server("large")
    carrying = [gpu for gpu in two_nodes().gpus if "large" in gpu.servers]

    assert [(gpu.node, gpu.index) for gpu in carrying] == list(large.gpus)
    assert all(gpu.total_bytes - gpu.free_bytes >= large.ledger.total_bytes for gpu in carrying)


def test_stages_inside_a_node_where_no_power_of_two_is_enough() -> None:
    (server,) = planned(THREE_GPUS).servers

    assert (server.tensor_parallel_size, server.pipeline_parallel_size) == (1, 3)
    assert server.gpus == tuple(("three-gpus", index) for index in range(3))
    assert server.master_port == 0


def test_the_files_of_stages_inside_a_node_start_the_plan(tmp_path: Path) -> None:
    write(render(planned(THREE_GPUS)), tmp_path)

    targets, differences = verify(planned(THREE_GPUS), fleet(THREE_GPUS), catalog(), tmp_path)

    assert "compose.yaml" in targets
    assert differences == []


def test_one_stage_is_enough_where_a_node_holds_the_model() -> None:
    quantized = changed(TWO_NODES, "roles.large.schemes", "awq-int4")

    assert all(server.pipeline_parallel_size == 1 for server in planned(quantized).servers)


def test_no_more_stages_than_it_takes_unless_they_are_asked_for() -> None:
    four_nodes = changed(TWO_NODES, "nodes.h100.count", 4)
    asked = changed(four_nodes, "roles.large.pipeline_parallel", [3, 4])

    assert planned(four_nodes).server("large").pipeline_parallel_size == 2
    assert planned(asked).server("large").pipeline_parallel_size in (3, 4)


def test_stages_that_are_asked_for_are_planned() -> None:
    document = changed(TWO_NODES, "roles.small.pipeline_parallel", 2)
    document = changed(document, "roles.small.tensor_parallel", 1)
    small = planned(changed(document, "roles.small.replicas", 2))
    servers = [server for server in small.servers if server.role == "small"]

    assert [server.pipeline_parallel_size for server in servers] == [2, 2]
    assert all(len(server.nodes) == 1 and len(set(server.gpus)) == 2 for server in servers)


def test_two_servers_across_nodes_find_each_other_on_ports_of_their_own() -> None:
    document = changed(TWO_NODES, "nodes.h100.count", 4)
    document = changed(document, "roles.large.replicas", 2)
    plan = planned(changed(document, "roles.large.spread", "node"))
    one, other = (server for server in plan.servers if server.role == "large")

    assert not set(one.nodes) & set(other.nodes)
    assert one.master_port != other.master_port


def test_a_master_port_stays_as_it_was() -> None:
    old = tampered("large", {"master_port": 29507})

    assert master_ports(two_nodes().servers, [8001, 8002], None) == {"large": 29501}
    assert master_ports(two_nodes().servers, [8001, 8002], old) == {"large": 29507}
    assert master_ports(two_nodes().servers, [8001, 29507], old) == {"large": 29501}


def test_an_engine_that_needs_ray_for_several_nodes_is_refused() -> None:
    answer = solve(fleet(changed(TWO_NODES, "engine.version", "0.11.0")), catalog())

    assert isinstance(answer, NoPlan)
    assert "stages on several nodes need version 0.12.0 of the engine or newer" in explain.no_plan(answer)


def test_a_second_node_is_offered_to_a_model_that_one_is_too_small_for() -> None:
    answer = solve(fleet(changed(TWO_NODES, "nodes.h100.count", 1)), catalog())

    assert isinstance(answer, NoPlan)
    assert ("nodes.h100.count", "1", "2") in {(change.path, change.before, change.after) for change in answer.changes}


def test_more_stages_are_offered_where_the_others_leave_too_little_for_fewer() -> None:
    crowded = {
        "name": "crowded",
        "engine": {"name": "vllm", "version": "0.33.0"},
        "nodes": {"box": {"gpu": "rtx-4090", "count": 3}},
        "roles": {
            "large": {"task": "general", "models": ["Qwen2.5-32B-Instruct"], "schemes": "awq-int4", "context": "8k"},
            "everywhere": {
                "task": "code", "models": ["Qwen2.5-Coder-7B-Instruct"], "schemes": "awq-int4", "context": "8k",
                "replicas": 3, "spread": "node",
            },
        },
    }  # fmt: skip
    answer = solve(fleet(crowded), catalog())

    assert isinstance(answer, NoPlan)
    offered = {(change.path, change.before, change.after) for change in answer.changes}
    assert ("roles.large.pipeline_parallel", "auto", "2") in offered
    assert planned(changed(crowded, "roles.large.pipeline_parallel", 2)).server("large").pipeline_parallel_size == 2


def test_too_little_for_a_number_of_stages_is_told_with_it() -> None:
    document = changed(THREE_GPUS, "roles.large.pipeline_parallel", 3)
    answer = solve(fleet(changed(document, "gpu.memory_in_use", "12GiB")), catalog())

    assert isinstance(answer, NoPlan)
    assert "too much for 3 stages of 1 GPU" in explain.no_plan(answer)


def test_the_plan_says_where_the_stages_are() -> None:
    assert "large: 2 stages of 8 GPUs, on GPU 0 to 7 of h100-1, then 0 to 7 of h100-2" in plan_text(two_nodes())
    assert "stages" not in plan_text(planned(changed(TWO_NODES, "roles.large", None)))


def test_stages_survive_plan_yaml(tmp_path: Any) -> None:  # noqa: ANN401
    path = tmp_path / "plan.yaml"
    path.write_text(plan_to_yaml(two_nodes()), encoding="utf-8")

    assert plan_from_yaml(path) == two_nodes()


OTHER_NODE = GPUGroup(node="h100-2", gpu_indices=tuple(range(8)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pipeline_parallel_size": 1}, "has 1 pipeline stages on 2 groups of GPUs"),
        ({"later_stages": ()}, "has 2 pipeline stages on 1 groups of GPUs"),
        ({"later_stages": (GPUGroup(node="h100-2", gpu_indices=(0, 1)),)}, "has 2 GPUs of h100-2 for a stage"),
        ({"later_stages": (GPUGroup(node="h100-1", gpu_indices=tuple(range(8))),)}, "has a GPU twice"),
        ({"later_stages": (GPUGroup(node="h100-3", gpu_indices=tuple(range(8))),)}, "of h100-3 is not in the fleet"),
        ({"pipeline_parallel_size": 3, "later_stages": (OTHER_NODE,) * 2}, "has 3 stages on 2 nodes"),
        ({"master_port": 0}, "has the master port 0 on 2 nodes"),
        ({"master_port": 8001}, "listens on 8001 twice"),
    ],
)
def test_stages_in_the_wrong_place_are_refused(values: dict[str, Any], message: str) -> None:
    assert message in violations(tampered("large", values), TWO_NODES)


def test_stages_the_role_does_not_allow_are_refused() -> None:
    document = changed(TWO_NODES, "roles.large.pipeline_parallel", [1, 4])
    document = changed(document, "nodes.h100.count", 4)

    assert "has 2 pipeline stages, which the role does not allow" in violations(two_nodes(), document)


def test_every_gpu_of_a_later_stage_counts() -> None:
    large = two_nodes().server("large")
    heavier = replace(large.ledger, margin_bytes=large.ledger.margin_bytes + 1)
    found = violations(tampered("large", {"ledger": heavier}), TWO_NODES)

    assert "GPU 0 of h100-2: the ledger does not add up" in found


def tampered(name: str, values: dict[str, Any]) -> Plan:
    def change(server: ServerPlan) -> ServerPlan:
        return replace(server, **values) if server.name == name else server

    return replace(two_nodes(), servers=tuple(map(change, two_nodes().servers)))


@pytest.mark.parametrize(
    ("width", "nodes", "size", "stages", "found"),
    [
        (8, 2, 8, 1, (1, 2)),
        (8, 2, 8, 2, (2, 1)),
        (8, 2, 4, 2, (1, 2)),
        (8, 3, 8, 2, (2, 1)),
        (8, 2, 8, 3, (0, 0)),
        (4, 4, 2, 3, (3, 2)),
        (3, 1, 1, 3, (1, 1)),
        (3, 1, 2, 2, (0, 0)),
    ],
)
def test_nodes_of_a_server_and_servers_of_a_pool(
    width: int, nodes: int, size: int, stages: int, found: tuple[int, int]
) -> None:
    names = tuple(f"box-{number}" for number in range(nodes))
    pool = Pool(name="box", path="nodes.box", gpu=catalog().gpu("h100-sxm-80gb"), node_names=names, gpus_per_node=width)

    assert (pool.server_nodes(size, stages), pool.servers(size, stages)) == found


def test_mig_slices_are_not_combined() -> None:
    gpu = catalog().gpu("A100 80GB SXM4 MIG 3g.40gb")
    pool = Pool(name="box", path="nodes.box", gpu=gpu, node_names=("one", "two"), gpus_per_node=2)

    assert pool.server_nodes(1, 1) == 1
    assert pool.server_nodes(1, 2) == 0


def test_layouts_that_were_not_compared_are_named_where_gpus_are_idle() -> None:
    document = changed(TWO_NODES, "roles.large", None)
    for key, value in (("schemes", "bf16"), ("models", ["Qwen2.5-72B-Instruct"]), ("concurrency.target", 2000)):
        document = changed(document, f"roles.small.{key}", value)
    asked = changed(document, "roles.small.pipeline_parallel", [1, 2])
    content = changed(document, "roles.small.concurrency.target", 2)
    single = changed(document, "nodes.h100.count", 1)

    lines = {name: list(explain.untried(fleet(one), planned(one))) for name, one in
             (("open", document), ("asked", asked), ("one node", single), ("content", content))}  # fmt: skip
    assert len(lines["open"]) == 1
    assert "set pipeline_parallel to [1, 2] to compare them" in lines["open"][0]
    assert (lines["asked"], lines["one node"], lines["content"]) == ([], [], [])


def test_a_checkpoint_larger_than_a_node_is_compared_though_another_fits_one() -> None:
    large = {**TWO_NODES["roles"]["large"], "models": ["DeepSeek-V3.2"], "schemes": ["fp8", "nvfp4"]}

    plan = planned({**TWO_NODES, "roles": {"large": large}})

    (server,) = plan.servers
    assert (server.scheme, server.pipeline_parallel_size, len(server.nodes)) == ("fp8", 2, 2)
