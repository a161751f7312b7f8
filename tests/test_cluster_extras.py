"""What stands beside the fleet in a cluster: monitoring, a Gateway, inference pools, scaling; valid, and the plan's."""

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import parsed
import plans
import pytest
from crds import validate
from msgspec.structs import replace
from staged import program
from test_clusters import two_groups, wide
from test_group_sets import equal_groups, equal_ranks
from test_kubernetes import apart, containers, dra
from test_replicas import pairs, unequal

from planner.artifacts import render, write
from planner.artifacts.context import build_context
from planner.artifacts.switch import File
from planner.plan import Plan

FOLDERS = ("monitoring", "gateway", "pools", "autoscale")
PLANS = {
    "apart": apart(), "pairs": pairs(), "unequal": unequal(), "many": plans.many_roles(), "groups": two_groups(),
    "ranks": wide(), "equal groups": equal_groups(), "equal ranks": equal_ranks(),
}  # fmt: skip


@functools.cache
def files(plan: Plan) -> dict[str, File]:
    return render(plan, targets=("kubernetes",))


def objects(plan: Plan, folder: str) -> list[dict[str, Any]]:
    return [
        document
        for path, file in files(plan).items()
        if path.startswith(f"kubernetes/{folder}/") and path.endswith(".yaml") and "kustomization" not in path
        for document in parsed.every(file.text)
    ]


def of_kind(plan: Plan, folder: str, kind: str) -> list[dict[str, Any]]:
    return [document for document in objects(plan, folder) if document["kind"] == kind]


def deployments_of(plan: Plan) -> list[dict[str, Any]]:
    """The Deployments of the servers."""
    return [one for one in of_kind(plan, "fleet", "Deployment") if "router" not in one["metadata"]["name"]]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_object_follows_its_schema_and_is_in_its_kustomization(plan: Plan) -> None:
    for folder in FOLDERS:
        home = f"kubernetes/{folder}"
        present = {path.removeprefix(f"{home}/") for path in files(plan) if path.startswith(f"{home}/")}
        if present:
            listed = parsed.one(files(plan)[f"{home}/kustomization.yaml"].text)
            assert {*listed["resources"]} - {"../fleet"} == present - {"kustomization.yaml"}
        found = objects(plan, folder)
        names = [(one["kind"], one["metadata"]["name"]) for one in found]
        assert len(set(names)) == len(names)
        for document in found:
            validate(document)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_prometheus_asks_every_server_at_a_port_that_its_pods_name(plan: Plan) -> None:
    scraped = []
    pods = [item["spec"]["template"] for item in deployments_of(plan)]
    for group in (one for one in objects(plan, "fleet") if one["kind"] == "LeaderWorkerSet"):
        pods += [group["spec"]["leaderWorkerTemplate"][name] for name in ("leaderTemplate", "workerTemplate")]
    pods += [item["spec"]["template"] for item in objects(plan, "fleet") if item["kind"] == "Deployment"]
    for monitor in of_kind(plan, "monitoring", "PodMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert found
        for pod in found:
            ports = [port["name"] for one in containers(pod["spec"]) for port in one["ports"]]
            assert endpoint["port"] in ports
        scraped.append({one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]})
    (door,) = [labels for labels in scraped if "server" not in labels]
    scraped.remove(door)
    (rule,) = of_kind(plan, "monitoring", "PrometheusRule")
    asked = {
        (job, server)
        for group in rule["spec"]["groups"]
        for one in group["rules"]
        for job, server in re.findall(r'job="([^"]*)",server="([^"]*)"', one["expr"])
    }
    assert asked == {(labels["job"], labels["server"]) for labels in scraped}
    assert len(asked) == len(scraped)
    assert f'up{{job="{door["job"]}"}} == 0' in {one["expr"] for one in rule["spec"]["groups"][0]["rules"]}


def test_alerts_of_a_cluster_are_those_of_a_machine() -> None:
    fleet = replace(apart(), servers=apart().servers[2:], start_order=("embed",))
    alerts = render(fleet, targets=("monitoring",))["monitoring/alerts.yml"].text
    (rule,) = of_kind(fleet, "monitoring", "PrometheusRule")

    assert rule["spec"]["groups"] == parsed.one(alerts)["groups"]


def test_the_gateway_leads_to_the_router() -> None:
    (route,) = of_kind(apart(), "gateway", "HTTPRoute")
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    services = {
        item["metadata"]["name"]: item["spec"]["ports"][0]["port"]
        for item in objects(apart(), "fleet")
        if item["kind"] == "Service"
    }
    assert services[backend["name"]] == backend["port"]


def test_roles_whose_pods_share_a_port_are_inference_pools() -> None:
    pools = of_kind(apart(), "pools", "InferencePool")
    templates = {item["metadata"]["name"]: item["spec"]["template"] for item in deployments_of(apart())}
    for pool in pools:
        (found,) = [
            pod
            for pod in templates.values()
            if pool["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
        (container,) = found["spec"]["containers"]
        assert [port["containerPort"] for port in container["ports"]] == [pool["spec"]["targetPorts"][0]["number"]]
    routes = of_kind(apart(), "pools", "HTTPRoute")
    assert [route["spec"]["rules"][0]["backendRefs"][0]["name"] for route in routes] == [
        pool["metadata"]["name"] for pool in pools
    ]
    headers = [match["headers"][0]["value"] for route in routes for match in route["spec"]["rules"][0]["matches"]]
    assert headers == ["chat", "embed"]


@pytest.mark.parametrize("plan", [unequal(), pairs(), equal_groups()], ids=["unequal", "pairs", "groups"])
def test_other_roles_are_no_pools(plan: Plan) -> None:
    assert not objects(plan, "pools")


def test_replicas_are_scaled_up_to_what_the_plan_has_gpus_for() -> None:
    (scaled,) = objects(apart(), "autoscale")
    overlay = parsed.one(files(apart())["kubernetes/autoscale/kustomization.yaml"].text)
    chat = next(server for server in build_context(apart()).servers if server.role == "chat")
    (trigger,) = scaled["spec"]["triggers"]

    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (1, 2)
    assert trigger["metadata"]["threshold"] == str(chat.requests)
    assert {patch["target"]["name"] for patch in overlay["patches"]} == {scaled["spec"]["scaleTargetRef"]["name"]}
    assert scaled["spec"]["scaleTargetRef"]["name"] in {item["metadata"]["name"] for item in deployments_of(apart())}
    assert not objects(plans.two_roles(), "autoscale")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here; other tests read the files themselves")
def test_an_overlay_changes_the_fleet_without_touching_its_files(tmp_path: Path) -> None:
    write(render(apart(), targets=("kubernetes",)), tmp_path / "artifacts")
    overlay = tmp_path / "production"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(json.dumps({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "llm",
        "resources": [f"../artifacts/kubernetes/{name}" for name in ("autoscale", "monitoring", "gateway", "pools")],
        "images": [{"name": "haproxy", "digest": "sha256:" + "0" * 64}],
        "patches": [
            {"target": {"kind": "Deployment", "labelSelector": "app.kubernetes.io/part-of=planner-workstation"},
             "patch": '[{"op": "add", "path": "/spec/template/spec/priorityClassName", "value": "serving"}]'},
            {"target": {"kind": "HTTPRoute"},
             "patch": '[{"op": "replace", "path": "/spec/parentRefs/0/name", "value": "public"}]'},
        ],
    }), encoding="utf-8")  # fmt: skip
    built = subprocess.run(
        [program("kubectl"), "kustomize", overlay], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    found = list(parsed.every(built.stdout))
    apps = {item["metadata"]["name"]: item for item in found if item["kind"] == "Deployment"}
    assert all(item["metadata"]["namespace"] == "llm" for item in found)
    assert all(item["spec"]["template"]["spec"]["priorityClassName"] == "serving" for item in apps.values())
    assert "replicas" not in apps["planner-workstation--chat"]["spec"]
    assert "@sha256:" in apps["planner-workstation--router"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert next(item for item in found if item["kind"] == "HTTPRoute")["spec"]["parentRefs"] == [{"name": "public"}]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here; other tests read the files themselves")
@pytest.mark.parametrize("plan", [wide(), dra(pairs())], ids=["groups", "claims"])
def test_kubectl_builds_what_not_every_fleet_has(plan: Plan, tmp_path: Path) -> None:
    write(files(plan), tmp_path)
    built = subprocess.run(
        [program("kubectl"), "kustomize", tmp_path / "kubernetes" / "fleet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    found = list(parsed.every(built.stdout))
    assert {one["kind"] for one in found} & {"LeaderWorkerSet", "ResourceClaimTemplate"}
    for document in found:
        validate(document)
