"""The activation peak against what vLLM logged, and the slopes that follow from its sources."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.facts.gpu import GPU
from planner.memory.activation import ActivationLine, activation_line
from planner.units import GIB

H100 = GPU(
    name="H100", product="NVIDIA H100 80GB HBM3", aliases=(), vendor="nvidia", generation="Hopper",
    compute_capability=(9, 0), memory_bytes=85021163520, driver_memory_bytes=85520809984,
    bandwidth_bytes_per_second=None, interconnect="NVLink 900 GB/s",
)  # fmt: skip
A10G = GPU(
    name="A10G", product="NVIDIA A10G", aliases=(), vendor="nvidia", generation="Ampere", compute_capability=(8, 6),
    memory_bytes=23609475072, driver_memory_bytes=None, bandwidth_bytes_per_second=None, interconnect="PCIe",
)  # fmt: skip


def llama(hidden: int, intermediate: int, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": intermediate, "num_hidden_layers": 4, "num_attention_heads": hidden // 128,
        "num_key_value_heads": 4, "vocab_size": vocabulary, "max_position_embeddings": 32768,
        "torch_dtype": "bfloat16",
    }  # fmt: skip


def line(config: dict[str, Any], version: str, gpu: GPU, tokens: int, seqs: int, ranks: int = 1) -> ActivationLine:
    architecture, _ = parse_config(config, where="test")
    flags = ServeFlags(
        max_model_len=8192, max_num_seqs=seqs, max_num_batched_tokens=tokens, gpu_memory_utilization=0.9,
        tensor_parallel_size=ranks,
    )  # fmt: skip
    return activation_line(architecture, flags, load_profile(version), gpu, dtype_bytes=2, quantized=False)


@pytest.mark.parametrize(
    ("hidden", "intermediate", "vocabulary", "version", "logged_gib"),
    [
        (4096, 14336, 128256, "0.19.0", 1.89),  # Llama-3.1-8B
        (3584, 18944, 152064, "0.19.0", 2.21),  # Qwen2.5-7B
        (8192, 28672, 128256, "0.19.0", 1.96),  # Llama-3.3-70B on two GPUs, the sampler is not shared out
        (4096, 11008, 32016, "0.19.0", 0.77),  # CodeLlama-7B: the layers' peak
        (5120, 17408, 151936, "0.17.0", 2.23),  # Qwen3-14B
        (5120, 17408, 151936, "0.16.0", 5.64),  # the same before the sampler changed
        (8192, 28672, 128256, "0.11.0", 4.84),
    ],
)
def test_peak_on_h100_is_what_was_logged(
    hidden: int, intermediate: int, vocabulary: int, version: str, logged_gib: float
) -> None:
    ranks = 2 if hidden == 8192 else 1
    found = line(llama(hidden, intermediate, vocabulary), version, H100, 8192, 1024, ranks).at(1024)

    assert found.total_bytes / GIB == pytest.approx(logged_gib, abs=0.007)


def test_peak_of_the_older_engine_core_grows_with_the_whole_prompt() -> None:
    found = line(llama(4096, 14336, 128256), "0.6.4", A10G, 20000, 1)

    assert found.at(1).transient_bytes / GIB == pytest.approx(2.07, abs=0.01)


@pytest.mark.parametrize(
    ("version", "saved"), [("0.7.3", 0), ("0.8.3", 24), ("0.11.0", 24), ("0.11.2", 0), ("0.19.0", 0)]
)
def test_the_peak_may_be_that_of_an_installed_flashinfer(version: str, saved: int) -> None:
    found = line(llama(4096, 14336, 128256), version, H100, 8192, 1024)

    assert found.bytes_per_sequence - found.least_bytes_per_sequence == 128256 * saved
    assert found.least_at(1024) <= found.at(1024).transient_bytes


@pytest.mark.parametrize(
    ("version", "bytes_per_logit"),
    [("0.16.0", 38), ("0.19.0", 14), ("0.22.1", 14), ("0.24.0", 6), ("0.28.0", 2), ("0.33.0", 14)],
)
def test_slope_in_sequences_is_bytes_per_logit_and_hidden_copies(version: str, bytes_per_logit: int) -> None:
    found = line(llama(4096, 14336, 128256), version, H100, 8192, 1024)

    copies = 2 if version < "0.23" else 1
    assert found.bytes_per_sequence == 128256 * bytes_per_logit + copies * 4096 * 2


def test_slope_in_tokens_is_the_widest_moment_of_a_layer() -> None:
    small = line(llama(4096, 14336, 32000), "0.19.0", H100, 4096, 1).floor_bytes
    large = line(llama(4096, 14336, 32000), "0.19.0", H100, 8192, 1).floor_bytes

    assert large - small == 4096 * 2 * (3 * 14336 + 3 * 4096)


def test_tensor_parallelism_shares_out_layers_but_not_the_sampler() -> None:
    one = line(llama(4096, 14336, 128256), "0.19.0", H100, 8192, 1024, 1)
    four = line(llama(4096, 14336, 128256), "0.19.0", H100, 8192, 1024, 4)

    assert four.floor_bytes < one.floor_bytes
    assert four.bytes_per_sequence == one.bytes_per_sequence


def test_second_model_runner_keeps_penalties_for_every_sequence() -> None:
    assert line(llama(4096, 14336, 128256), "0.31.0", H100, 8192, 1024).kept_bytes_per_sequence == 128256 * 4 + 4008 * 4
