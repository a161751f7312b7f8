"""What the engine's memory profile does not show: recurrent prefill, FlashInfer's workspace, requests that pass."""

from typing import Any

import pytest

from planner.catalog import load_catalog
from planner.catalog.stored import stored
from planner.config_json import as_pooling
from planner.engine.flags import ServeFlags, default_flags
from planner.engine.profile import load_profile
from planner.memory.demand import demand, ledger, with_sequences
from planner.memory.recurrent import unprofiled_bytes
from planner.memory.terms import Server, terms
from planner.units import GIB, KIB, MIB

CATALOG = load_catalog()


def server(name: str, gpu: str, version: str, *, pooling: bool = False, **given: Any) -> Server:  # noqa: ANN401 - flags
    architecture, quantization = stored(*CATALOG.find(name))
    architecture = as_pooling(architecture) if pooling else architecture
    flags = default_flags(load_profile(version), CATALOG.gpu(gpu), architecture, **given)
    return Server(architecture=architecture, quantization=quantization, flags=flags)


def flags(tokens: int, ranks: int = 1) -> ServeFlags:
    return ServeFlags(
        max_model_len=8192, max_num_seqs=16, max_num_batched_tokens=tokens, gpu_memory_utilization=0.9,
        tensor_parallel_size=ranks,
    )  # fmt: skip


def test_recurrent_layers_take_72_kib_per_token_of_a_batch() -> None:
    qwen, _ = stored(*CATALOG.find("Qwen/Qwen3.8-27B"))  # 48 heads of 128 x 128, vllm#54775
    llama, _ = stored(*CATALOG.find("meta-llama/Llama-3.1-8B-Instruct"))

    assert unprofiled_bytes(qwen, flags(8192), 2) == 8192 * 72 * KIB
    assert unprofiled_bytes(qwen, flags(2048, ranks=2), 2) == 2048 * 36 * KIB
    assert unprofiled_bytes(llama, flags(8192), 2) == 0


def test_a_plan_leaves_that_free() -> None:
    gpu, profile = CATALOG.gpu("RTX PRO 6000"), load_profile("0.33.0")
    hybrid = with_sequences(server("Qwen/Qwen3.8-27B", "RTX PRO 6000", "0.33.0", max_model_len=32768), 16, 20 * GIB)
    measured = terms(hybrid, gpu, profile).line
    spared = ledger(hybrid, gpu, profile).activation_bytes - measured.kept_bytes - 16 * measured.kept_bytes_per_sequence

    assert spared == measured.warm_floor_bytes + 8192 * 72 * KIB
    assert demand(hybrid, gpu, profile, 32768).activation_floor_bytes == spared


def captured(gpu: str, version: str, batch: int, **given: Any) -> int:  # noqa: ANN401 - flags
    """Return what capturing takes for Qwen3.5-122B."""
    asked = server(
        "Qwen/Qwen3.5-122B-A10B", gpu, version, max_model_len=8192, max_num_seqs=16, max_num_batched_tokens=batch,
        **given,
    )  # fmt: skip
    return terms(asked, CATALOG.gpu(gpu), load_profile(version)).cuda_graph_bytes


@pytest.mark.parametrize(
    ("gpu", "version", "batch", "added"),
    [
        ("RTX PRO 6000", "0.25.1", 32768, 394 * MIB),
        ("RTX PRO 6000", "0.26.0", 32768, 4 * GIB),  # 0.56 became 4.2 GiB: vllm#50780
        ("RTX PRO 6000", "0.26.0", 2048, 394 * MIB),
        ("H100", "0.26.0", 32768, 0),  # FlashAttention reads a cache in 8 bits there
    ],
)
def test_flashinfer_sets_a_workspace_aside_for_a_cache_in_8_bits(
    gpu: str, version: str, batch: int, added: int
) -> None:
    assert captured(gpu, version, batch, kv_cache_dtype="fp8") - captured(gpu, version, batch) == added


def test_it_does_so_on_b200_whatever_the_cache_and_only_where_graphs_are_captured() -> None:
    assert captured("B200", "0.26.0", 16384) - captured("B200", "0.26.0", 8192) == GIB
    assert captured("B200", "0.26.0", 8192, enforce_eager=True) == 0


def test_requests_that_pass_share_a_cache() -> None:
    gpu, profile = CATALOG.gpu("L4"), load_profile("0.33.0")
    given: dict[str, Any] = {"max_model_len": 8192, "max_num_seqs": 64}
    embedder = server("Qwen/Qwen3-Embedding-4B", "L4", "0.33.0", pooling=True, **given)
    chat = server("Qwen/Qwen3-4B", "L4", "0.33.0", **given)
    token_bytes = 36 * 2 * 8 * 128 * 2

    passing, staying = (demand(one, gpu, profile, 8192) for one in (embedder, chat))
    assert staying.kv_cache_bytes(64) - staying.null_block_bytes == 64 * 8192 * token_bytes
    assert passing.kv_cache_bytes(64) - passing.null_block_bytes == (8192 + 2048) * token_bytes
    # Fewer than a batch holds: each has its own.
    few = server("Qwen/Qwen3-Embedding-4B", "L4", "0.33.0", pooling=True, max_model_len=512, max_num_seqs=2)
    assert demand(few, gpu, profile, 512).kv_cache_bytes(2) - passing.null_block_bytes == 2 * 512 * token_bytes


def test_models_that_take_prompts_in_chunks_keep_the_usual_batch() -> None:
    embedder = server("Qwen/Qwen3-Embedding-4B", "L4", "0.33.0", pooling=True)
    encoder = server("BAAI/bge-m3", "L4", "0.33.0", max_model_len=8192)

    assert embedder.flags.max_num_batched_tokens == 2048 < embedder.flags.max_model_len
    assert encoder.flags.max_num_batched_tokens == 8192
