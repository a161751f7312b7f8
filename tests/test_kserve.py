"""KServe: an LLMInferenceService is what the plan says of equal servers, and what it cannot say is refused by name."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import parsed
import plans
import pytest
from crds import validate
from fleets import PAIR, catalog, fleet
from msgspec.structs import replace

from planner.adopt.files import read_files
from planner.artifacts import render, write
from planner.artifacts.context import build_context
from planner.artifacts.kserve import KSERVE
from planner.artifacts.verify import verify
from planner.engine.adapters import Lora
from planner.engine.settings import EngineSettings
from planner.errors import InputError
from planner.plan import Plan, SharedRole
from planner.solve import solve

OWN = {"--host", "--port", "--served-model-name", "--revision"}


def chats() -> Plan:
    """A server over two GPUs, two replicas of a role on two more, and an embedder."""
    big = plans.server("big", tensor_parallel_size=2, gpu_indices=(0, 1), kv_cache_dtype="fp8", tool_parser="hermes")
    replicas = [plans.server(f"chat-{n}", role="chat", gpu_indices=(1 + n,), port=8001 + n) for n in (1, 2)]
    pooling: dict[str, Any] = {"pooling": True, "kv_cache_memory_bytes": 0, "kv_cache_tokens": 0, "task": "embedding"}
    return plans.plan(big, *replicas, plans.server("embed", gpu_indices=(4,), port=8005, revision="", **pooling))


def services(plan: Plan) -> dict[str, dict[str, Any]]:
    """The specifications of a plan's services by role, each held against the definition and that of a pod."""
    found = {}
    for document in parsed.every(render(plan, targets=(KSERVE,))["kserve/services.yaml"].text):
        validate(document)
        spec = document["spec"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec["template"]}
        kubernetes_validate.validate(pod, "1.34", strict=True)
        found[spec["model"]["name"]] = spec
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return services(chats())


def test_equal_servers_are_replicas_of_one_service(found: dict[str, dict[str, Any]]) -> None:
    assert {role: spec["replicas"] for role, spec in found.items()} == {"big": 1, "chat": 2, "embed": 1}
    assert {role: spec["parallelism"]["tensor"] for role, spec in found.items()} == {"big": 2, "chat": 1, "embed": 1}
    assert [role for role, spec in found.items() if "scheduler" in spec["router"]] == ["big", "chat"]


def test_the_storage_initializer_is_told_the_commit_behind_a_colon(found: dict[str, dict[str, Any]]) -> None:
    server = chats().server("big")

    assert found["big"]["model"]["uri"] == f"hf://{server.repository}:{server.revision}"
    assert found["embed"]["model"]["uri"] == f"hf://{server.repository}"


def test_the_engine_is_told_all_that_a_command_line_says(found: dict[str, dict[str, Any]]) -> None:
    for server in build_context(chats()).servers:
        (container,) = found[server.role]["template"]["containers"]
        told = {entry["name"]: entry.get("value") for entry in container["env"]}
        said = [word for argument in server.arguments if argument.flag not in OWN for word in argument.joined]

        assert told["VLLM_ADDITIONAL_ARGS"].split(" ") == said
        assert container["resources"]["limits"]["nvidia.com/gpu"] == len(server.gpu_indices)
        assert container["startupProbe"]["failureThreshold"] * 10 > server.start_seconds


def test_check_reads_the_services_of_a_plan(tmp_path: Path) -> None:
    write(render(chats(), targets=(KSERVE,)), tmp_path)
    servers = read_files([tmp_path / KSERVE / "services.yaml"]).servers
    (big,) = (one for one in servers if one.name.endswith("big"))

    server = chats().server("big")
    assert (big.model, big.flags["revision"]) == (server.repository, server.revision)
    assert big.flags["max-num-seqs"] == server.max_num_seqs


MORE = SharedRole(name="more", task="chat", accuracy=plans.NAMELESS)
ADAPTED = EngineSettings(lora=Lora(adapters=1, rank=32, held=1, names=(("sql", "org/sql"),)))
QUOTED = EngineSettings(extra_args=("""--limit-mm-per-prompt '{"image": 1}'""",))
SPREAD = [plans.server(f"a-{n}", role="a", gpu_indices=(n,), port=8001 + n, spread="node") for n in (0, 1)]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (plans.two_roles(), "coder and general share a GPU"),
        (replace(plans.plan(plans.server("one")), engine_version="0.17.0"), "known from 0.18.0 on"),
        (plans.two_nodes(), "large runs on several machines"),
        (plans.plan(plans.server("one", repository="/models/x", revision="", local=True)), "from the folder /models/x"),
        (plans.plan(plans.server("one", repository="gpt2")), "fetches hf://OWNER/MODEL"),
        (plans.plan(plans.server("one", shared=(MORE,))), "gives an engine one name"),
        (plans.plan(plans.server("one", role="a b")), "has the role 'a b'"),
        (plans.plan(plans.server("one", settings=ADAPTED)), "serves adapters"),
        (plans.plan(*SPREAD), "`spread: node`"),
        (plans.plan(plans.server("one", settings=QUOTED)), "has --limit-mm-per-prompt"),
        (plans.in_turns(), "no way to take turns"),
        (
            plans.plan(plans.server("a-1", role="a"), plans.server("a-2", role="a", gpu_indices=(1,), max_num_seqs=9)),
            "a has 2 kinds of servers",
        ),
    ],
)
def test_what_kserve_cannot_do_is_refused_by_name(plan: Plan, message: str) -> None:
    with pytest.raises(InputError, match=message):
        render(plan, targets=(KSERVE,))


def test_verify_reads_the_services_back(tmp_path: Path) -> None:
    document = {**PAIR, "roles": {"coder": PAIR["roles"]["coder"]}}
    planned = solve(fleet(document), catalog())
    assert isinstance(planned, Plan)
    write(render(planned, targets=(KSERVE,)), tmp_path)
    path = tmp_path / KSERVE / "services.yaml"
    rendered = path.read_text()
    assert verify(planned, fleet(document), catalog(), tmp_path) == ((KSERVE, "router"), [])

    path.write_text(rendered.replace("--max-model-len=", "--max-model-len=1"))
    _, differences = verify(planned, fleet(document), catalog(), tmp_path)
    assert any("kserve: coder: --max-model-len is 1" in str(difference) for difference in differences)

    for right, wrong, message in (
        ("replicas: 1", "replicas: 2", "has 2 replicas"),
        ("tensor: 1", "tensor: 2", "has parallelism"),
        ("nvidia.com/gpu: 1 }", "nvidia.com/gpu: 2 }", "asks for 2 GPUs"),
        ("hf://", "hf://hf.co/", "has the model"),
    ):
        assert right in rendered
        path.write_text(rendered.replace(right, wrong))
        with pytest.raises(InputError, match=message):
            verify(planned, fleet(document), catalog(), tmp_path)
