"""Manifests against the rules of schedulers, controllers and drivers that no schema states."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import parsed
import plans
import pytest
import test_kubernetes
from crds import validate
from fleets import PAIR, catalog, fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_kubernetes import apart, containers, documents, dra, pods, values
from test_ranks_on_machines import ranks
from test_several_machines import SCHEMA, spanning

from planner.artifacts import render, write
from planner.artifacts.cluster import device_expression
from planner.artifacts.context import build_context
from planner.artifacts.read_back import WORKER, read_back
from planner.artifacts.read_routes import wrong_routes
from planner.artifacts.verify import compared
from planner.check import check
from planner.explain.difference_text import difference
from planner.fleet import Cluster
from planner.plan import GPUGroup, Plan, differences, plan_from_yaml, plan_to_yaml
from planner.solve import solve

SLICE = "NVIDIA A100-SXM4-80GB MIG 3g.40gb"


def sliced(plan: Plan) -> Plan:
    return replace(plan, gpus=tuple(replace(gpu, product=SLICE) for gpu in plan.gpus))


def of_kind(plan: Plan, kind: str) -> list[dict[str, Any]]:
    return [document for document in documents(plan) if document["kind"] == kind]


def group_pods(plan: Plan) -> list[dict[str, Any]]:
    (group,) = of_kind(plan, "LeaderWorkerSet")
    both = group["spec"]["leaderWorkerTemplate"]
    return [both["leaderTemplate"], both["workerTemplate"]]


@pytest.mark.parametrize("plan", [spanning(), ranks()], ids=["stages", "ranks"])
def test_no_service_takes_the_name_of_a_group(plan: Plan) -> None:
    names = {item["metadata"]["name"] for item in of_kind(plan, "Service")}

    assert not names & {item["metadata"]["name"] for item in of_kind(plan, "LeaderWorkerSet")}


NAMES = st.text("abz09-", min_size=2, max_size=42).filter(lambda name: name[0] in "abz" and name[-1] in "abz")


@settings(max_examples=30, deadline=None)
@given(fleet=NAMES, size=st.integers(1, 40))
def test_names_of_groups_leave_room_for_what_is_added_to_them(fleet: str, size: int) -> None:
    plan = replace(spanning(), fleet=fleet)
    role = "r" * size
    long = replace(
        plan,
        servers=tuple(replace(one, name=role if one.name == "big" else "zz", role="x") for one in plan.servers),
        start_order=(role, "zz"),
    )
    (group,) = of_kind(long, "LeaderWorkerSet")

    # controller-revision-hash of the workers' pods: the name of their StatefulSet, and ten characters.
    assert len(group["metadata"]["name"] + "-0" + "-" + "0" * 10) <= 63


def test_groups_run_where_the_planned_gpu_is() -> None:
    for template in group_pods(spanning()):
        affinity = template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [
            "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
        ]


def test_servers_tolerate_the_taint_of_gpu_nodes() -> None:
    for pod in (
        *pods(apart()),
        *pods(plans.two_roles()),
        *pods(dra(plans.two_roles())),
        *(one["spec"] for one in group_pods(spanning())),
    ):
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_claim_for_a_shared_slice_matches_what_the_driver_publishes() -> None:
    (template,) = of_kind(dra(sliced(plans.two_roles())), "ResourceClaimTemplate")
    (request,) = template["spec"]["spec"]["devices"]["requests"]

    assert request["exactly"]["deviceClassName"] == "mig.nvidia.com"
    expression = request["exactly"]["selectors"][0]["cel"]["expression"]
    compared = dict(re.findall(r'\["gpu\.nvidia\.com"\]\.(\w+) == "([^"]*)"', expression))
    assert compared == {"productName": "NVIDIA A100-SXM4-80GB", "profile": "3g.40gb"}


def test_a_claim_for_a_card_names_the_card_alone() -> None:
    (template, *_) = of_kind(dra(plans.two_roles()), "ResourceClaimTemplate")

    assert template["spec"]["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] == "gpu.nvidia.com"
    assert "profile" not in device_expression("NVIDIA L40S")


def pointed(document: dict[str, Any], pointer: str) -> tuple[Any, str]:
    """Return the mapping that the last part of a JSON pointer (RFC 6901) is a key of, and that key."""
    *parts, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    found: Any = document
    for part in parts:
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found, last


def test_slices_of_the_mixed_strategy_are_an_overlay() -> None:
    plan = sliced(plans.plan(plans.server("one"), plans.server("two", gpu_indices=(1,), port=8002)))
    files = render(plan, targets=("kubernetes",))
    overlay = parsed.one(files["kubernetes/mig-mixed/kustomization.yaml"].text)
    deployments = {item["metadata"]["name"]: item for item in of_kind(plan, "Deployment")}

    assert overlay["resources"] == ["../fleet"]
    assert len(overlay["patches"]) == 2
    for patch in overlay["patches"]:
        deployment = deployments[patch["target"]["name"]]
        for step in parsed.one(patch["patch"]):
            found, key = pointed(deployment, step["path"])
            assert (key in found) == (step["op"] != "add"), step["path"]
            if step["op"] == "remove":
                del found[key]
            else:
                found[key] = step["value"]
        pod = deployment["spec"]["template"]["spec"]
        limits = pod["containers"][0]["resources"]["limits"]
        assert {name: limits[name] for name in limits if name != "memory"} == {"nvidia.com/mig-3g.40gb": 1}
        affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert affinity["nodeSelectorTerms"][0]["matchExpressions"] == [
            {"key": "nvidia.com/mig-3g.40gb.product", "operator": "In", "values": [SLICE.replace(" ", "-")]}
        ]
    assert "kubernetes/mig-mixed/kustomization.yaml" not in render(apart(), targets=("kubernetes",))


def test_what_sharing_takes_is_said_before_the_first_start() -> None:
    files = render(dra(plans.two_roles()), targets=("kubernetes",))
    for path in ("README.md", "kubernetes/fleet/servers.yaml"):
        assert "gpuResourcesEnabledOverride" in files[path].text, path
        assert "device plugin" in files[path].text, path
    for plan in (apart(), plans.two_roles()):
        assert "gpuResourcesEnabledOverride" not in "".join(
            file.text for file in render(plan, targets=("kubernetes",)).values()
        )


def wide() -> Plan:
    """Three data-parallel ranks on three machines: two of them workers of one template."""
    plan = ranks()
    third = replace(plan.gpus[-1], node="rack-3")
    big = plan.server("big")
    later = (*big.later_stages, replace(big.later_stages[0], node="rack-3"))
    big = replace(big, data_parallel_size=6, gpu_indices=(0, 1), later_stages=later)
    big = replace(big, later_stages=tuple(replace(one, gpu_indices=(0, 1)) for one in later))
    gpus = tuple(
        replace(third, node=node, index=index, servers=("big",))
        for node in ("rack-1", "rack-2", "rack-3")
        for index in (0, 1)
    )
    return replace(plan, servers=(big,), start_order=("big",), gpus=gpus)


@pytest.mark.parametrize("plan", [ranks(), wide()], ids=["two", "three"])
def test_a_group_of_ranks_has_an_api_in_every_pod(plan: Plan, tmp_path: Path) -> None:
    big = plan.server("big")
    schema = parsed.one(SCHEMA.read_text(encoding="utf-8"))
    (group,) = of_kind(plan, "LeaderWorkerSet")
    jsonschema.validate(group, schema)
    leader, worker = group_pods(plan)

    for template in (leader, worker):
        (container,) = template["spec"]["containers"]
        assert container["startupProbe"]["httpGet"] == {"path": "/health", "port": big.port}
        assert "--host=0.0.0.0" in container["args"]
        assert "--data-parallel-hybrid-lb" in container["args"]
        assert template["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    assert "--joined=29501" in leader["spec"]["containers"][0]["args"]
    assert "--joins=29501" in worker["spec"]["containers"][0]["args"]

    services = [item for item in of_kind(plan, "Service") if item["metadata"]["name"].find("--big--api") > 0]
    indices = [item["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] for item in services]
    assert indices == [str(rank) for rank in range(len(big.nodes))]
    write(render(plan, targets=("kubernetes",)), tmp_path)
    assert not wrong_routes(plan, tmp_path)["kubernetes/fleet/haproxy.cfg"]


@pytest.mark.parametrize("plan", [ranks(), wide()], ids=["two", "three"])
def test_the_files_of_a_group_of_ranks_are_the_plan(plan: Plan, tmp_path: Path) -> None:
    write(render(plan, targets=("kubernetes",)), tmp_path)
    read = {one.server: one for commands in read_back(tmp_path).values() for one in commands}

    assert list(compared(plan, "kubernetes", read)) == []


def test_every_worker_of_a_group_starts_its_own_ranks(tmp_path: Path) -> None:
    plan = wide()
    write(render(plan, targets=("kubernetes",)), tmp_path)
    started = {one.server: one for one in read_back(tmp_path)["kubernetes/fleet/groups.yaml"]}

    def value(name: str, flag: str) -> str:
        (found,) = [argument.value for argument in started[name].arguments if argument.flag == flag]
        return found

    assert value("big", "--data-parallel-start-rank") == "0"
    assert value("big" + WORKER, "--data-parallel-start-rank") == "2"
    assert value("big", "--data-parallel-address") == "VLLM_HOST_IP", "the engine cannot listen at a name"
    assert value("big" + WORKER, "--data-parallel-address") == "LWS_LEADER_ADDRESS"
    (worker,) = group_pods(plan)[1]["spec"]["containers"]
    assert worker["command"][2].endswith("--data-parallel-start-rank=$$((LWS_WORKER_INDEX * 2))")


def spread() -> Plan:
    """Two replicas of a role that the fleet wants on two machines, and a server beside one of them."""
    return plans.plan(
        plans.server("chat-1", role="chat", node="a", gpu_indices=(0,), spread="node"),
        plans.server("chat-2", role="chat", node="b", gpu_indices=(0,), port=8002, spread="node"),
        plans.server("embed", node="b", gpu_indices=(1,), port=8003),
    )


def selected(selector: dict[str, Any], plan: Plan) -> list[str]:
    """Return the names of the Deployments of servers whose pods a selector matches."""
    return [
        name
        for item in of_kind(plan, "Deployment")
        for name in item["metadata"].get("annotations", {"": item["metadata"]["name"].rpartition("--")[2]}).values()
        if selector["matchLabels"].items() <= item["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_replicas_that_the_fleet_spreads_are_on_machines_of_their_own() -> None:
    found = [pod["affinity"].get("podAntiAffinity") for pod in pods(spread())]

    (term,) = found[0]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert selected(term["labelSelector"], spread()) == ["chat-1,chat-2"]
    assert found[1:] == [None]
    assert all("podAntiAffinity" not in pod["affinity"] for pod in pods(apart()))
    (term,) = engine_of(spread())["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == engine_of(spread())["podLabels"]


def two_groups() -> Plan:
    """Two replicas of a role, each on two machines, and no machine with parts of both."""
    servers = [
        plans.server(
            f"big-{number}", role="big", node=f"{name}-1", gpu_indices=(0,), pipeline_parallel_size=2, spread="node",
            later_stages=(GPUGroup(node=f"{name}-2", gpu_indices=(0,)),), master_port=29500 + number,
        )
        for number, name in ((1, "left"), (2, "right"))
    ]  # fmt: skip
    gpus = tuple(
        replace(plans.plan(servers[0]).gpus[0], node=node, servers=(server.name,))
        for server in servers
        for node in server.nodes
    )
    return plans.plan(*servers, gpus=gpus)


def test_groups_that_the_fleet_spreads_share_no_machine_and_are_drained_one_at_a_time() -> None:
    groups = of_kind(two_groups(), "LeaderWorkerSet")
    (budget,) = of_kind(two_groups(), "PodDisruptionBudget")
    assert len(groups) == 2
    for group in groups:
        for template in ("leaderTemplate", "workerTemplate"):
            pod = group["spec"]["leaderWorkerTemplate"][template]
            labels = pod["metadata"]["labels"]
            assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
            (term,) = pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            assert term["labelSelector"]["matchLabels"].items() <= labels.items()
            (own,) = term["labelSelector"]["matchExpressions"]
            assert own == {"key": "app.kubernetes.io/instance", "operator": "NotIn",
                           "values": [labels["app.kubernetes.io/instance"]]}  # fmt: skip


@pytest.mark.parametrize("plan", [wide(), two_groups(), spread()], ids=["ranks", "groups", "spread"])
def test_what_clusters_add_follows_the_schemas(plan: Plan, tmp_path: Path) -> None:
    for document in documents(plan):
        validate(document)
    test_kubernetes.test_the_router_knows_every_server_by_its_service(plan, tmp_path)
    test_kubernetes.test_names_are_unique_labels(plan)


def test_a_drain_takes_one_replica_of_a_role_at_a_time() -> None:
    (budget,) = of_kind(apart(), "PodDisruptionBudget")

    assert budget["spec"]["maxUnavailable"] == 1
    assert selected(budget["spec"]["selector"], apart()) == ["chat-1,chat-2"]
    assert not of_kind(plans.two_roles(), "PodDisruptionBudget"), "a role in one pod would never let its node go"


def engine_of(plan: Plan, index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = values(plan)["servingEngineSpec"]["modelSpec"][index]
    return found


def test_helm_starts_engines_from_a_secret_without_a_hugging_face_token() -> None:
    engine = engine_of(apart())
    (token,) = [entry for entry in engine["env"] if entry["name"] == "HF_TOKEN"]

    assert token["valueFrom"]["secretKeyRef"]["optional"] is True
    assert "hf_token" not in engine, "the chart refers to that key without `optional`"


@pytest.mark.parametrize(("version", "caches"), [("0.33.0", True), ("0.27.0", False)])
def test_helm_leaves_prefix_caching_as_the_engine_has_it(version: str, caches: bool) -> None:
    plan = replace(apart(), engine_version=version)

    assert engine_of(plan)["vllmConfig"]["enablePrefixCaching"] is caches
    assert engine_of(plan, 1)["vllmConfig"]["enablePrefixCaching"] is False, "an embedder may not be able to"


def test_helm_replaces_pods_on_a_full_cluster_and_is_patient() -> None:
    stack = values(apart())["servingEngineSpec"]

    assert stack["strategy"] == {"type": "Recreate"}
    probe = stack["livenessProbe"]
    assert (probe["timeoutSeconds"], probe["failureThreshold"]) == (15, 10)


def test_helm_pods_are_closed_and_start_on_a_cluster_without_runtime_classes() -> None:
    stack = values(apart())["servingEngineSpec"]

    assert stack["runtimeClassName"] == "", "a pod with one that the cluster does not have is refused"
    assert stack["securityContext"]["runAsNonRoot"] is True
    assert stack["containerSecurityContext"]["capabilities"] == {"drop": ["ALL"]}
    for engine in stack["modelSpec"]:
        assert {"name": "HOME", "value": "/tmp"} in engine["env"]
        assert engine["requestCPU"] == engine["requestGPU"]


def test_helm_is_told_which_chart_the_values_are_for_and_how_to_keep_a_router() -> None:
    files = render(apart(), targets=("helm-values",))

    assert "vllm/vllm-stack --version 0.1.12" in files["README.md"].text
    assert "vllm/vllm-stack --version 0.1.12" in files["helm-values/values.yaml"].text
    assert "--set routerSpec.tag=latest@sha256:" in files["README.md"].text


def test_pods_request_what_their_servers_take_of_the_host() -> None:
    for plan in (apart(), plans.two_roles(), dra(plans.two_roles())):
        servers = {one.name: one for one in build_context(plan).servers}
        for pod, workload in zip(pods(plan), build_context(plan).workloads, strict=True):
            found = [one["resources"]["requests"]["memory"] for one in containers(pod)]
            wanted = sum(servers[slot.server].host_memory_bytes for slot in workload.slots)
            assert sum(int(one.removesuffix("Gi")) for one in found) * 2**30 >= wanted


def test_replicas_in_one_pod_are_said_to_be() -> None:
    servers = "kubernetes/fleet/servers.yaml"

    assert "# One pod has all servers of chat" in render(plans.many_roles(), targets=("kubernetes",))[servers].text
    assert "# One pod has" not in render(apart(), targets=("kubernetes",))[servers].text


def test_two_fleets_of_a_namespace_have_routers_and_engines_of_their_own() -> None:
    one, other = values(apart()), values(replace(apart(), fleet="another"))

    for key in ("servingEngineSpec", "routerSpec"):
        assert one[key]["labels"] != other[key]["labels"]
        assert set(one[key]["labels"]) == {"environment", "release"}, "both replace the chart's"


def test_helm_engines_run_where_the_planned_gpu_is_and_download_once() -> None:
    engine = engine_of(apart())
    affinity = engine["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"]
    assert (engine["replicaCount"], engine["pvcAccessMode"]) == (2, ["ReadWriteOnce"])
    (together,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert together["labelSelector"]["matchLabels"] == engine["podLabels"]

    plan = plans.plan(
        plans.server("chat-1", role="chat", node="a", gpu_indices=(0,)),
        plans.server("chat-2", role="chat", node="b", gpu_indices=(0,), port=8002),
    )
    engine = engine_of(plan)
    assert (engine["replicaCount"], engine["pvcAccessMode"]) == (2, ["ReadWriteMany"])
    assert "podAffinity" not in engine["affinity"]


def test_unequal_servers_of_a_role_are_engines_apart() -> None:
    plan = plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,)),
        plans.server("chat-2", role="chat", gpu_indices=(1,), port=8002, max_num_seqs=4),
    )

    assert [engine["name"] for engine in values(plan)["servingEngineSpec"]["modelSpec"]] == ["chat-1", "chat-2"]


def test_helm_names_leave_room_for_the_charts_own() -> None:
    engine = engine_of(plans.plan(plans.server("x" * 60), fleet="f" * 60))
    text = render(plans.plan(plans.server("x" * 60), fleet="f" * 60), targets=("helm-values",))
    (release,) = set(re.findall("helm install ([^ ]+) ", text["helm-values/values.yaml"].text))

    assert len(f"{release}-{engine['name']}-engine-service") <= 63


def test_the_fleet_says_that_its_cluster_has_dra(tmp_path: Path) -> None:
    written = {**PAIR, "cluster": {"dra": True}}
    plan = solve(fleet(written), catalog())
    assert isinstance(plan, Plan)
    plain = replace(plan, cluster=Cluster())

    assert "cluster:\n  dra: true\n" in plan_to_yaml(plan)
    assert "cluster" not in plan_to_yaml(plain)
    path = tmp_path / "plan.yaml"
    path.write_text(plan_to_yaml(plan), encoding="utf-8")
    assert plan_from_yaml(path) == plan
    assert check(plan, fleet(written), catalog()) == []
    assert [str(one) for one in check(plain, fleet(written), catalog())] == [
        "plan: made for another kind of cluster than the fleet's"
    ]
    assert difference(differences(plain, plan)) == "GPUs of a cluster come from DRA instead of the device plugin"
    assert of_kind(plan, "ResourceClaimTemplate")
    assert not of_kind(plain, "ResourceClaimTemplate")
