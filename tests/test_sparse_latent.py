"""Sparse latent attention: what it takes beside the experts, and with heads that fill a kernel."""

from fleets import catalog

from planner.catalog import Catalog
from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.memory.sparse_latent import NOT_SPARSE, SparseLatent, sparse_latent
from planner.memory.terms import Server, terms
from planner.units import MIB

BATCH, CONTEXT = 8192, 16384
QUERY, VALUES = 576, 512


def asked(model: str = "DeepSeek-V3.2", ranks: int = 8, cache: str = "fp8", batch: int = BATCH) -> Server:
    found: Catalog = catalog()
    entry = next(one for one in found.models if one.name == model)
    architecture, quantization = parse_config(entry.config_for(entry.variants[0]), where=model)
    flags = ServeFlags(
        max_model_len=CONTEXT, max_num_seqs=64, max_num_batched_tokens=batch, gpu_memory_utilization=0.9,
        tensor_parallel_size=ranks, kv_cache_dtype=cache,
    )  # fmt: skip
    return Server(architecture=architecture, quantization=quantization, flags=flags)


def sparse(server: Server, version: str = "0.33.0", gpu: str = "H100 SXM 80GB") -> SparseLatent:
    profile, where = load_profile(version), catalog().gpu(gpu)
    return sparse_latent(server.architecture, server.quantization, server.flags, profile, where)


def test_few_heads_are_padded_to_those_of_a_kernel_for_every_token_of_a_batch() -> None:
    few = sparse(asked(ranks=8))  # 16 of 128 heads on each rank

    assert few.serving_bytes == BATCH * 64 * (QUERY + VALUES) * 2
    assert few.serving_bytes == sparse(asked(ranks=16)).serving_bytes
    assert sparse(asked(ranks=1)).serving_bytes == 64 * 128 * VALUES * 2


def test_a_pass_that_serves_takes_more_than_the_profiled_one() -> None:
    server = asked(ranks=8)
    line = terms(server, catalog().gpu("H100 SXM 80GB"), load_profile("0.33.0")).line

    assert line.unprofiled_bytes == sparse(server).serving_bytes - 512 * MIB
    assert line.serving_floor_bytes == line.warm_floor_bytes + line.unprofiled_bytes


def test_the_workspace_is_that_of_all_heads_and_of_unpacked_prompts() -> None:
    prompts = 5 * CONTEXT * QUERY * 2

    assert sparse(asked(ranks=1)).workspace_bytes == BATCH * 128 * 2 * (QUERY + VALUES) * 2 + prompts
    assert sparse(asked(ranks=1), "0.30.0").workspace_bytes == BATCH * 128 * QUERY * 2 + prompts


def test_experts_share_the_workspace_and_before_0_31_a_larger_one_does_not_free_it() -> None:
    newer, older = sparse(asked(), "0.31.0"), sparse(asked(), "0.30.0")

    assert newer.with_experts(newer.workspace_bytes + 1) == newer.workspace_bytes + 1
    assert older.with_experts(older.workspace_bytes + 1) == 2 * older.workspace_bytes + 1
    assert older.with_experts(older.workspace_bytes - 1) == older.workspace_bytes


def test_other_kernels_pad_nothing_and_other_models_take_nothing() -> None:
    assert not sparse(asked(), gpu="B200").serving_bytes
    assert sparse(asked("DeepSeek-V3.1")) == NOT_SPARSE
