"""Ray Serve: what it is told is the plan, and what it cannot do is refused by name."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import parsed
import plans
import pytest
import yaml
from crds import validate
from fleets import PAIR, catalog, fleet
from msgspec.structs import replace

from planner.artifacts import render, write
from planner.artifacts.context import build_context
from planner.artifacts.ray import RAY, engine_kwargs
from planner.artifacts.serve_args import Argument
from planner.artifacts.verify import verify
from planner.engine.adapters import Lora
from planner.engine.options import engine_options
from planner.engine.settings import EngineSettings
from planner.errors import InputError
from planner.plan import Plan, SharedRole
from planner.solve import solve

SCHEMA = parsed.one((Path(__file__).parent / "data" / "ray-serve-2.60.0.schema.yaml").read_text(encoding="utf-8"))
VERSION = "0.29.0"


def chats() -> Plan:
    """A server over two GPUs, and two replicas of a role on two more."""
    big = plans.server("big", tensor_parallel_size=2, gpu_indices=(0, 1), kv_cache_dtype="fp8", tool_parser="hermes")
    replicas = [plans.server(f"chat-{n}", role="chat", gpu_indices=(1 + n,), port=8001 + n) for n in (1, 2)]
    return plans.plan(big, *replicas, engine_version=VERSION)


def spanning() -> Plan:
    """A server in two stages, each on two GPUs of a node of its own."""
    return plans.plan(plans.two_nodes().server("large"), engine_version=VERSION)


def config(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = parsed.one(render(plan, targets=(RAY,))["ray-serve/serve.yaml"].text)
    jsonschema.validate(found, SCHEMA)
    return found


def models(plan: Plan) -> list[dict[str, Any]]:
    (application,) = config(plan)["applications"]
    found: list[dict[str, Any]] = application["args"]["llm_configs"]
    return found


def test_equal_servers_are_replicas_of_one_model() -> None:
    big, chat = models(chats())

    assert [one["model_loading_config"]["model_id"] for one in (big, chat)] == ["big", "chat"]
    assert [one["deployment_config"]["num_replicas"] for one in (big, chat)] == [1, 2]
    assert [one["deployment_config"]["max_ongoing_requests"] for one in (big, chat)] == [8, 8]


def test_the_engine_is_told_all_that_a_command_line_says() -> None:
    """Under the names of its classes, numbers as numbers; Ray itself says the name, the address and how it stops."""
    own = {"--host", "--port", "--served-model-name", "--shutdown-timeout", "--disable-fastapi-docs"}
    for plan in (chats(), spanning()):
        for server, model in zip(_heads(plan), models(plan), strict=True):
            told = model["engine_kwargs"]
            for argument in server.arguments:
                name = argument.flag[2:].replace("-", "_")
                if argument.flag in own or name in ("nnodes", "node_rank", "master_port", *_operations()):
                    assert name not in told
                elif argument.words:
                    assert str(told[name]) == argument.value
                else:
                    assert told[name] is True


def _heads(plan: Plan) -> list[Any]:
    first = {server.role: server for server in reversed(build_context(plan).servers)}
    return [first[name] for name in dict.fromkeys(server.role for server in build_context(plan).servers)]


def _operations() -> tuple[str, ...]:
    return ("disable_access_log_for_endpoints",)


def test_values_are_of_the_kind_that_the_engine_reads() -> None:
    options = engine_options(VERSION)
    given = [
        Argument("--revision", "12345678"), Argument("--max-model-len", "8192"),
        Argument("--gpu-memory-utilization", "0.5"), Argument("--hf-overrides", '{"rope_theta": 5e6}'),
        Argument("--no-enable-prefix-caching"),
        Argument("--compilation-config.mode", "0"), Argument("--cudagraph-capture-sizes", "1", ("2", "4")),
    ]  # fmt: skip

    assert engine_kwargs(given, options) == {
        "revision": "12345678", "max_model_len": 8192, "gpu_memory_utilization": 0.5,
        "hf_overrides": {"rope_theta": 5e6}, "enable_prefix_caching": False, "compilation_config": {"mode": 0},
        "cudagraph_capture_sizes": [1, 2, 4],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("product", "known", "offered"),
    [
        ("NVIDIA H100 80GB HBM3", "H100", []),
        ("NVIDIA A100-SXM4-40GB", "A100", []),
        ("Tesla V100-SXM2-16GB", "V100", []),
        ("NVIDIA A10", "A10G", []),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000", []),
        ("NVIDIA GeForce RTX 4090", None, ["accelerator_type:GeForce-RTX-4090"]),
        ("NVIDIA RTX A6000", None, ["accelerator_type:RTX-A6000"]),
    ],
)
def test_cards_are_asked_for_as_ray_calls_them(product: str, known: str | None, offered: list[str]) -> None:
    plan = plans.plan(plans.server("one"), engine_version=VERSION)
    (model,) = models(replace(plan, gpus=tuple(replace(gpu, product=product) for gpu in plan.gpus)))
    bundle = model["placement_group_config"]["bundle_per_worker"]

    assert model.get("accelerator_type") == known
    assert [name for name in bundle if name.startswith("accelerator_type:")] == offered


@pytest.mark.parametrize(("plan", "strategy"), [(chats(), "STRICT_PACK"), (spanning(), "PACK")], ids=["one", "two"])
def test_machines_offer_what_their_replicas_take(plan: Plan, strategy: str) -> None:
    taken: dict[str, float] = {}
    for model in models(plan):
        placed = model["placement_group_config"]
        workers = model["engine_kwargs"]["tensor_parallel_size"] * model["engine_kwargs"].get(
            "pipeline_parallel_size", 1
        )
        (resource,) = [name for name in placed["bundle_per_worker"] if name.startswith("role:")]
        assert (placed["strategy"], placed["bundle_per_worker"]["GPU"]) == (strategy, 1)
        taken[resource] = workers * model["deployment_config"]["num_replicas"]
    script = render(plan, targets=(RAY,))["ray-serve/start.sh"].text
    offered: dict[str, int] = {}
    for found in re.findall(r"resources=('\{.*?\}')", script):
        for name, count in json.loads(shlex.split(found)[0]).items():
            offered[name] = offered.get(name, 0) + count

    assert offered == taken


def test_the_door_is_on_loopback() -> None:
    assert config(chats())["http_options"]["host"] == "127.0.0.1"
    assert "--node-ip-address=127.0.0.1" in render(chats(), targets=(RAY,))["ray-serve/start.sh"].text


@pytest.mark.parametrize("plan", [chats(), spanning()], ids=["one", "two"])
def test_kuberay_gets_the_same_models_and_a_pod_for_each_machine_of_a_replica(plan: Plan) -> None:
    text = render(plan, targets=(RAY,))["ray-serve/rayservice.yaml"].text
    service, policy = yaml.safe_load_all(text)
    validate(service)
    validate(policy)
    spec = service["spec"]["rayClusterConfig"]
    served = yaml.safe_load(service["spec"]["serveConfigV2"])
    jsonschema.validate(served, SCHEMA)

    assert served["applications"] == config(plan)["applications"]
    assert service["spec"]["upgradeStrategy"] == {"type": "None"}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, "1.34", strict=True)
    pods = {group["groupName"]: (group["replicas"], _gpus(group)) for group in spec["workerGroupSpecs"]}
    assert pods == ({"big": (1, 2), "chat": (2, 1)} if len(pods) == 2 else {"large": (2, 2)})
    for group in spec["workerGroupSpecs"]:
        (said,) = json.loads(json.loads(group["rayStartParams"]["resources"])).items()
        assert said == (f"role:{group['groupName']}", _gpus(group)), "KubeRay writes it behind --resources= as it is"


def _gpus(group: dict[str, Any]) -> int:
    (container,) = group["template"]["spec"]["containers"]
    return int(container["resources"]["limits"]["nvidia.com/gpu"])


MIG = "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
MORE = SharedRole(name="more", task="chat", accuracy=plans.NAMELESS)
ADAPTED = EngineSettings(lora=Lora(adapters=1, rank=32, held=1, names=(("sql", "org/sql"),)))
SETTINGS = EngineSettings(extra_args=("--api-server-count 2",))
ONE = plans.plan(plans.server("one"), engine_version=VERSION)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(plans.two_roles(), engine_version=VERSION), "coder and general share a GPU"),
        (replace(ONE, engine_version="0.33.0"), "0.29 to 0.32"),
        (replace(ONE, engine_version="0.28.0"), "0.29 to 0.32"),
        (plans.plan(plans.server("one", shared=(MORE,)), engine_version=VERSION), "gives an engine one name"),
        (plans.plan(plans.server("one", settings=ADAPTED), engine_version=VERSION), "serves adapters"),
        (plans.plan(plans.server("one", role="a:b"), engine_version=VERSION), "a colon in its role"),
        (plans.plan(plans.server("one", data_parallel_size=2, gpu_indices=(0, 1)), engine_version=VERSION), "ranks"),
        (replace(ONE, gpus=tuple(replace(gpu, product=MIG) for gpu in ONE.gpus)), "MIG slice"),
        (plans.plan(plans.server("one", settings=SETTINGS), engine_version=VERSION), "--api-server-count"),
        (replace(plans.in_turns(), engine_version=VERSION), "no way to take turns"),
        (
            plans.plan(
                plans.server("a-1", role="a"), plans.server("a-2", role="a", gpu_indices=(1,), max_num_seqs=9),
                engine_version=VERSION,
            ),
            "a has 2 kinds of servers",
        ),
    ],
)  # fmt: skip
def test_what_ray_cannot_do_is_refused_by_name(plan: Plan, message: str) -> None:
    with pytest.raises(InputError, match=message):
        render(plan, targets=(RAY,))


def test_verify_reads_the_models_back(tmp_path: Path) -> None:
    document = {**PAIR, "engine": {"name": "vllm", "version": VERSION}, "roles": {"coder": PAIR["roles"]["coder"]}}
    planned = solve(fleet(document), catalog())
    assert isinstance(planned, Plan)
    write(render(planned, targets=(RAY,)), tmp_path)
    path = tmp_path / "ray-serve" / "serve.yaml"
    assert verify(planned, fleet(document), catalog(), tmp_path) == ((RAY, "router"), [])

    for other in (path, path.with_name("rayservice.yaml")):
        other.write_text(other.read_text().replace("max_model_len: ", "max_model_len: 1"))
    _, differences = verify(planned, fleet(document), catalog(), tmp_path)
    assert any("ray-serve: coder: --max-model-len is 1" in str(difference) for difference in differences)

    path.write_text(path.read_text().replace("max_model_len: 1", "max_model_len: "))
    with pytest.raises(InputError, match="has other models"):
        verify(planned, fleet(document), catalog(), tmp_path)
