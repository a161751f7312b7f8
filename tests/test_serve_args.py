"""One server of a plan becomes one command line, of options that its engine version has."""

import json
import re
from pathlib import Path

import plans
import pytest

from planner.artifacts.serve_args import Argument, planned_server, refused_arguments, serve_arguments
from planner.engine.options import engine_options
from planner.engine.profile import known_versions
from planner.errors import UnknownName
from planner.plan import GPUGroup, ServerPlan

NEWEST = engine_options("0.33.0")


def line(arguments: tuple[Argument, ...]) -> str:
    return " ".join(f"{argument.flag} {argument.text}".strip() for argument in arguments)


def test_the_whole_line() -> None:
    assert line(serve_arguments(plans.server("coder"), NEWEST)) == (
        "--host 127.0.0.1 --port 8001 --served-model-name coder --revision c03e6d358207e414f1eca0bb1891e29f1db0e242 "
        "--dtype bfloat16 --max-model-len 16384 --max-num-seqs 8 --max-num-batched-tokens 8192 --kv-cache-dtype auto "
        "--kv-cache-memory-bytes 8589934592 --gpu-memory-utilization 0.2765 --tensor-parallel-size 1 "
        "--shutdown-timeout 30 --disable-access-log-for-endpoints /health,/metrics,/ping --disable-fastapi-docs"
    )


def test_the_key_is_never_on_the_command_line() -> None:
    assert "--api-key" not in line(serve_arguments(plans.server("coder"), NEWEST))


def test_optional_facts_become_options() -> None:
    server = plans.server(
        "rank", pooling=True, kv_cache_memory_bytes=0, trust_remote_code=True, tool_parser="hermes",
        reasoning_parser="qwen3", revision="", hf_overrides='{"a":1}',
    )  # fmt: skip
    text = line(serve_arguments(server, NEWEST, host="0.0.0.0"))

    assert "--runner pooling" in text
    assert "--kv-cache-memory-bytes" not in text
    assert "--trust-remote-code" in text
    assert "--tool-call-parser hermes" in text
    assert "--enable-auto-tool-choice" in text
    assert "--reasoning-parser qwen3" in text
    assert '--hf-overrides {"a":1}' in text
    assert "--host 0.0.0.0" in text
    assert "--revision" not in text


def test_remote_code_is_pinned_with_the_weights() -> None:
    text = line(serve_arguments(plans.server("coder", trust_remote_code=True), NEWEST))

    assert text.count("c03e6d358207e414f1eca0bb1891e29f1db0e242") == 3


@pytest.mark.parametrize("version", [v for v in known_versions() if tuple(map(int, v.split(".")))[:3] >= (0, 10, 2)])
def test_every_emitted_option_exists_in_every_profiled_version(version: str) -> None:
    options = engine_options(version)
    for server in (*plans.two_roles().servers, *plans.many_roles().servers):
        assert refused_arguments(serve_arguments(server, options), options) == ()


def test_a_server_on_several_nodes_is_one_process_on_each() -> None:
    server = plans.two_nodes().server("large")
    first, second = (
        line(serve_arguments(server, NEWEST, node_rank=rank, master_address="10.0.0.1")) for rank in (0, 1)
    )

    assert "--tensor-parallel-size 2 --pipeline-parallel-size 2 --master-port 29501 --nnodes 2" in first
    assert "--node-rank 0 --master-addr 10.0.0.1" in first
    assert "--headless" not in first
    assert "--node-rank 1 --master-addr 10.0.0.1 --headless" in second


def test_stages_inside_one_node_are_one_process() -> None:
    server = plans.server("large", pipeline_parallel_size=2, later_stages=(GPUGroup(node="", gpu_indices=(1,)),))
    text = line(serve_arguments(server, NEWEST))

    assert "--pipeline-parallel-size 2" in text
    assert not re.search("--nnodes|--node-rank|--master", text)


@pytest.mark.parametrize("server", [*plans.two_nodes().servers, plans.server("coder")], ids=lambda server: server.name)
def test_a_server_comes_back_from_its_options(server: ServerPlan) -> None:
    arguments = serve_arguments(server, NEWEST, node_rank=1, master_address="10.0.0.1")

    assert planned_server(server, arguments) == server


@pytest.mark.parametrize("version", ["0.12.0", "0.19.0", "0.33.0"])
def test_options_for_several_nodes_exist_since_they_are_planned(version: str) -> None:
    options = engine_options(version)
    server = plans.two_nodes().server("large")

    for rank in (0, 1):
        arguments = serve_arguments(server, options, node_rank=rank, master_address="10.0.0.1")
        assert refused_arguments(arguments, options) == ()


def test_what_an_engine_does_not_have_is_named() -> None:
    old = engine_options("0.8.5")
    server = plans.server("coder")

    assert refused_arguments(serve_arguments(server, old), old) == ("vLLM 0.8.5 has no option --kv-cache-memory-bytes",)
    assert refused_arguments([Argument("--dtype", "int4")], NEWEST) == ("vLLM 0.33.0 does not accept --dtype int4",)
    assert refused_arguments([Argument("--port")], NEWEST) == ("vLLM 0.33.0 takes --port with a value",)
    assert refused_arguments([Argument("--enforce-eager", "1")], NEWEST) == (
        "vLLM 0.33.0 takes --enforce-eager without a value",
    )


def test_operating_options_are_left_out_where_they_do_not_exist() -> None:
    assert "--shutdown-timeout" not in line(serve_arguments(plans.server("coder"), engine_options("0.12.0")))


def test_the_nearest_list_below_is_used_for_other_versions() -> None:
    assert engine_options("0.30.0").version == "0.29.0"
    assert engine_options("0.99.0").version == "0.33.0"
    assert engine_options("0.1.0").version == "0.8.5"
    with pytest.raises(UnknownName):
        engine_options("latest")


def test_utilization_is_a_plain_number() -> None:
    for value, text in [(0.9, "0.9"), (0.5, "0.5"), (0.05, "0.05"), (0.8125, "0.8125"), (1.0, "1")]:
        arguments = serve_arguments(plans.server("coder", gpu_memory_utilization=value), NEWEST)
        assert f"--gpu-memory-utilization {text} " in line(arguments)


def test_every_list_names_its_source() -> None:
    paths = sorted((Path(__file__).parent.parent / "catalog" / "engines").glob("vllm-flags-*.json"))
    assert paths
    for path in paths:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert path.name == f"vllm-flags-{document['version']}.json"
        assert document["version"] in document["source"]
        assert all(re.fullmatch(r"--[a-z0-9-]+(\.[a-z0-9_-]+)?", flag, re.I) for flag in document["flags"])
