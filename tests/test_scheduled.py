"""Verify --cluster: pods made of the rendered manifests are as planned, and every drift of them is found."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import plans
import pytest
import yaml
from click.testing import CliRunner, Result
from inventories import GPU, Json, listed, node, saved
from msgspec.structs import replace
from test_group_sets import equal_groups
from test_several_machines import spanning

from planner.artifacts import render
from planner.cli import main
from planner.fleet import Cluster
from planner.plan import Plan, plan_to_yaml

CARD = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
LABELS = {f"{GPU}.product": CARD}
Pods = list[Json]


def fleet() -> Plan:
    """Two replicas on a GPU each, and two servers that share a third."""
    return plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,)),
        plans.server("chat-2", role="chat", gpu_indices=(1,), port=8002),
        plans.server("code", gpu_indices=(2,), port=8003),
        plans.server("embed", gpu_indices=(2,), port=8004),
    )


def made(plan: Plan) -> Pods:
    """The pods that controllers make of the rendered manifests, all ready on node gpu-1."""
    found: Pods = []
    for path, file in render(plan, targets=("kubernetes",)).items():
        if path in ("kubernetes/fleet/servers.yaml", "kubernetes/fleet/groups.yaml"):
            for document in filter(None, yaml.safe_load_all(file.text)):
                found += of_controller(document)
    return found


def of_chart(plan: Plan) -> Pods:
    """The pods that the chart of the production stack makes, with options of its own before the plan's."""
    values = yaml.safe_load(render(plan, targets=("helm-values",))["helm-values/values.yaml"].text)
    found: Pods = []
    for engine in values["servingEngineSpec"]["modelSpec"]:
        config = engine["vllmConfig"]
        own = ["--host", "0.0.0.0", "--port", "8000", "--enable-prefix-caching"]
        container = {
            "name": "vllm",
            "image": f"{engine['repository']}:{engine['tag']}",
            "command": ["vllm", "serve", engine["modelURL"], *own, "--tensor-parallel-size", "1"],
            "args": config["extraArgs"],
            "env": engine["env"],
            "resources": {"limits": {GPU: str(engine["requestGPU"])}, "requests": {GPU: str(engine["requestGPU"])}},
        }
        template = {"metadata": {"labels": engine["podLabels"]}, "spec": {"containers": [container]}}
        found += [running(f"{engine['name']}-{number}", template) for number in range(engine["replicaCount"])]
    return found


def of_controller(document: Json) -> Pods:
    name, spec = document["metadata"]["name"], document["spec"]
    if document["kind"] == "Deployment":
        return [running(f"{name}-{number}", spec["template"]) for number in range(spec["replicas"])]
    if document["kind"] == "LeaderWorkerSet":
        return [pod for number in range(spec["replicas"]) for pod in of_group(f"{name}-{number}", spec)]
    return []


def of_group(name: str, spec: Json) -> Pods:
    templates = spec["leaderWorkerTemplate"]
    pods = [running(name, templates["leaderTemplate"])]
    pods += [running(f"{name}-{number}", templates["workerTemplate"]) for number in range(1, templates["size"])]
    for number, one in enumerate(pods):
        one["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/worker-index"] = str(number)
    return pods


def running(name: str, template: Json) -> Json:
    one = copy.deepcopy(template)
    one |= {"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running"}}
    one["metadata"] |= {"name": name, "namespace": "llm"}
    one["spec"]["nodeName"] = "gpu-1"
    one["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
    return one


def verified(folder: Path, plan: Plan, pods: Pods, *nodes: Json, options: tuple[str, ...] = ()) -> Result:
    (folder / "plan.yaml").write_text(plan_to_yaml(plan), encoding="utf-8")
    there = nodes or (node("gpu-1", labels=LABELS),)
    files = [str(saved(folder, "nodes.json", listed(*there))), str(saved(folder, "pods.json", listed(*pods)))]
    return CliRunner().invoke(main, ["verify", str(folder), "--cluster", *files, *options])


def differing(result: Result) -> list[tuple[str, str, str]]:
    assert result.exit_code in (0, 5), result.output
    said = json.loads(result.stdout)
    assert said["as_planned"] == (result.exit_code == 0)
    return [(one["server"], one["what"], one["found"]) for one in said["findings"] if one["state"] == "differs"]


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(fleet(), id="replicas and servers that share"),
        pytest.param(replace(fleet(), cluster=Cluster(dra=True)), id="dra"),
        pytest.param(spanning(), id="group"),
        pytest.param(equal_groups(), id="equal groups"),
    ],
)
def test_pods_of_the_rendered_manifests_are_as_planned(tmp_path: Path, plan: Plan) -> None:
    assert differing(verified(tmp_path, plan, made(plan), options=("--json",))) == []
    table = verified(tmp_path, plan, made(plan))
    assert table.exit_code == 0
    assert "differs" not in table.stdout


def changed_image(pods: Pods) -> None:
    pods[0]["spec"]["containers"][0]["image"] = "mirror.example/vllm/vllm-openai:v0.20.0"


def changed_option(pods: Pods) -> None:
    args = pods[0]["spec"]["containers"][0]["args"]
    place = next(index for index, word in enumerate(args) if word.startswith("--max-model-len="))
    args[place] = "--max-model-len=4096"


def changed_model(pods: Pods) -> None:
    args = pods[0]["spec"]["containers"][0]["args"]
    args[args.index("serve") + 1] = "other/model"


def added_option(pods: Pods) -> None:
    pods[0]["spec"]["containers"][0]["args"].append("--enforce-eager")


def not_ready(pods: Pods) -> None:
    pods[0]["status"]["conditions"][1]["status"] = "False"
    waiting = {"name": "chat", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pods[0]["status"]["containerStatuses"] = [waiting]


def unschedulable(pods: Pods) -> None:
    del pods[0]["spec"]["nodeName"]
    message = "0/1 nodes are available:\n 1 Insufficient nvidia.com/gpu."
    pods[0]["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }


def elsewhere(pods: Pods) -> None:
    pods[0]["spec"]["nodeName"] = "lost"


def other_card(pods: Pods) -> None:
    pods[0]["spec"]["nodeName"] = "other"


def more_gpus(pods: Pods) -> None:
    pods[0]["spec"]["containers"][0]["resources"]["limits"][GPU] = 2


def gone(pods: Pods) -> None:
    del pods[0]


def evicted(pods: Pods) -> None:
    pods[0]["status"] = {"phase": "Failed", "reason": "Evicted"}


def another(pods: Pods) -> None:
    extra = copy.deepcopy(pods[0])
    extra["metadata"]["name"] = "extra"
    pods.append(extra)


def unplanned(pods: Pods) -> None:
    another(pods)
    pods[-1]["metadata"]["labels"]["app.kubernetes.io/instance"] = "old"


@pytest.mark.parametrize(
    ("drift", "what", "found"),
    [
        (changed_image, "image", "llm/x: mirror.example/vllm/vllm-openai:v0.20.0"),
        (changed_option, "command", "--max-model-len is 4096, planned 16384"),
        (changed_model, "command", "serves other/model, planned Qwen/Qwen2.5-Coder-7B-Instruct"),
        (added_option, "command", "has --enforce-eager, which is not planned"),
        (not_ready, "ready", "Running, chat CrashLoopBackOff"),
        (unschedulable, "ready", "Pending, 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        (elsewhere, "node", "lost is gone"),
        (other_card, "GPU", "NVIDIA-L4 on other"),
        (more_gpus, "GPUs of a pod", "2"),
        (gone, "pods", "1"),
        (evicted, "pods", "1"),
        (another, "pods", "3"),
        (unplanned, "pods", "llm/extra of planner-"),
    ],
)
def test_every_drift_is_found_and_nothing_else(
    tmp_path: Path, drift: Callable[[Pods], None], what: str, found: str
) -> None:
    pods = made(fleet())
    drift(pods)
    nodes = (node("gpu-1", labels=LABELS), node("other", labels={f"{GPU}.product": "NVIDIA-L4"}))

    ((server, said, text),) = differing(verified(tmp_path, fleet(), pods, *nodes, options=("--json",)))

    assert (server, said) == ("old" if drift is unplanned else "chat", what)
    assert found.split(": ", 1)[-1] in text


def test_a_group_of_a_set_that_is_gone_or_changed_is_found(tmp_path: Path) -> None:
    pods = made(equal_groups())[2:]
    args = pods[1]["spec"]["containers"][0]["args"]
    args[args.index("--master-port=29501")] = "--master-port=29502"

    assert differing(verified(tmp_path, equal_groups(), pods, options=("--json",))) == [
        ("big", "pods", "2"),
        ("big", "command", f"llm/{pods[1]['metadata']['name']}: --master-port is 29502, planned 29501"),
    ]


def test_a_cordoned_or_lost_node_is_told(tmp_path: Path) -> None:
    lost = node("gpu-1", labels=LABELS, ready="Unknown", unschedulable=True)

    told = differing(verified(tmp_path, fleet(), made(fleet()), lost, options=("--json",)))

    assert {text.split(": ", 1)[1] for _, what, text in told if what == "node"} == {
        "gpu-1 is cordoned", "gpu-1 is not ready",
    }  # fmt: skip


def test_pods_of_the_chart_are_held_against_the_plan_too(tmp_path: Path) -> None:
    plan = plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,)),
        plans.server("chat-2", role="chat", gpu_indices=(1,), port=8002),
    )
    pods = of_chart(plan)

    assert differing(verified(tmp_path, plan, pods, options=("--json",))) == []
    changed_option(pods)
    (found,) = differing(verified(tmp_path, plan, pods, options=("--json",)))
    assert found[1] == "command"
    assert found[2].endswith("--max-model-len is 4096, planned 16384")


def test_an_empty_cluster_lacks_every_server(tmp_path: Path) -> None:
    result = verified(tmp_path, fleet(), [])

    assert result.exit_code == 5
    assert [line.split()[:4] for line in result.stdout.splitlines()[1:]] == [
        ["chat", "pods", "2", "0"], ["code", "pods", "1", "0"],
    ]  # fmt: skip


def test_containers_that_a_mesh_puts_beside_a_server_are_not_its_own(tmp_path: Path) -> None:
    pods = made(fleet())
    for one in pods:
        one["spec"]["containers"].insert(0, {"name": "proxy", "image": "mesh/proxy:1", "args": ["--run"]})

    assert differing(verified(tmp_path, fleet(), pods, options=("--json",))) == []


def test_reading_and_asking_are_one_or_the_other(tmp_path: Path) -> None:
    result = verified(tmp_path, fleet(), made(fleet()), options=("--live",))

    assert result.exit_code == 2
