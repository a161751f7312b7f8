"""Data and expert parallelism: what a fleet may ask for, what is planned and proven, and what is started."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run, solved
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner import explain
from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import planned_server
from planner.check import check
from planner.errors import InputError

LARGE: dict[str, Any] = {
    "name": "large",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "nodes": {"h200": {"gpu": "H200", "gpus": 8}},
    "objective": "concurrency",
    "roles": {
        "big": {
            "task": "general",
            "models": ["DeepSeek-V3.2"],
            "schemes": "fp8",
            "context": "16k",
            "concurrency": {"min": 8, "target": 4000},
            "request": {"prompt_tokens": "6k", "output_tokens": "2k"},
        },
    },
}
TARGETS = ("quadlet", "kubernetes", "helm-values")


def refusals(document: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        fleet(document)
    return str(caught.value)


@pytest.mark.parametrize("model", ["DeepSeek-V3.2", "Kimi-K2-Thinking", "GLM-5"])
def test_ranks_serve_three_times_what_tensor_parallelism_serves(model: str, tmp_path: Path) -> None:
    document = changed(LARGE, "roles.big.models", [model])
    document = changed(document, "roles.big.schemes", None)

    (before,) = solved(tmp_path / "before", document).servers
    document = changed(changed(document, "roles.big.variant", before.repository), "roles.big.data_parallel", "auto")
    (after,) = solved(tmp_path / "after", document).servers

    assert (before.data_parallel_size, before.expert_parallel) == (1, False)
    assert after.tensor_parallel_size * after.data_parallel_size <= 8
    assert after.requests >= 3 * before.requests


def test_a_plan_with_ranks_is_checked_started_and_read_back(tmp_path: Path) -> None:
    document = changed(LARGE, "roles.big.data_parallel", "auto")
    plan = solved(tmp_path, document, *(word for target in TARGETS for word in ("--target", target)))
    (server,) = plan.servers

    assert plan.proof.proven
    assert not check(plan, fleet(document), catalog())
    assert server.expert_parallel
    assert server.concurrency_request >= server.requests == server.data_parallel_size * server.max_num_seqs
    commands = read_back(tmp_path / "artifacts")
    for files in commands.values():
        for command in files:
            flags = {argument.flag: argument.value for argument in command.arguments}
            assert flags["--data-parallel-size"] == str(server.data_parallel_size)
            assert flags["--enable-expert-parallel"] == ""
            assert planned_server(server, command.arguments).data_parallel_size == server.data_parallel_size
    assert run("verify", str(tmp_path))[0] == 0


def test_a_check_finds_ranks_that_are_not_there(tmp_path: Path) -> None:
    document = changed(LARGE, "roles.big.data_parallel", 8)
    plan = solved(tmp_path, document)
    (server,) = plan.servers
    wrong = {
        "fewer ranks": replace(server, data_parallel_size=4),
        "cut experts": replace(server, expert_parallel=False),
        "more requests": replace(server, max_num_seqs=server.max_num_seqs + 1),
    }

    for what, other in wrong.items():
        assert check(replace(plan, servers=(other,)), fleet(document), catalog()), what


def test_ranks_that_were_not_compared_are_named_where_memory_is_short(tmp_path: Path) -> None:
    asked = changed(LARGE, "roles.big.data_parallel", [1, 8])
    content = changed(LARGE, "roles.big.concurrency.target", 8)
    dense = changed(LARGE, "roles.big.models", ["Llama-3.3-70B-Instruct"])
    old = changed(changed(LARGE, "roles.big.models", ["DeepSeek-V3.1"]), "engine.version", "0.10.2")

    lines = {
        name: " ".join(explain.untried(fleet(one), solved(tmp_path / name, one)))
        for name, one in (("open", LARGE), ("asked", asked), ("content", content), ("dense", dense), ("old", old))
    }

    assert "roles.big: memory keeps DeepSeek-V3.2 from more requests" in lines.pop("open")
    assert not any("data_parallel" in line for line in lines.values()), lines


def test_whole_experts_are_left_to_the_planner_where_only_ranks_are_stated() -> None:
    document = changed(LARGE, "roles.big.data_parallel", 4)
    role = fleet(changed(document, "roles.big.expert_parallel", False)).roles[0]

    assert role.data_parallel_sizes == (4,)
    assert role.expert_parallel is False
    assert fleet(document).roles[0].expert_parallel is None
    assert fleet(LARGE).roles[0].data_parallel_sizes == (1,)


def test_experts_that_cannot_be_cut_are_shared_out_whole(tmp_path: Path) -> None:
    document = changed(LARGE, "roles.big.models", ["Qwen3-235B-A22B-Instruct-2507"])
    document = changed(changed(document, "roles.big.tensor_parallel", 8), "engine.version", "0.28.0")
    document = changed(document, "roles.big.expert_parallel", "auto")

    (server,) = solved(tmp_path, document).servers

    assert server.expert_parallel


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"roles.big.expert_parallel": True, "roles.big.models": ["Qwen2.5-7B-Instruct"]},
         "expert_parallel", "no experts"),
        ({"roles.big.data_parallel": 2, "roles.big.task": "embedding", "roles.big.models": ["Qwen3-Embedding-8B"]},
         "data_parallel", "no data-parallel ranks"),
        ({"roles.big.data_parallel": 16}, "data_parallel", "do not fit"),
        ({"roles.big.data_parallel": 3}, "data_parallel", "power of two"),
        ({"roles.big.data_parallel": "many"}, "data_parallel", "expected"),
        ({"roles.big.expert_parallel": "yes"}, "expert_parallel", "expected auto, true or false"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_where_they_stand(changes: dict[str, Any], place: str, words: str) -> None:
    document = LARGE
    for path, value in {"roles.big.schemes": None, "roles.big.request": None, **changes}.items():
        document = changed(document, path, value)

    text = refusals(document)

    assert f"roles.big.{place}" in text
    assert words in text


def test_an_older_engine_is_refused_with_the_version_it_takes(tmp_path: Path) -> None:
    document = changed(changed(LARGE, "roles.big.data_parallel", 8), "engine.version", "0.10.2")
    document = changed(document, "roles.big.models", ["DeepSeek-V3.1"])
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    code, output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))

    assert code == 3
    assert "need version 0.11.0" in output
