"""Context parallelism: what a fleet may ask for, how far a KV cache reaches then, and what is started."""

from pathlib import Path
from typing import Any

import pytest
from commands import run, solved
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import planned_server
from planner.check import check
from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.errors import InputError
from planner.facts.quantization import Quantization
from planner.memory.context_parallel import context_buffer_bytes, shape_refusal
from planner.memory.refusals import refusal
from planner.tensors.kv_cache import layout
from planner.tensors.kv_rules import kv_rules

LONG: dict[str, Any] = {
    "name": "long",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "nodes": {"h200": {"gpu": "H200", "gpus": 8}},
    "objective": "concurrency",
    "roles": {
        "reader": {
            "task": "general",
            "models": ["DeepSeek-V3.1"],
            "schemes": "fp8",
            "context": "64k",
            "concurrency": {"min": 1, "target": 4000},
            "tensor_parallel": 8,
        },
    },
}


def architecture(name: str) -> Any:  # noqa: ANN401 - what parse_config returns
    model = next(one for one in catalog().models if one.name == name)
    return parse_config(dict(model.config), where=name)[0]


def flags(tensor: int, parts: int, **more: Any) -> ServeFlags:  # noqa: ANN401 - any flag
    small = {"max_model_len": 4096, "max_num_seqs": 8, "max_num_batched_tokens": 4096, "gpu_memory_utilization": 0.9}
    return ServeFlags(**{**small, **more}, tensor_parallel_size=tensor, context_parallel_size=parts)


def test_dealt_out_tokens_serve_more_requests_and_are_checked_started_and_read_back(tmp_path: Path) -> None:
    (before,) = solved(tmp_path / "before", LONG).servers
    document = changed(LONG, "roles.reader.context_parallel", "auto")
    plan = solved(tmp_path / "after", document, "--target", "quadlet")
    (after,) = plan.servers

    assert (before.context_parallel_size, after.context_parallel_size) == (1, 8)
    assert after.requests >= 4 * before.requests
    assert plan.proof.proven
    assert after.speed is None or after.speed.reason
    assert not check(plan, fleet(document), catalog())
    for files in read_back(tmp_path / "after" / "artifacts").values():
        for command in files:
            words = {argument.flag: argument.value for argument in command.arguments}
            assert words["--decode-context-parallel-size"] == "8"
            assert planned_server(after, command.arguments).context_parallel_size == 8
    assert run("verify", str(tmp_path / "after"))[0] == 0
    for other in (1, 4):
        wrong = replace(after, context_parallel_size=other)
        assert check(replace(plan, servers=(wrong,)), fleet(document), catalog())


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_request_takes_its_share_of_the_blocks(parts: int) -> None:
    of = architecture("DeepSeek-V3.1")
    rules = kv_rules(load_profile("0.33.0"))
    whole = layout(of, rules=rules, block_size=64, tensor_parallel_size=8)
    dealt = layout(of, rules=rules, block_size=64, tensor_parallel_size=8, context_parallel_size=parts)

    for tokens in (1, 64 * parts, 64 * parts + 1, 100_000):
        assert dealt.blocks_per_request(tokens, 8192) == -(-tokens // (64 * parts))
    assert dealt.bytes_per_block == whole.bytes_per_block
    assert dealt.tokens_logged(1000, 65536, 8192) >= parts * whole.tokens_logged(1000, 65536, 8192) * 99 // 100


@pytest.mark.parametrize(
    ("model", "tensor", "parts", "version", "rule"),
    [
        ("DeepSeek-V3.1", 8, 8, "0.33.0", None),
        ("DeepSeek-V3.1", 8, 3, "0.33.0", "context-over-ranks"),
        ("DeepSeek-V3.1", 8, 8, "0.28.0", "context-version"),
        ("Qwen2.5-7B-Instruct", 8, 2, "0.33.0", "context-query-heads"),
        ("Llama-3.3-70B-Instruct", 8, 2, "0.33.0", "context-kv-heads"),
        ("Llama-3.3-70B-Instruct", 16, 2, "0.33.0", None),
        ("gpt-oss-120b", 8, 1, "0.33.0", None),
        ("gpt-oss-120b", 16, 2, "0.33.0", "context-not-sized"),
        ("GLM-5", 8, 8, "0.33.0", "context-not-sized"),
    ],
)
def test_the_engine_s_rules(model: str, tensor: int, parts: int, version: str, rule: str | None) -> None:
    found = shape_refusal(architecture(model), flags(tensor, parts), load_profile(version))

    assert (found and found.rule) == rule


@pytest.mark.parametrize(
    ("tensor", "parts", "cache", "rule"),
    [
        (8, 2, "fp8", None),
        (8, 4, "fp8", None),
        (8, 8, "fp8", "context-sparse"),  # 128 heads together, more than queries are padded to
        (4, 2, "fp8", "context-sparse"),  # 32 heads on each rank
        (8, 2, "auto", "context-sparse"),
    ],
)
def test_sparse_attention_needs_an_fp8_cache_and_few_heads(
    tensor: int, parts: int, cache: str, rule: str | None
) -> None:
    of, profile, hopper = architecture("DeepSeek-V3.2"), load_profile("0.33.0"), catalog().gpu("H200")

    found = refusal(of, Quantization(), flags(tensor, parts, kv_cache_dtype=cache), profile, hopper)

    assert (found and found.rule) == rule


@pytest.mark.parametrize("name", ["DeepSeek-V3.1", "DeepSeek-V3.2", "Llama-3.3-70B-Instruct"])
def test_ranks_that_deal_out_tokens_set_memory_aside_for_the_exchange(name: str) -> None:
    of = architecture(name)

    alone = context_buffer_bytes(of, flags(16, 1), 2)
    pair = context_buffer_bytes(of, flags(16, 2), 2)
    wider = context_buffer_bytes(of, flags(16, 2, max_num_batched_tokens=8192, max_num_seqs=16), 2)

    assert alone == 0
    assert 0 < pair < wider


def test_a_role_that_generates_nothing_deals_out_nothing() -> None:
    document = changed(changed(LONG, "roles.reader.task", "embedding"), "roles.reader.models", ["Qwen3-Embedding-8B"])
    document = changed(changed(document, "roles.reader.schemes", None), "roles.reader.context", "8k")
    with pytest.raises(InputError) as caught:
        fleet(changed(document, "roles.reader.context_parallel", 2))

    assert "roles.reader.context_parallel" in str(caught.value)
