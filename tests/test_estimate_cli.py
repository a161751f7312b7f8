"""``planner estimate`` as people and programs call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import main

KEYS = [
    "schema", "starts", "reason", "weights_gib", "activation_gib", "non_torch_gib", "cuda_graph_gib", "kv_cache_gib",
    "kv_cache_gib_low", "kv_cache_gib_high", "kv_cache_tokens", "max_concurrency", "attention_backend",
    "unprofiled_gib", "known_faults",
]  # fmt: skip
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["estimate", *arguments])
    return result.exit_code, result.output


def estimate(*arguments: str) -> dict[str, object]:
    code, output = run(*arguments, "--json")
    assert code == 0, output
    data: dict[str, object] = json.loads(output)
    return data


def test_json_has_the_promised_keys() -> None:
    assert list(estimate(LLAMA, "--gpu", "H100")) == KEYS


def test_name_nvml_prints_is_the_same_gpu() -> None:
    assert estimate(LLAMA, "--gpu", "NVIDIA H100 80GB HBM3") == estimate(LLAMA, "--gpu", "H100 80GB SXM5")


@pytest.mark.parametrize("version", ["0.19.0", "0.33.0"])
def test_flags_not_given_are_the_engines_own(version: str) -> None:
    given = ("--max-num-seqs", "1024", "--max-num-batched-tokens", "8k", "--gpu-memory-utilization")

    defaults = estimate(LLAMA, "--gpu", "H100", "--engine-version", version)

    assert defaults == estimate(
        LLAMA, "--gpu", "H100", "--engine-version", version, *given, "0.9" if version == "0.19.0" else "0.92"
    )


@pytest.mark.parametrize(("share", "freezes"), [("0.9", True), ("0.82", False)])
def test_a_budget_on_unified_memory_says_what_it_takes_from_the_system(share: str, freezes: bool) -> None:
    text = run(LLAMA, "--gpu", "GB10", "--gpu-memory-utilization", share)[1]

    assert "the operating system holds up to 20.40 GiB of this memory" in text
    assert ("may freeze; a gpu_memory_utilization of 0.82 leaves it alone" in text) == freezes


def test_an_unquantized_checkpoint_may_be_quantized_while_loading() -> None:
    logged = estimate(
        LLAMA, "--gpu", "H100", "--gpu-memory-gib", "79.19", "--engine-version", "0.19.0", "--quantization", "fp8",
        "--gpu-memory-utilization", "0.95", "--max-model-len", "8192", "--no-enable-prefix-caching",
    )  # fmt: skip
    newer = estimate(LLAMA, "--gpu", "H100", "--quantization", "fp8")
    unknown = estimate(LLAMA, "--gpu", "H100", "--engine-version", "0.19.0", "--quantization", "fp8_per_tensor")
    code, output = run("Qwen/Qwen3-8B-AWQ", "--gpu", "L4", "--quantization", "fp8")

    assert (logged["kv_cache_tokens"], logged["starts"]) == (529248, True)  # llm-d-planner#205
    assert newer == estimate(LLAMA, "--gpu", "H100", "--quantization", "fp8_per_tensor")
    assert "does not quantize while loading as fp8_per_tensor; it knows fp8" in str(unknown["reason"])
    assert code == 2
    assert "needs an unquantized checkpoint; this one is awq-int4" in output


@pytest.mark.parametrize(
    ("version", "arguments", "older"),
    [
        ("0.7.3", ("--gpu", "A10"), False),
        ("0.8.5", ("--gpu", "A10"), False),
        ("0.8.5", ("--gpu", "T4", "--dtype", "half"), True),
        ("0.8.5", ("--gpu", "A10", "--kv-cache-dtype", "fp8"), True),
        ("0.8.5", ("--gpu", "H100", "--kv-cache-dtype", "fp8"), False),
        ("0.8.5", ("--gpu", "A10", "--pipeline-parallel-size", "2"), True),
        ("0.9.2", ("--gpu", "A10", "--pipeline-parallel-size", "2"), False),
        ("0.9.2", ("--gpu", "T4", "--dtype", "half"), True),
        ("0.10.2", ("--gpu", "T4", "--dtype", "half"), False),
    ],
)
def test_versions_with_two_engine_cores_say_when_the_older_one_runs(
    version: str, arguments: tuple[str, ...], older: bool
) -> None:
    _, output = run("Llama-3.2-1B-Instruct", "--engine-version", version, "--max-model-len", "4k", *arguments)

    assert ("older engine core (V0)" in output) == older
    assert ("max_num_batched_tokens 4096" in output) == (older or version == "0.7.3")


def test_recurrent_layers_on_the_older_engine_core_are_refused_by_name() -> None:
    code, output = run("nvidia/NVIDIA-Nemotron-Nano-9B-v2", "--gpu", "H100", "--engine-version", "0.9.2")

    assert code != 0
    assert "not supported: recurrent layers on the older engine core of vllm 0.9.2" in output


def test_an_assumed_total_widens_the_range_upwards() -> None:
    assumed = estimate("Llama-3.2-1B-Instruct", "--gpu", "RTX 3070", "--max-model-len", "8k")
    given = estimate("Llama-3.2-1B-Instruct", "--gpu", "RTX 3070", "--max-model-len", "8k", "--gpu-memory-gib", "7.64")

    ranges = [(float(str(a["kv_cache_gib_low"])), float(str(a["kv_cache_gib_high"]))) for a in (assumed, given)]
    assert ranges[0][0] == pytest.approx(ranges[1][0], abs=0.01)
    assert ranges[0][1] == pytest.approx(ranges[1][1] + 7.64 * 0.92 * 0.047, abs=0.02)


@pytest.mark.parametrize(("version", "tokens"), [("0.8.5", 2048), ("0.11.0", 2048), ("0.12.0", 512), ("0.33.0", 512)])
def test_the_default_batch_is_cut_to_the_requests_from_0_12_on(version: str, tokens: int) -> None:
    few = ("--max-num-seqs", "1", "--max-model-len", "512")
    _, output = run("Llama-3.2-1B-Instruct", "--gpu", "A10", "--engine-version", version, *few)

    assert f"max_num_batched_tokens {tokens}" in output


@pytest.mark.parametrize(
    ("length", "said"),
    [(8192, ""), (36864, "at the low end"), (43008, "at the high end"), (98304, "")],
)
def test_a_close_call_is_said_aloud(length: int, said: str) -> None:
    _, output = run(LLAMA, "--gpu", "L4", "--max-model-len", str(length), "--gpu-memory-utilization", "0.97")

    assert ("a close call" in output) == bool(said)
    assert said in output


@pytest.mark.parametrize(
    ("stands_in_the_way", "options"),
    [
        ("is less than the desired utilization", ("--gpu-memory-in-use-gib", "0.7")),
        ("has no option --language-model-only", ("--language-model-only", "--engine-version", "0.16.0")),
    ],
)
def test_no_call_is_close_where_more_than_the_cache_stands_in_the_way(
    stands_in_the_way: str, options: tuple[str, ...]
) -> None:
    for length in range(30_000, 50_000, 2_000):
        _, output = run(
            LLAMA, "--gpu", "L4", "--max-model-len", str(length), "--gpu-memory-utilization", "0.97", *options
        )

        assert stands_in_the_way in output
        assert "a close call" not in output


def test_no_call_is_close_without_a_cache() -> None:
    for share in range(25, 5, -1):
        _, output = run("BAAI/bge-m3", "--gpu", "L4", "--gpu-memory-utilization", f"0.{share:02}")

        assert "a close call" not in output


def test_server_that_does_not_start_is_an_answer_not_an_error() -> None:
    code, output = run(LLAMA, "--gpu", "L4", "--max-model-len", "128k")

    assert code == 0
    assert "does not start: one request of max_model_len 131072 needs 16.00 GiB" in output


def test_memory_held_by_others_fails_the_free_check() -> None:
    answer = estimate(LLAMA, "--gpu", "H100", "--gpu-memory-in-use-gib", "20")

    assert answer["starts"] is False
    assert str(answer["reason"]).startswith("free memory on device")


def test_unknown_gpu_names_a_near_one() -> None:
    code, output = run(LLAMA, "--gpu", "NVIDIA H100 80 GB HBM")

    assert code == 1
    assert "did you mean" in output


def test_gpu_the_catalog_does_not_have_needs_its_memory_and_widens_the_range() -> None:
    code, output = run(LLAMA, "--gpu", "Mystery 9000", "--gpu-memory-gib", "48")

    assert code == 0
    assert "Mystery 9000 is not in the catalog" in output
    assert run(LLAMA, "--gpu", "Mystery 9000")[0] == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *((flag, value) for flag in ("--gpu-memory-gib", "--gpu-memory-in-use-gib", "--cpu-offload-gb")
          for value in ("nan", "inf", "-1", "1e300", "much")),
        *(("--gpu-memory-utilization", value) for value in ("nan", "0", "1.01", "all")),
        *((flag, value) for flag in ("--max-model-len", "--max-num-batched-tokens") for value in ("0", "-1", "many")),
        *((f"--{kind}-parallel-size", "0") for kind in ("tensor", "pipeline", "data")),
        ("--max-num-seqs", "0"), ("--dtype", "bogus"), ("--kv-cache-dtype", "bogus"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_a_usage_error(flag: str, value: str) -> None:
    code, output = run(LLAMA, "--gpu", "H100", flag, value)

    assert code == 2
    assert f"Invalid value for '{flag}'" in output


def test_more_pipeline_stages_than_layers_do_not_start() -> None:
    assert estimate(LLAMA, "--gpu", "H100", "--pipeline-parallel-size", "33")["starts"] is False


def test_a_folder_without_a_config_is_said_to_have_none(tmp_path: Path) -> None:
    code, output = run(str(tmp_path), "--gpu", "H100")

    assert code == 1
    assert "config.json" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("xyzzy", "--gpu", "H100"),
            "unknown model 'xyzzy'\n  hint: no name is close to it; `planner catalog list` shows",
        ),
        (
            (LLAMA, "--gpu", "xyzzy"),
            "unknown GPU 'xyzzy'\n  hint: no name is close to it; `planner catalog list --gpus`",
        ),
        ((LLAMA, "--gpu", "H100", "--engine-version", "9"), "unknown engine version '9'\n  hint: a version is written"),
        ((LLAMA, "--gpu", "H100", "--engine-version", "0.1.0"), "0.33.0; the oldest with a memory profile is 0.6.6"),
    ],
)
def test_an_unknown_name_says_where_to_look(arguments: tuple[str, ...], message: str) -> None:
    code, output = run(*arguments)

    assert code == 1
    assert message in output


def test_engine_version_nobody_studied_is_said_aloud() -> None:
    assert "vllm 0.99.0 was not studied" in run(LLAMA, "--gpu", "H100", "--engine-version", "0.99.0")[1]


def test_local_folder(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 4096, "torch_dtype": "bfloat16", "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert estimate(str(tmp_path), "--gpu", "T4", "--engine-version", "0.19.0")["starts"] is True


def test_imports_neither_the_solver_nor_what_only_rendering_needs() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "planner", "estimate", LLAMA, "--gpu", "H100"]

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"ortools", "pandas", "jinja2", "pydantic", "numpy", "packaging"}


QWEN_4B = (
    "Qwen/Qwen3-4B", "--gpu", "RTX 4090", "--gpu-memory-gib", "23.52", "--engine-version", "0.27.1", "--max-model-len",
    "8192",
)  # fmt: skip


def test_a_start_that_compiles_the_model_has_less_cache() -> None:
    server = ("Qwen/Qwen3-8B", *QWEN_4B[1:])
    cold = estimate(*server)
    warm = estimate(*server, "--compile-cache", "warm")

    assert (cold["activation_gib"], cold["kv_cache_gib"]) == (
        pytest.approx(1.18, abs=0.01),
        pytest.approx(4.92, abs=0.03),
    )
    assert (warm["activation_gib"], warm["kv_cache_gib"]) == (
        pytest.approx(0.19, abs=0.01),
        pytest.approx(5.91, abs=0.03),
    )
    assert cold == estimate(*server, "--compile-cache", "cold")
    # Either range covers the other start.
    assert cold["kv_cache_gib_low"] == warm["kv_cache_gib_low"]
    assert cold["kv_cache_gib_high"] == warm["kv_cache_gib_high"]


def test_older_engines_and_eager_ones_start_alike_cold_and_warm() -> None:
    for arguments in (("--engine-version", "0.7.3"), ("--enforce-eager",)):
        server = ("Qwen/Qwen2.5-7B-Instruct", "--gpu", "A10G", "--max-model-len", "4096", *arguments)
        assert estimate(*server)["kv_cache_gib"] == estimate(*server, "--compile-cache", "warm")["kv_cache_gib"]


@pytest.mark.parametrize(
    ("slots", "utilization", "weights_gib", "tokens"),
    [("1", "0.8", 7.63, 78208), ("16", "0.8", 8.78, 69968), ("16", "0.85", 8.78, 78544)],
)
def test_adapters_take_what_was_logged(slots: str, utilization: str, weights_gib: float, tokens: int) -> None:
    found = estimate(
        *QWEN_4B, "--gpu-memory-utilization", utilization, "--compile-cache", "warm", "--max-loras", slots,
        "--max-lora-rank", "16",
    )  # fmt: skip

    assert found["weights_gib"] == pytest.approx(weights_gib, abs=0.005)
    assert found["cuda_graph_gib"] == pytest.approx(1.28, abs=0.01)
    assert found["kv_cache_tokens"] == pytest.approx(tokens, rel=0.002)


def test_adapters_are_kept_as_soon_as_one_of_their_options_is_given() -> None:
    default = estimate(*QWEN_4B, "--enable-lora")

    assert default == estimate(*QWEN_4B, "--max-loras", "1") == estimate(*QWEN_4B, "--max-lora-rank", "16")
    assert default["weights_gib"] != estimate(*QWEN_4B)["weights_gib"]


GEMMA = ("google/gemma-4-31B-it", "--gpu", "RTX PRO 6000", "--max-model-len", "32k", "--engine-version", "0.23.0",
         "--max-num-seqs", "20", "--max-num-batched-tokens", "8192", "--gpu-memory-utilization", "0.94")  # fmt: skip


def test_the_largest_item_that_may_come_sizes_the_encoder() -> None:
    videos, images = estimate(*GEMMA), estimate(*GEMMA, "--limit-mm-per-prompt", '{"image": 1, "video": 0}')
    counted = estimate(*GEMMA, "--limit-mm-per-prompt", '{"image": {"count": 1, "width": 64}, "video": 0}')

    assert videos["kv_cache_gib"] == pytest.approx(28.41, rel=0.01)
    assert videos["weights_gib"] == images["weights_gib"]
    assert float(str(images["activation_gib"])) < float(str(videos["activation_gib"]))
    assert counted == images


def test_a_tower_that_nothing_is_sent_to_is_not_loaded() -> None:
    alone = estimate(*GEMMA, "--language-model-only")

    assert alone == estimate(*GEMMA, "--limit-mm-per-prompt", '{"image": 0, "video": 0}')
    assert alone["weights_gib"] != estimate(*GEMMA, "--limit-mm-per-prompt", '{"image": 0}')["weights_gib"]
    assert float(str(alone["weights_gib"])) < 58.0
    old = estimate("google/gemma-3-4b-it", "--gpu", "L4", "--engine-version", "0.14.1", "--language-model-only")
    assert "has no option --language-model-only" in str(old["reason"])


def test_a_cache_of_a_given_size_has_that_size() -> None:
    for text in ("8589934592", "8G", "8GiB"):
        found = estimate(LLAMA, "--gpu", "H100", "--kv-cache-memory-bytes", text)
        assert [found[key] for key in ("kv_cache_gib", "kv_cache_gib_low", "kv_cache_gib_high")] == [8.0, 8.0, 8.0]
    assert estimate(LLAMA, "--gpu", "H100", "--kv-cache-memory-bytes", "8g")["kv_cache_gib"] == 7.451


def test_blocks_may_be_larger() -> None:
    small, large = (estimate(LLAMA, "--gpu", "H100", "--block-size", size) for size in ("16", "128"))

    assert small["kv_cache_gib"] == large["kv_cache_gib"]
    assert 0 <= int(str(small["kv_cache_tokens"])) - int(str(large["kv_cache_tokens"])) < 128


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit-mm-per-prompt", "[1]"), "is not a JSON object"),
        (("--limit-mm-per-prompt", "{image: 1}"), "is not JSON"),
        (("--limit-mm-per-prompt", '{"image": -1}'), "image: -1 is not a number of items"),
        (("--limit-mm-per-prompt", '{"image": true}'), "image: true is not a number of items"),
        (("--kv-cache-memory-bytes", "0"), "is not in the range"),
        (("--kv-cache-memory-bytes", "1.5G"), "is not a size in bytes"),
        (("--kv-cache-memory-bytes", "lots"), "is not a size in bytes"),
        (("--compile-cache", "tepid"), "is not one of 'cold', 'warm'"),
        (("--max-loras", "0"), "is not in the range"),
        (("--block-size", "0"), "is not in the range"),
    ],
)
def test_values_that_mean_nothing_are_refused(arguments: tuple[str, ...], said: str) -> None:
    code, output = run(LLAMA, "--gpu", "H100", *arguments)

    assert code == 2
    assert said in output


SPEED_KEYS = [
    "tpot_ms", "tpot_ms_low", "tpot_ms_high", "ttft_ms", "ttft_ms_low", "ttft_ms_high", "output_tokens_per_s",
    "output_tokens_per_s_low", "output_tokens_per_s_high", "speed_grade", "speed_reason",
]  # fmt: skip
CHAT = ("--input-tokens", "2000", "--output-tokens", "500")


@pytest.mark.parametrize("load", [(), ("--concurrency", "8"), ("--request-rate", "1.5", "--cached-prompt", "0.5")])
def test_speed_is_said_under_the_promised_keys(load: tuple[str, ...]) -> None:
    data = estimate(LLAMA, "--gpu", "h100-sxm-80gb", *CHAT, *load)

    assert list(data) == KEYS + SPEED_KEYS
    assert data["speed_reason"] is None
    assert data["speed_grade"] == "measured"
    assert all(isinstance(data[key], float) and data[key] for key in SPEED_KEYS[:9])


def test_where_nothing_is_said_of_speed_all_figures_are_null() -> None:
    data = estimate(LLAMA, "--gpu", "h100-sxm-80gb", *CHAT, "--request-rate", "5000")

    assert "outrun the server" in str(data["speed_reason"])
    assert all(data[key] is None for key in SPEED_KEYS[:10])
    assert "nothing is said" in run(LLAMA, "--gpu", "h100-sxm-80gb", *CHAT, "--request-rate", "5000")[1]


def test_a_server_that_only_its_context_keeps_from_starting_has_a_speed_with_a_shorter_one() -> None:
    _, output = run("Qwen/Qwen3-32B", "--gpu", "h100-sxm-80gb", *CHAT)

    assert "does not start" in output
    assert "note: with --max-model-len 2500" in output


@pytest.mark.parametrize(
    "options",
    [
        ("--input-tokens", "100"),
        ("--concurrency", "4"),
        (*CHAT, "--concurrency", "0"),
        (*CHAT, "--concurrency", "4", "--request-rate", "1"),
        (*CHAT, "--request-rate", "0"),
        (*CHAT, "--request-rate", "-1"),
        (*CHAT, "--request-rate", "inf"),
        (*CHAT, "--cached-prompt", "1"),
        ("--input-tokens", "0", "--output-tokens", "10"),
    ],
)
def test_loads_that_make_no_sense_are_refused(options: tuple[str, ...]) -> None:
    code, output = run(LLAMA, "--gpu", "H100", *options)

    assert code == 2
    assert "Error" in output
