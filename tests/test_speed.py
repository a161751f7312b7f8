"""The speed model: what a user may rely on about how its figures move, and where it says nothing."""

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from planner.catalog import load_catalog
from planner.catalog.stored import stored
from planner.engine.flags import default_flags
from planner.engine.profile import load_profile
from planner.facts.gpu import GPU
from planner.memory.terms import Server
from planner.speed.forecast import Forecast, Load, Served, forecast, served, under
from planner.speed.planned import shared
from planner.speed.serving import Requests, at_rate, running_state
from planner.speed.site import Site
from planner.speed.step import Batch, expected_hits, step
from planner.speed.work import ExpertLayers, work

CATALOG = load_catalog()
PROFILE = load_profile("0.33.0")
CHAT = Requests(input_tokens=2000, output_tokens=500)
H100 = "H100 80GB SXM5"


def server(model: str, gpu: str = H100, **given: object) -> Server:
    architecture, quantization = stored(*CATALOG.find(model))
    flags = default_flags(PROFILE, CATALOG.gpu(gpu), architecture, **({"max_model_len": 4096} | given))
    return Server(architecture=architecture, quantization=quantization, flags=flags)


def site(gpu: GPU) -> Site:
    return Site(gpu, PROFILE, CATALOG.speed.device(gpu), CATALOG.speed.engine)


def ready(model: str, gpu: str = H100, **given: object) -> Served:
    found = CATALOG.gpu(gpu)
    own = served(server(model, gpu, **given), site(found), CHAT)
    assert not isinstance(own, str), own
    return own


def said(model: str, gpu: str = H100, concurrency: int = 8, requests: Requests = CHAT, **given: object) -> Forecast:
    found = CATALOG.gpu(gpu)
    load = Load(requests=requests, concurrency=concurrency)
    own = server(model, gpu, **given)
    return forecast(own, site(found), load)


def tpot(own: Forecast) -> int:
    assert own.tpot_us, own.reason
    return own.tpot_us.value


def test_a_step_reads_at_least_the_weights_at_full_bandwidth() -> None:
    own = ready("Qwen/Qwen3-8B")
    weights = sum(matrices.stored_bytes for matrices in own.rates.work.matrices)
    one = step(own.rates, Batch(sequences=1, context_tokens=100))

    assert 8e9 * 0.9 < own.rates.work.matrices[0].parameters + own.rates.work.head.parameters < 8e9 * 1.1
    assert weights / 3350e9 < one.matrices < one.seconds < 2 * weights / 3350e9


def test_tokens_and_output_grow_with_the_requests_that_run() -> None:
    own = ready("Qwen/Qwen3-8B")
    states = [running_state(own.rates, CHAT, own.batched_tokens, sequences) for sequences in (1, 2, 4, 8, 16, 32, 64)]

    for fewer, more in itertools.pairwise(states):
        assert fewer.tpot_seconds < more.tpot_seconds < 2 * fewer.tpot_seconds
        assert fewer.requests_per_second < more.requests_per_second


@pytest.mark.parametrize(
    ("faster", "slower"),
    [("Qwen/Qwen3-32B-AWQ", "Qwen/Qwen3-32B-FP8"), ("Qwen/Qwen3-8B", "Qwen/Qwen3-32B-FP8")],
)
def test_fewer_bytes_are_faster_for_one_user(faster: str, slower: str) -> None:
    assert tpot(said(faster, concurrency=1)) < tpot(said(slower, concurrency=1))


def test_tensor_parallelism_and_bandwidth_help_and_a_longer_prompt_hurts() -> None:
    alone = said("Qwen/Qwen3-32B-FP8")
    longer = said("Qwen/Qwen3-32B-FP8", requests=Requests(input_tokens=3000, output_tokens=500))
    cached = said("Qwen/Qwen3-32B-FP8", requests=replace(CHAT, cached_tokens=1500))

    assert tpot(said("Qwen/Qwen3-32B-FP8", tensor_parallel_size=2)) < tpot(alone)
    assert tpot(said("Qwen/Qwen3-32B-FP8", "H200 SXM")) < tpot(alone)
    assert tpot(longer) > tpot(alone) > tpot(cached)
    assert longer.ttft_us and alone.ttft_us and cached.ttft_us
    assert longer.ttft_us.value > alone.ttft_us.value > cached.ttft_us.value


def test_experts_hit_lie_between_one_tokens_and_all() -> None:
    layers = ExpertLayers(
        kernel="bf16", layers=1, experts=128, local_experts=128, active=8, expert_bytes=1.0, expert_parameters=1.0
    )

    assert expected_hits(layers, 1) == pytest.approx(8)
    assert expected_hits(layers, 16) < 16 * 8
    assert expected_hits(layers, 10_000) == pytest.approx(128)
    shared = replace(layers, local_experts=16)
    assert expected_hits(layers, 16) / 8 < expected_hits(shared, 16) <= 16


def test_a_rate_is_served_by_as_many_requests_as_it_needs() -> None:
    own = ready("Qwen/Qwen3-8B")
    state = at_rate(own.rates, CHAT, own.batched_tokens, own.most_sequences, 2.0)

    assert state is not None
    assert state.requests_per_second == pytest.approx(2.0, rel=0.01)
    assert at_rate(own.rates, CHAT, own.batched_tokens, own.most_sequences, 1000.0) is None
    quiet = at_rate(own.rates, CHAT, own.batched_tokens, own.most_sequences, 0.01)
    assert quiet and quiet.sequences < 1
    assert quiet.tpot_seconds == running_state(own.rates, CHAT, own.batched_tokens, 1.0).tpot_seconds


def test_output_is_no_more_than_the_engines_steps_can_give() -> None:
    """With room for one token of a prompt beside the running requests, every token of it is a step of its own."""
    own = ready("Qwen/Qwen3-8B", max_num_seqs=4, max_num_batched_tokens=4)
    state = running_state(own.rates, CHAT, own.batched_tokens, 4)
    steps = CHAT.input_tokens + CHAT.output_tokens - 1

    assert state.requests_per_second * steps * state.step_seconds <= 4 * (1 + 1e-9)


def test_users_beyond_what_runs_wait_for_a_place() -> None:
    own = ready("Qwen/Qwen3-8B", max_num_seqs=8)
    some, many = (under(own, Load(requests=CHAT, concurrency=users)) for users in (8, 80))

    assert some.tpot_us == many.tpot_us
    assert some.output_millitokens_per_second == many.output_millitokens_per_second
    assert some.ttft_us and many.ttft_us
    assert many.ttft_us.value > 10 * some.ttft_us.value
    assert many.ttft_us.low == some.ttft_us.low


def test_the_range_holds_the_figure_and_analogy_is_wider() -> None:
    near, far = said("Qwen/Qwen3-8B"), said("Qwen/Qwen3-8B", "RTX A6000")

    assert (near.grade, far.grade) == ("measured", "analogy")
    for own in (near, far):
        for figure in (own.tpot_us, own.ttft_us, own.output_millitokens_per_second):
            assert figure and figure.low < figure.value < figure.high
    assert near.tpot_us and far.tpot_us
    assert near.tpot_us.high / near.tpot_us.low < far.tpot_us.high / far.tpot_us.low


@pytest.mark.parametrize(
    ("model", "gpu", "given", "reason"),
    [
        ("Qwen/Qwen3-8B", "Instinct MI300X", {}, "AMD"),
        ("Qwen/Qwen3-8B", "T4", {}, "no kernels of T4"),
        ("Qwen/Qwen3-8B", "GB10", {}, "16-bit rate of GB10"),
        ("Qwen/Qwen3-8B", "H100 80GB SXM5 MIG 3g.40gb", {}, "MIG"),
        ("Qwen/Qwen3-8B", "L40S", {"tensor_parallel_size": 2}, "over PCIe"),
        ("Qwen/Qwen3-8B", H100, {"tensor_parallel_size": 16}, "summing over 16 GPUs"),
        ("Qwen/Qwen3-8B", H100, {"pipeline_parallel_size": 2}, "pipeline parallelism"),
        ("Qwen/Qwen3-8B", H100, {"enforce_eager": True}, "CUDA graphs"),
        ("Qwen/Qwen3-8B", H100, {"capture_sizes": (1, 2, 4)}, "more than CUDA graphs are captured for (4)"),
        ("Qwen/Qwen3-8B", H100, {"max_capture_size": 4}, "more than CUDA graphs are captured for (4)"),
        ("Qwen/Qwen3-8B", H100, {"cpu_offload_bytes": 1 << 30}, "host memory"),
        ("Qwen/Qwen3-8B", H100, {"dtype": "float32"}, "16-bit activations"),
        ("Qwen/Qwen3-8B", H100, {"max_loras": 2}, "adapters"),
        ("BAAI/bge-m3", H100, {}, "generates no tokens"),
        ("Qwen/Qwen3-32B", "A100 40GB SXM4", {}, "does not hold one request"),
        ("Qwen/Qwen3-8B", H100, {"max_model_len": 2000}, "longer than max_model_len"),
    ],
)
def test_where_the_evidence_does_not_reach_nothing_is_said(
    model: str, gpu: str, given: dict[str, Any], reason: str
) -> None:
    own = said(model, gpu, **given)

    assert own.reason and reason.casefold() in own.reason.casefold()
    figures = own.tpot_us, own.ttft_us, own.output_millitokens_per_second, own.grade
    assert figures == (None, None, None, None)


def test_more_requests_than_were_ever_measured_and_floods_of_prompts_are_refused() -> None:
    many = said("Qwen/Qwen3-0.6B", "RTX 3090", 200, Requests(input_tokens=50, output_tokens=50))
    flood = said("Qwen/Qwen3-8B", concurrency=16, requests=Requests(input_tokens=3500, output_tokens=20))

    assert many.reason and "running requests" in many.reason
    assert flood.reason and "bound by prompts" in flood.reason


def test_a_checkpoints_parts_run_their_own_kernels() -> None:
    mixed = work(server("openai/gpt-oss-20b"), 90)

    assert {matrices.kernel for matrices in mixed.matrices} == {"bf16"}
    assert {layers.kernel for layers in mixed.experts} == {"mxfp4"}
    assert {(caches.layers, bool(caches.reach_tokens)) for caches in mixed.caches} == {(12, True), (12, False)}
    old = work(server("Qwen/Qwen3-8B-FP8", "A100 80GB SXM4"), 80)
    assert old.matrices[0].kernel == "weight-only-8" or old.matrices[-1].kernel == "weight-only-8"


def test_requests_that_graphs_are_captured_for_are_as_fast_as_with_the_engines_own_sizes() -> None:
    assert said("Qwen/Qwen3-8B", max_num_seqs=8, max_capture_size=8) == said("Qwen/Qwen3-8B", max_num_seqs=8)


def test_a_shared_expert_that_ranks_keep_whole_is_read_whole() -> None:
    mixture = server("deepseek-ai/DeepSeek-V3.2", tensor_parallel_size=2, data_parallel_size=4, expert_parallel=True)
    whole, cut = work(mixture, 90, PROFILE.whole_shared_experts), work(mixture, 90)

    assert sum(one.stored_bytes for one in whole.matrices) > sum(one.stored_bytes for one in cut.matrices)


def test_states_are_read_in_the_dtype_that_is_pinned() -> None:
    own, wide, half = (
        work(server("Qwen/Qwen3-Next-80B-A3B-Instruct", **told), 90).state_bytes
        for told in ({}, {"mamba_cache_dtype": "float32"}, {"mamba_ssm_cache_dtype": "bfloat16"})
    )

    assert wide > own >= half


def test_servers_that_share_a_gpu_are_told_a_bound_whose_fast_end_is_that_of_one_alone() -> None:
    alone = said("Qwen/Qwen3-8B")
    both = shared(alone, 2000)

    assert tpot(both) == 2 * tpot(alone)
    assert alone.tpot_us and both.tpot_us and alone.output_millitokens_per_second
    assert (both.tpot_us.low, both.tpot_us.high) == (alone.tpot_us.low, 2 * alone.tpot_us.high)
    assert both.output_millitokens_per_second
    assert both.output_millitokens_per_second.high == alone.output_millitokens_per_second.high
    assert both.output_millitokens_per_second.value == alone.output_millitokens_per_second.value // 2
