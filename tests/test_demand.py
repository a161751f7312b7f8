"""The solver's linear demand never promises less than the ledger takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.facts.gpu import GPU
from planner.memory.demand import demand, ledger, with_sequences
from planner.memory.estimate import estimate
from planner.memory.terms import Server, terms
from planner.units import GIB

QWEN_7B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "max_position_embeddings": 32768, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip
H100 = GPU(
    name="H100 80GB", product="NVIDIA H100 80GB HBM3", aliases=(), vendor="nvidia", generation="Hopper",
    compute_capability=(9, 0), memory_bytes=85021163520, driver_memory_bytes=85520809984,
    bandwidth_bytes_per_second=None, interconnect="",
)  # fmt: skip
ARCHITECTURE, QUANTIZATION = parse_config(QWEN_7B, where="test")


def server(version: str, seqs: int, tokens: int, context: int, ranks: int = 1, stages: int = 1) -> Server:
    profile = load_profile(version)
    flags = ServeFlags(
        max_model_len=context,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        gpu_memory_utilization=profile.gpu_memory_utilization,
        tensor_parallel_size=ranks,
        pipeline_parallel_size=stages,
    )
    return Server(architecture=ARCHITECTURE, quantization=QUANTIZATION, flags=flags)


@given(
    version=st.sampled_from(["0.11.0", "0.19.0", "0.25.1", "0.28.0", "0.33.0"]),
    seqs=st.integers(1, 1024),
    room=st.integers(0, 200),
    tokens=st.sampled_from([1024, 2048, 8192]),
    context=st.integers(512, 32768),
    share=st.floats(0.05, 1.0),
    ranks=st.sampled_from([1, 2, 4]),
    stages=st.sampled_from([1, 1, 2, 3, 5]),
)
def test_demand_covers_the_ledger(
    version: str, seqs: int, room: int, tokens: int, context: int, share: float, ranks: int, stages: int
) -> None:
    profile = load_profile(version)
    tokens = max(tokens, seqs + room)
    request = max(1, int(context * share))
    line = demand(server(version, seqs + room, tokens, context, ranks, stages), H100, profile, request)

    chosen = with_sequences(server(version, seqs, tokens, context, ranks, stages), seqs, line.kv_cache_bytes(seqs))

    assert line.footprint(seqs) >= ledger(chosen, H100, profile).total_bytes
    for rank in range(stages):
        stage = terms(chosen, H100, profile, rank)
        held = stage.layout.blocks_per_request(request, tokens) * seqs + 1
        assert stage.layout.blocks(line.kv_cache_bytes(seqs)) >= held


@given(
    version=st.sampled_from(["0.19.0", "0.28.0", "0.33.0"]),
    seqs=st.integers(132, 1024),
    tokens=st.sampled_from([1024, 2048, 8192]),
)
def test_demand_is_the_ledger_at_its_own_bound(version: str, seqs: int, tokens: int) -> None:
    profile = load_profile(version)
    line = demand(server(version, seqs, tokens, 8192), H100, profile, 8192)

    chosen = with_sequences(server(version, seqs, tokens, 8192), seqs, line.kv_cache_bytes(seqs))

    assert line.footprint(seqs) == ledger(chosen, H100, profile).total_bytes


@pytest.mark.parametrize(("utilization", "starts"), [(0.9, True), (0.97, True), (0.99, False)])
def test_the_sampler_must_fit_once_more_beside_cache_and_graphs(utilization: float, starts: bool) -> None:
    wanted = server("0.19.0", 1024, 8192, 8192)
    flags = replace(wanted.flags, gpu_memory_utilization=utilization)
    found = estimate(replace(wanted, flags=flags), H100, load_profile("0.19.0"))

    assert found.starts == starts
    assert starts or "warming up the sampler with 1024 requests" in str(found.reason)


def test_ledger_needs_a_fixed_cache() -> None:
    with pytest.raises(ValueError, match="kv_cache_memory_bytes"):
        ledger(server("0.33.0", 8, 2048, 8192), H100, load_profile("0.33.0"))


def test_the_margin_covers_what_an_unseen_config_may_add_to_the_weights() -> None:
    profile = load_profile("0.33.0")
    four_bits = parse_config({**QWEN_7B, "quantization_config": awq(128)}, where="test")[1]
    fine_groups = parse_config({**QWEN_7B, "quantization_config": awq(32)}, where="test")[1]
    seen = replace(server("0.33.0", 8, 2048, 8192), quantization=four_bits)
    unseen = replace(seen, quantization=replace(four_bits, widest=fine_groups))
    extra = terms(replace(seen, quantization=fine_groups), H100, profile).weights_bytes
    extra -= terms(seen, H100, profile).weights_bytes

    assert extra > 300_000_000
    assert demand(unseen, H100, profile, 8192).fixed_bytes - demand(seen, H100, profile, 8192).fixed_bytes == extra
    books = [ledger(with_sequences(one, 8, 2 * GIB), H100, profile) for one in (seen, unseen)]
    assert books[1].margin_bytes - books[0].margin_bytes == extra
    assert books[0].weights_bytes == books[1].weights_bytes
    guesses = [estimate(one, H100, profile) for one in (seen, unseen)]
    assert guesses[0].kv_cache_low_bytes - guesses[1].kv_cache_low_bytes == extra
    assert guesses[0].kv_cache_bytes == guesses[1].kv_cache_bytes


def awq(group_size: int) -> dict[str, Any]:
    return {"quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True}


def test_planned_cache_holds_the_promised_requests() -> None:
    profile = load_profile("0.33.0")
    line = demand(server("0.33.0", 64, 2048, 32768), H100, profile, 5000)
    chosen = with_sequences(server("0.33.0", 64, 2048, 32768), 40, line.kv_cache_bytes(40))

    result = estimate(chosen, H100, profile)

    assert result.starts, result.reason
    assert result.kv_cache_bytes == line.kv_cache_bytes(40) < 40 * 5016 * 57344 + 2 * GIB
