"""The Kubernetes manifests and the Helm values: valid for the API, in start order, closed, and true to the plan."""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import parsed
import plans
import pytest
from crds import validate_values
from hypothesis import given, settings
from msgspec.structs import replace
from staged import program
from test_artifacts import NAMES, PLANS, hostile
from test_nodes import two_nodes

from planner.artifacts import render, write
from planner.artifacts.context import build_context
from planner.artifacts.processes import Server
from planner.errors import InputError
from planner.fleet import Cluster
from planner.plan import Plan

TARGETS = ("kubernetes",)


def apart() -> Plan:
    """Two replicas and an embedder, every one with GPUs of its own."""
    return plans.plan(
        plans.server("chat-1", role="chat", tensor_parallel_size=2, gpu_indices=(0, 1)),
        plans.server("chat-2", role="chat", tensor_parallel_size=2, gpu_indices=(2, 3), port=8002),
        plans.server("embed", pooling=True, gpu_indices=(4,), port=8003, kv_cache_memory_bytes=0, kv_cache_tokens=0),
    )


def dra(plan: Plan) -> Plan:
    """The same plan for a cluster whose GPUs NVIDIA's DRA driver gives out."""
    return replace(plan, cluster=Cluster(dra=True))


ALL = {**PLANS, "apart": apart(), "dra": dra(plans.many_roles())}


@functools.cache
def documents(plan: Plan) -> list[dict[str, Any]]:
    """Every object that starts the fleet, Kustomize's own files left out."""
    return [
        document
        for path, file in render(plan, targets=TARGETS).items()
        if re.fullmatch(r"kubernetes/((fleet|download)/)?[a-z-]+\.yaml", path) and "kustomization" not in path
        for document in parsed.every(file.text)
    ]


def pods(plan: Plan) -> list[dict[str, Any]]:
    """The pod templates of the servers' Deployments."""
    return [
        document["spec"]["template"]["spec"]
        for document in documents(plan)
        if document["kind"] == "Deployment"
        and document["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    ]


def deployments(plan: Plan) -> list[dict[str, Any]]:
    """The Deployments of the servers."""
    return [
        item for item in documents(plan) if item["kind"] == "Deployment" and "router" not in item["metadata"]["name"]
    ]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers in the order in which the kubelet starts them."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def processes(container: dict[str, Any]) -> list[list[str]]:
    """The arguments of each server in a container, with Kubernetes' escape of the dollar undone."""
    arguments = [str(word).replace("$$", "$") for word in container["args"]]
    starts = [place for place, word in enumerate(arguments) if word == "--next"]
    ends = [*starts[1:], None]
    return [arguments[start:end] for start, end in zip(starts, ends, strict=True)] if starts else [arguments]


def words(process: list[str]) -> list[str]:
    """The command line after the gate's own options."""
    return process[process.index("--") + 1 :]


def workers(plan: Plan) -> list[list[str]]:
    """The arguments of every server in the order in which a pod starts them."""
    return [process for pod in pods(plan) for container in containers(pod) for process in processes(container)]


def wanted(server: Server) -> list[str]:
    return [
        "vllm", "serve", server.model,
        *(f"{item.flag}={item.value}" if item.value else item.flag for item in server.container_arguments),
    ]  # fmt: skip


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_every_object_follows_the_schema(plan: Plan, version: str) -> None:
    for document in documents(plan):
        kubernetes_validate.validate(document, version, strict=True)


def test_servers_apart_need_no_more_than_native_sidecars_do() -> None:
    for document in documents(apart()):
        kubernetes_validate.validate(document, "1.29", strict=True)


def test_the_schema_is_strict() -> None:
    (document, *_) = documents(apart())
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "surplus": 1}, "1.34", strict=True)


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_names_are_unique_labels(plan: Plan) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in documents(plan)]

    assert len(set(names)) == len(names)
    for _, name in names:
        assert re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_kustomize_finds_every_file_and_every_config_map(plan: Plan, tmp_path: Path) -> None:
    files = render(plan, targets=TARGETS)
    generated = set()
    for folder in ("fleet", "download"):
        home = f"kubernetes/{folder}"
        kustomization = parsed.one(files[f"{home}/kustomization.yaml"].text)
        named = {path for item in kustomization["configMapGenerator"] for path in item["files"]}
        named |= set(kustomization["resources"])
        generated |= {item["name"] for item in kustomization["configMapGenerator"]}
        present = {path.removeprefix(f"{home}/") for path in files if path.startswith(f"{home}/")}
        assert named == present - {"kustomization.yaml"}
    used = set(re.findall("configMap: { name: ([^ ]+) }|configMap:\n            name: (.+)\n", "".join(
        file.text for path, file in files.items() if path.startswith("kubernetes/"))))  # fmt: skip
    assert {one or other for one, other in used} == generated


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here; the test above reads the files itself")
@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_kubectl_builds_both_folders(plan: Plan, tmp_path: Path) -> None:
    write(render(plan, targets=TARGETS), tmp_path)
    for folder in ("fleet", "download"):
        built = subprocess.run(
            [program("kubectl"), "kustomize", tmp_path / "kubernetes" / folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert built.returncode == 0, built.stderr
        for document in parsed.every(built.stdout):
            kubernetes_validate.validate(document, "1.34", strict=True)


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_every_server_is_started_as_planned_and_in_order(plan: Plan) -> None:
    built = build_context(plan)
    started = [words(process) for process in workers(plan)]
    by_name = {server.name: server for server in built.servers}
    slots = [slot for workload in built.workloads for slot in workload.slots]

    assert started == [wanted(by_name[slot.server]) for slot in slots]
    assert {name for slot in slots for name in slot.servers} == by_name.keys()
    for pod in pods(plan):
        for sidecar in pod.get("initContainers", []):
            # What makes the kubelet wait for it before it starts the next container.
            assert sidecar["restartPolicy"] == "Always"
            assert sidecar["startupProbe"]["httpGet"]["path"] == "/health"


def test_servers_that_share_a_gpu_share_a_pod_its_claim_and_its_lock() -> None:
    (pod,) = pods(dra(plans.many_roles()))
    claims = {one["name"]: [claim["request"] for claim in one["resources"]["claims"]] for one in containers(pod)}
    locks = {one["name"]: [word[-5:] for word in one["args"] if word.startswith("--lock")] for one in containers(pod)}

    assert claims == {"big": ["gpu-0", "gpu-1"], "embed": ["gpu-0"], "chat-1": ["gpu-0"], "chat-2": ["gpu-1"]}
    assert claims == locks
    (template,) = [item for item in documents(dra(plans.many_roles())) if item["kind"] == "ResourceClaimTemplate"]
    requests = template["spec"]["spec"]["devices"]["requests"]
    assert [item["name"] for item in requests] == ["gpu-0", "gpu-1"]
    assert "NVIDIA RTX PRO 6000 Blackwell Server Edition" in requests[0]["exactly"]["selectors"][0]["cel"]["expression"]
    assert pod["resourceClaims"][0]["resourceClaimTemplateName"] == template["metadata"]["name"]


def test_servers_apart_have_pods_and_gpus_of_their_own() -> None:
    found = [[one["resources"]["limits"]["nvidia.com/gpu"] for one in containers(pod)] for pod in pods(apart())]

    assert found == [[2], [1]]
    assert [one["spec"]["replicas"] for one in deployments(apart())] == [2, 1]
    assert "ResourceClaimTemplate" not in {item["kind"] for item in documents(apart())}


def test_pods_run_where_the_planned_gpu_is_and_on_one_machine_with_their_volume() -> None:
    for pod in pods(apart()):
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": "nvidia.com/gpu.product", "operator": "In",
             "values": ["NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"]},
        ]  # fmt: skip
        (together,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert together["topologyKey"] == "kubernetes.io/hostname"
        assert together["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    (claim,) = [item for item in documents(apart()) if item["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "affinity" not in pods(dra(plans.two_roles()))[0], "one pod, whose claim asks for the product"


def test_pods_of_several_machines_share_one_volume() -> None:
    (claim,) = [item for item in documents(two_nodes()) if item["kind"] == "PersistentVolumeClaim"]

    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert not any("podAffinity" in pod.get("affinity", {}) for pod in pods(two_nodes()))


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_a_start_has_the_time_the_plan_gives_it(plan: Plan) -> None:
    built = build_context(plan)
    by_port = {server.port: server for server in built.servers}
    for process in workers(plan):
        server = by_port[int(next(word for word in process if word.startswith("--port=")).split("=")[1])]
        assert f"--timeout={server.start_seconds}" in process
    for pod in pods(plan):
        for container in containers(pod) if len(processes(containers(pod)[0])) == 1 else ():
            server = by_port[container["ports"][0]["containerPort"]]
            probe = container["startupProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] >= server.queue_seconds + 60
            assert "initialDelaySeconds" not in probe
        assert pod["terminationGracePeriodSeconds"] >= built.stop_seconds * len(containers(pod))


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_pods_are_closed(plan: Plan) -> None:
    for document in documents(plan):
        assert document["kind"] != "Secret"
        if document["kind"] not in {"Deployment", "Job"}:
            continue
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert not pod["enableServiceLinks"]
        for container in containers(pod):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            for variable in container["env"]:
                secret = any(word in variable["name"] for word in ("KEY", "TOKEN", "TLS"))
                assert secret == ("secretKeyRef" in variable.get("valueFrom", {}))
    for deployment in (item for item in documents(plan) if item["kind"] == "Deployment"):
        if deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "server":
            strategy, replicas = deployment["spec"]["strategy"], deployment["spec"]["replicas"]
            one_by_one = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
            assert strategy == (one_by_one if replicas > 1 else {"type": "Recreate"})


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_services_and_policies_select_the_pods_they_are_for(plan: Plan) -> None:
    objects = documents(plan)
    templates = [item["spec"]["template"] for item in objects if item["kind"] == "Deployment"]

    def selected(selector: dict[str, str]) -> list[dict[str, Any]]:
        return [item for item in templates if selector.items() <= item["metadata"]["labels"].items()]

    for service in (item for item in objects if item["kind"] == "Service"):
        (template,) = selected(service["spec"]["selector"])
        ports = {port["containerPort"] for one in containers(template["spec"]) for port in one["ports"]}
        assert service["spec"]["ports"][0]["targetPort"] in ports
    policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
    covered = [labels for policy in policies for labels in selected(policy["podSelector"]["matchLabels"])]
    assert len(covered) == len(templates)
    egress = {
        policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: policy["egress"] for policy in policies
    }
    assert (egress["server"], len(egress["router"])) == ([], 2)


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_the_router_knows_every_server_by_its_service(plan: Plan, tmp_path: Path) -> None:
    files = render(plan, targets=TARGETS)
    text = files["kubernetes/fleet/haproxy.cfg"].text
    hosts = set(re.findall(r"^  server \S+ (\S+):(\d+)$", text, re.M))
    hosts |= set(re.findall(r'^  server-template \S+ \d+ "([^".]+)[^":]+:(\d+)"', text, re.M))
    services = {
        (item["metadata"]["name"], str(item["spec"]["ports"][0]["port"]))
        for item in documents(plan)
        if item["kind"] == "Service" and "publishNotReadyAddresses" in item["spec"]
    }

    assert hosts == services
    # Names resolve in a cluster only; everything else of the file is checked by the program itself.
    write(files, tmp_path)
    path = tmp_path / "kubernetes" / "fleet" / "haproxy.cfg"
    text = re.sub(r"^(  server \S+ )\S+:", r"\1 127.0.0.1:", path.read_text(encoding="utf-8"), flags=re.M)
    path.write_text(text, encoding="utf-8")
    result = subprocess.run(
        [program("haproxy"), "-q", "-c", "-f", path],
        env={"VLLM_API_KEY": "x", "PLANNER_NAMESPACE": "a", "PLANNER_CLUSTER_DOMAIN": "b"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


@settings(max_examples=25, deadline=None)
@given(role=NAMES, model=NAMES, fleet=NAMES)
def test_any_name_reaches_the_engine_unchanged(role: str, model: str, fleet: str) -> None:
    plan = plans.plan(plans.server("one", role=role, repository=model, revision=""), fleet=fleet)
    (process,) = workers(plan)

    assert words(process)[2] == model
    assert f"--served-model-name={role}" in words(process)


def test_local_folders_are_mounted_where_the_engine_looks() -> None:
    path = "/models/a: b\n'c"
    (pod,) = pods(plans.plan(plans.server("one", repository=path, revision="", local=True)))
    (mount,) = [item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "local-one"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "local-one"]

    assert (mount["mountPath"], mount["readOnly"]) == (path, True)
    assert volume["hostPath"] == {"path": path, "type": "Directory"}


def values(plan: Plan) -> dict[str, Any]:
    read: dict[str, Any] = parsed.one(render(plan, targets=("helm-values",))["helm-values/values.yaml"].text)
    return read


def test_helm_values_start_every_server_as_planned() -> None:
    engines = values(apart())["servingEngineSpec"]["modelSpec"]
    by_name = {server.name: server for server in build_context(apart()).servers}
    named = [engine["podAnnotations"]["planner/servers"].split(",") for engine in engines]
    assert named == [["chat-1", "chat-2"], ["embed"]], "equal servers of a role are one engine"
    assert [engine["replicaCount"] for engine in engines] == [2, 1]
    for engine, server in zip(engines, (by_name[names[0]] for names in named), strict=True):
        config = engine["vllmConfig"]
        arguments = [word.replace("$$", "$") for word in config["extraArgs"]]
        assert engine["modelURL"] == server.model
        assert (engine["requestGPU"], config["tensorParallelSize"]) == (len(server.gpu_indices),) * 2
        # The chart itself says where the engine listens and over how many GPUs it is split.
        own = ("--host", "--port", "--tensor-parallel-size")
        assert arguments == [word for word in wanted(server)[3:] if word.split("=")[0] not in own]


def test_helm_values_have_the_keys_and_types_of_the_chart() -> None:
    read = values(apart())
    validate_values(read)
    with pytest.raises(jsonschema.ValidationError):
        validate_values({**read, "routerSpec": {"routingLogic": "at random"}})
    kinds = {key: type(value) for key, value in read["servingEngineSpec"]["modelSpec"][0].items()}

    assert kinds == {
        "name": str, "repository": str, "tag": str, "modelURL": str, "replicaCount": int, "requestCPU": int,
        "requestMemory": str, "requestGPU": int, "pvcStorage": str, "pvcAccessMode": list, "shmSize": str,
        "affinity": dict, "podAnnotations": dict, "podLabels": dict, "env": list, "vllmConfig": dict,
    }  # fmt: skip
    assert set(read) == {"servingEngineSpec", "routerSpec"}
    assert set(read["servingEngineSpec"]) == {
        "labels", "vllmApiKey", "strategy", "tolerations", "securityContext", "containerSecurityContext",
        "runtimeClassName", "startupProbe", "livenessProbe", "readinessProbe", "modelSpec",
    }  # fmt: skip
    assert read["servingEngineSpec"]["vllmApiKey"].keys() == {"secretName", "secretKey"}


def test_a_server_on_several_machines_that_shares_gpus_is_refused_with_the_key_that_helps() -> None:
    with pytest.raises(InputError, match=r"hint: set roles\.large\.exclusive to true"):
        documents(plans.two_nodes())


def test_helm_values_refuse_what_the_chart_cannot_do() -> None:
    with pytest.raises(InputError, match="coder and general share a GPU"):
        values(plans.two_roles())
    with pytest.raises(InputError, match="reads its weights from the folder"):
        values(hostile())


@settings(max_examples=25, deadline=None)
@given(role=NAMES, model=NAMES)
def test_any_name_is_a_plain_value_for_helm(role: str, model: str) -> None:
    (engine,) = values(plans.plan(plans.server("one", role=role, repository=model)))["servingEngineSpec"]["modelSpec"]

    assert engine["modelURL"] == model
    assert f"--served-model-name={role}".replace("$", "$$") in engine["vllmConfig"]["extraArgs"]
