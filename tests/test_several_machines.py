"""A server on several machines: what each of them gets, what it waits for, and that its parts only work together."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jsonschema
import kubernetes_validate
import parsed
import plans
import pytest
import test_artifacts
import test_kubernetes
import test_quadlet
from click.testing import CliRunner
from msgspec.structs import replace
from staged import Stage, amend, free_ports, shellcheck, stage
from test_artifacts import run
from test_launch import alive, names

from planner.artifacts import render, write
from planner.artifacts.nodes import on_nodes
from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import Argument
from planner.cli import main
from planner.errors import InputError
from planner.plan import GPUGroup, GPULedger, Plan

ALL = ("script", "compose", "systemd", "monitoring", "quadlet", "kubernetes")
SCHEMA = Path(__file__).parent / "data" / "leaderworkerset-v1.schema.yaml"


def spanning(*ports: int) -> Plan:
    """Two stages of one server on two machines, and on the first of them a server of its own GPU."""
    first, second, master = ports or (8001, 8002, 29501)
    big = plans.server(
        "big", node="rack-1", gpu_indices=(0,), port=first, pipeline_parallel_size=2, master_port=master,
        later_stages=(GPUGroup(node="rack-2", gpu_indices=(1,)),),
    )  # fmt: skip
    chat = plans.server("chat", node="rack-1", gpu_indices=(1,), port=second)
    gpus = (gpu("rack-1", 0, "big"), gpu("rack-1", 1, "chat"), gpu("rack-2", 0), gpu("rack-2", 1, "big"))
    return plans.plan(big, chat, gpus=gpus)


def gpu(node: str, index: int, *servers: str) -> GPULedger:
    return GPULedger(
        node=node, index=index, gpu="rtx-pro-6000", product="NVIDIA RTX PRO 6000 Blackwell Server Edition",
        total_bytes=plans.TOTAL_BYTES, memory_in_use_bytes=0, servers=servers, free_bytes=0,
    )  # fmt: skip


def test_the_head_has_the_door_and_the_other_machine_only_its_part() -> None:
    files = render(spanning(), targets=ALL)
    other = {path.split("/", 1)[1] for path in files if path.startswith("rack-2/")}

    assert {"launch.sh", "compose.yaml", "gate.sh", "download.sh", "systemd/planner-workstation--big.service"} <= other
    assert not {"smoke.sh", "load.sh", "router/haproxy.cfg", "monitoring/alerts.yml"} & other
    assert not any("router" in path for path in other)
    assert "rack-1/smoke.sh" in files
    assert "server rack-2" not in files["router/haproxy.cfg"].text, "it answers nothing"


def test_every_target_starts_the_right_part(tmp_path: Path) -> None:
    write(render(spanning(), targets=ALL), tmp_path)
    found = {
        f"{folder}/{target}": {flag: value for command in commands for flag, value in part_of(command.arguments)}
        for folder in ("rack-1", "rack-2")
        for target, commands in read_back(tmp_path / folder).items()
        if "chat" not in target
    }

    assert len(found) == 8
    for target, options in found.items():
        assert options["--nnodes"] == "2"
        assert options["--node-rank"] == ("0" if target.startswith("rack-1") else "1")
        assert ("--headless" in options) == target.startswith("rack-2")
        assert options["--master-addr"] == "PLANNER_NODE_RACK_1"
        assert options["--master-port"] == "29501"


def part_of(arguments: Iterable[Argument]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        if argument.flag in ("--nnodes", "--node-rank", "--headless", "--master-addr", "--master-port"):
            yield argument.flag, argument.value


def test_containers_have_the_network_of_the_machine_and_no_published_port() -> None:
    for node in ("rack-1", "rack-2"):
        services = parsed.one(render(spanning())[f"{node}/compose.yaml"].text)["services"]
        assert services["big"]["network_mode"] == "host"
        assert "ports" not in services["big"]
        assert "--host=127.0.0.1" in services["big"]["command"], "the API stays on loopback"
    services = parsed.one(render(spanning())["rack-1/compose.yaml"].text)["services"]
    assert services["router"]["network_mode"] == "host", "on the other network it would not reach the server"
    assert services["chat"]["ports"] == ["127.0.0.1:8002:8002"]


def test_the_leader_worker_set_follows_its_schema() -> None:
    documents = list(parsed.every(render(spanning(), targets=ALL)["kubernetes/fleet/groups.yaml"].text))
    schema = parsed.one(SCHEMA.read_text(encoding="utf-8"))
    (group,) = [document for document in documents if document["kind"] == "LeaderWorkerSet"]

    jsonschema.validate(group, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**group, "spec": {**group["spec"], "size": 2}}, schema)
    templates = group["spec"]["leaderWorkerTemplate"]
    assert templates["size"] == 2
    for name in ("leaderTemplate", "workerTemplate"):
        labels = {"matchLabels": templates[name]["metadata"]["labels"]}
        deployment = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
            "spec": {"selector": labels, "template": templates[name]},
        }  # fmt: skip
        kubernetes_validate.validate(deployment, "1.34", strict=True)
    for document in documents:
        if document["kind"] != "LeaderWorkerSet":
            kubernetes_validate.validate(document, "1.34", strict=True)


def test_the_readme_names_what_there_is_when_every_server_is_a_group() -> None:
    whole = spanning()
    alone = replace(whole, servers=(whole.server("big"),), start_order=("big",))
    files = render(alone, targets=("kubernetes",))
    documents = parsed.every(files["kubernetes/fleet/groups.yaml"].text)
    (group,) = [item["metadata"]["name"] for item in documents if item["kind"] == "LeaderWorkerSet"]

    assert f"kubectl logs pod/{group}-0 -c big\n" in files["README.md"].text
    assert f"kubectl scale leaderworkerset/{group} --replicas=0" in files["README.md"].text


def test_kustomize_finds_every_file(tmp_path: Path) -> None:
    test_kubernetes.test_kustomize_finds_every_file_and_every_config_map(spanning(), tmp_path)
    test_kubernetes.test_names_are_unique_labels(spanning())


def test_pods_of_a_group_cannot_share_a_gpu() -> None:
    plan = spanning()
    crowded = replace(plan, servers=tuple(replace(one, gpu_indices=(0,)) for one in plan.servers))

    with pytest.raises(InputError, match="shares a GPU"):
        render(crowded, targets=("kubernetes",))
    with pytest.raises(InputError, match="one pod"):
        render(plan, targets=("helm-values",))


@pytest.fixture
def racks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Stage]]:
    """Both machines on this one, at the same address."""
    first, second, master, router = free_ports(4)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    plan = spanning(first, second, master)
    address = {"PLANNER_NODE_RACK_1": "127.0.0.1", "PLANNER_NODE_RACK_2": "127.0.0.1"}
    staged = [
        stage(dict(on_nodes(plan))[node], tmp_path / node, FAKE_TAKEN=str(tmp_path / node / "taken"), **address)
        for node in ("rack-1", "rack-2")
    ]
    yield staged[0], staged[1]
    for one in staged:
        one.run("launch.sh", "down")


def test_no_start_without_the_addresses(racks: tuple[Stage, Stage]) -> None:
    head, _ = racks
    del head.environment["PLANNER_NODE_RACK_2"], head.environment["PLANNER_NODE_RACK_1"]
    up = head.run("launch.sh", "up")
    assert up.returncode == 78
    assert "PLANNER_NODE_RACK_1 is not set: write the private addresses of the machines into .env" in up.stderr

    head.environment["PLANNER_NODE_RACK_1"] = "rack-1.example"
    assert "must be an IP address, not rack-1.example" in head.run("launch.sh", "check").stderr
    head.environment["PLANNER_NODE_RACK_1"] = "192.0.2.1"
    assert "which is no address of this machine" in head.run("launch.sh", "check").stderr
    assert head.events() == []


def test_the_parts_start_in_any_order_and_fall_and_rise_together(racks: tuple[Stage, Stage]) -> None:
    head, other = racks
    waiting = head.start("launch.sh", "up", "big")
    try:
        assert eventually(lambda: len(head.events()) > 1)
        assert names(head.events()) == ["start big", "address 127.0.0.1"], "the head waits for the other part"
        assert other.run("launch.sh", "up").returncode == 0
        assert head.finish(waiting) == 0, head.output.read_text(encoding="utf-8")
        for one in racks:
            assert re.search(r"big +healthy", one.run("launch.sh", "status").stdout)

        part, whole = other.pid("big"), head.pid("big")
        assert other.run("launch.sh", "down").returncode == 0
        assert not alive(part)
        assert eventually(lambda: not alive(whole)), "the engine would let every request wait for the part"
        log = (head.folder / "logs" / "big.log").read_text(encoding="utf-8")
        assert "another part of this server has stopped" in log

        waiting = head.start("launch.sh", "up", "big")
        assert other.run("launch.sh", "up").returncode == 0
        assert head.finish(waiting) == 0
        part = other.pid("big")
        assert head.run("launch.sh", "down").returncode == 0
        assert eventually(lambda: not alive(part)), "the head's next start has no place for it"
    finally:
        waiting.kill()
        waiting.wait()


def eventually(true: Callable[[], bool], seconds: float = 300) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("node", ["rack-1", "rack-2"])
def test_every_validator_accepts_the_files_of_each_machine(node: str, tmp_path: Path) -> None:
    write(render(spanning(), targets=ALL), tmp_path)
    folder = tmp_path / node
    scripts = sorted(folder.rglob("*.sh"))

    shellcheck(*scripts)
    run("shfmt", "-d", "-i", "2", "-ci", "-bn", *scripts)
    test_artifacts.test_compose_follows_the_specification(folder)
    test_artifacts.test_units_verify_and_are_hardened(folder)
    test_artifacts.test_text_files_end_well(folder)
    if node == "rack-1":
        test_artifacts.test_haproxy_accepts_every_configuration(folder)


@pytest.mark.parametrize("node", ["rack-1", "rack-2"])
def test_podman_makes_a_service_in_which_systemd_fills_in_the_address(node: str) -> None:
    units = test_quadlet.generated(dict(on_nodes(spanning()))[node])

    big = units["planner-workstation--big"]
    assert re.search(r"--master-addr \"?\$\{PLANNER_NODE_RACK_1\}", big)
    assert "--network host" in big or "--network=host" in big
    assert "EnvironmentFile=/etc/planner/workstation/addresses" in big


def test_the_installers_want_the_addresses(tmp_path: Path) -> None:
    write(render(spanning(), targets=ALL), tmp_path / "files")
    environment = {"PATH": "/usr/bin:/bin", "DESTDIR": str(tmp_path / "root"), "VLLM_API_KEY": "x"}
    script = tmp_path / "files/rack-2/systemd/install.sh"
    refused = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)

    assert refused.returncode == 78
    assert "set PLANNER_NODE_RACK_1" in refused.stderr
    lines = "PLANNER_NODE_RACK_1=192.0.2.1\nPLANNER_NODE_RACK_2=192.0.2.2\n"
    (tmp_path / "files/rack-2/.env").write_text(lines, encoding="utf-8")
    subprocess.run(["bash", script], env=environment, check=True, capture_output=True)
    assert (tmp_path / "root/etc/planner/workstation/addresses").read_text(encoding="utf-8") == lines


EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "two-nodes-one-large-model"


def test_a_changed_part_is_found_in_the_files_of_its_machine(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    targets = ["--target", "quadlet", "--target", "kubernetes"]
    rendered = CliRunner().invoke(main, ["render", str(folder), *targets])
    assert rendered.exit_code == 0, rendered.output
    good = CliRunner().invoke(main, ["verify", str(folder)])
    assert good.exit_code == 0, good.output
    assert sorted(line.split(":")[0] for line in good.output.splitlines()) == [
        "compose.yaml", "fleet", "kubernetes", "launch.sh", "quadlet", "router", "systemd",
    ]  # fmt: skip

    amend(folder / "artifacts/h100-2/launch.sh", "--node-rank 1", "--node-rank 2")
    amend(folder / "artifacts/h100-2/launch.sh", "gpus=(0 1 2 3 4 5 6 7)", "gpus=(0 1 2 3 4 5 6)")
    address = "--master-addr=${PLANNER_NODE_H100_"
    amend(folder / "artifacts/h100-2/compose.yaml", f"{address}1", f"{address}2")
    groups = folder / "artifacts/kubernetes/fleet/groups.yaml"
    groups.write_text(groups.read_text(encoding="utf-8").replace('"--headless"', "--enforce-eager"), encoding="utf-8")
    bad = CliRunner().invoke(main, ["verify", str(folder)])
    assert bad.exit_code == 5
    for difference in (
        "launch.sh: assistant: --node-rank is 2, planned 1",
        "launch.sh: assistant: runs on GPU 0, 1, 2, 3, 4, 5, 6, planned 0, 1, 2, 3, 4, 5, 6, 7",
        "compose.yaml: assistant: --master-addr is PLANNER_NODE_H100_2, planned PLANNER_NODE_H100_1",
        "kubernetes: assistant worker: lacks --headless",
        "kubernetes: assistant worker: has --enforce-eager, which is not planned",
    ):
        assert difference in bad.output
