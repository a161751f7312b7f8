"""Log forms of versions: lines as the sources of a version format them, behind what runtimes put around a line."""

import io
import json

import pytest

from planner.logs.diagnosis import diagnose
from planner.logs.lines import read_lines

_CORE = "(EngineCore_DP0 pid=112) "
_LINES = [
    ("0.11.0", "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (858). Each decode "
     "sequence requires "
     "one Mamba cache block, so CUDA graph capture cannot proceed.", "no_memory_for_cache"),
    ("0.12.0", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
     "initializing the engine.", "no_memory_for_cache"),
    ("0.13.0", "ValueError: Free memory on device (7.11/23.56 GiB) on startup is less than desired GPU memory "
     "utilization "
     "(0.9, 21.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
     "free_memory_below_wanted"),
    ("0.22.0", "ValueError: Free memory on device cuda:0 (7.11/23.56 GiB) on startup is less than desired GPU memory "
     "utilization (0.9, 21.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
     "free_memory_below_wanted"),
    ("0.17.0", "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is "
     "needed, which is larger than the available KV cache memory (2.20 GiB). Based on the available memory, "
     "the estimated "
     "maximum model length is 16016.", "context_exceeds_cache"),
    ("0.30.0", "ValueError: To serve at least one request with the model's max seq len (40960), (5.62 GiB KV cache is "
     "needed, which is larger than the available KV cache memory (2.20 GiB).", "context_exceeds_cache"),
    ("0.32.0", "NotImplementedError: FP8 KV cache is unsupported in CPU_ATTN", "kv_cache_dtype_unsupported"),
    ("0.32.0", "NotImplementedError: FP8 KV cache on CPU requires x86 with AVX-512 or AMX.",
     "kv_cache_dtype_unsupported"),
    ("0.33.0", 'ValueError: kv_cache_dtype="fp8" is incompatible with dtype="float16". Please set '
     '`--kv-cache-dtype` to '
     "auto.", "kv_cache_dtype_unsupported"),
    ("0.24.0", "ValueError: --kv-cache-dtype nvfp4 requires sm100f, please try a different dtype or remove it",
     "kv_cache_dtype_unsupported"),
    ("0.10.2", "AssertionError: num_kv_heads 4 must be divisible by tp_size 3 under SPMD mode",
     "parallel_size_invalid"),
    ("0.10.2", "RuntimeError: please set tensor_parallel_size (4) to less than max local gpu count (2)",
     "parallel_size_invalid"),
    ("0.28.0", "AssertionError: local_world_size (4) must be less than or equal to the number of visible devices (2).",
     "parallel_size_invalid"),
    ("0.20.0", "ValueError: Tensor parallel size (8) cannot be larger than the number of available GPUs (4).",
     "parallel_size_invalid"),
    ("0.30.0", "ValueError: Not enough resources to allocate 4 DP ranks on DP master node 10.0.0.1, possible "
     "to fit 2 DP "
     "ranks.", "parallel_size_invalid"),
    ("0.17.0", "AttributeError: Model FooForCausalLM does not support BitsAndBytes quantization yet. No "
     "'packed_modules_mapping' found.", "quantization_unsupported"),
    ("0.23.0", "ValueError: MXFP8 quantization was selected, but checkpoint is not MXFP8 serialized. Dynamic "
     "quantization "
     "is not supported.", "quantization_unsupported"),
    ("0.25.0", "ValueError: Model architecture 'FooForCausalLM' is not supported by ROCm for now.",
     "architecture_unsupported"),
    ("0.19.0", "RuntimeError: Cannot find any safetensors model weights with `/models/x`", "weights_missing"),
    ("0.19.0", "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
     "'namespace/repo_name': '/models/x/y'. Use `repo_type` argument if needed.", "weights_missing"),
    ("0.19.0", "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find "
     "them in the "
     "cached files.", "weights_missing"),
    ("0.19.0", "Access to model google/gemma-3-4b-it is restricted. You must have access to it and be authenticated to "
     "access it. Please log in.", "gated_or_unauthorized"),
    ("0.27.0", "OSError: [Errno 98] Address already in use", "port_in_use"),
    ("0.20.0", "ValueError: Load format `x` is not supported", "flag_rejected"),
    ("0.33.0", "ValueError: Invalid data-parallel launch options: `--data-parallel-hybrid-lb` requires "
     "`--data-parallel-size-local`.", "flag_rejected"),
]  # fmt: skip
_ALONE = [
    ("docker: Error response from daemon: driver failed programming external connectivity on endpoint v: Bind for "
     "0.0.0.0:8000 failed: port is already allocated.", "port_in_use"),
    ("vllm.service: A process of this unit has been killed by the OOM killer.", "killed"),
    ("command terminated with exit code 137", "killed"),
    ("Container vllm failed startup probe, will be restarted", "timeout"),
    ("[rank0]:[E101 10:00:00.1 ProcessGroupNCCL.cpp:682] [Rank 0] Watchdog caught collective operation timeout: "
     "WorkNCCL(SeqNum=1)", "timeout"),
]  # fmt: skip


def _log(version: str, line: str) -> str:
    return (
        f"(APIServer pid=1) INFO 05-01 10:00:00 [api_server.py:1] vLLM API server version {version}\n"
        f"{_CORE}Traceback (most recent call last):\n"
        f'{_CORE}  File "/v/vllm/v1/engine/core.py", line 700, in run_engine_core\n'
        f"{_CORE}    engine_core = EngineCoreProc(*args, **kwargs)\n{_CORE}{line}\n"
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {}\n"
    )


def _docker(text: str) -> str:
    return "".join(f"2026-05-01T10:00:00.123456789Z {line}\n" for line in text.splitlines())


def _compose(text: str) -> str:
    return "".join(f"vllm-1  | {line}\n" for line in text.splitlines())


def _kubectl(text: str) -> str:
    return "".join(f"[pod/llm-5d9f-abc12/vllm] {line}\n" for line in text.splitlines())


def _journald(text: str) -> str:
    return "".join(f"May 01 10:00:00 gpu1 vllm[77]: {line}\n" for line in text.splitlines())


def _json(text: str) -> str:
    return "".join(
        json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-05-01T10:00:00.1Z"}) + "\n"
        for line in text.splitlines()
    )


@pytest.mark.parametrize("around", [str, _docker, _compose, _kubectl, _journald, _json], ids=lambda one: one.__name__)
@pytest.mark.parametrize(("version", "line", "cause"), _LINES)
def test_a_line_of_a_version_decides_behind_any_prefix(version: str, line: str, cause: str, around: type[str]) -> None:
    (found,) = diagnose(read_lines(io.BytesIO(around(_log(version, line)).encode())))

    assert (found.cause, found.version) == (cause, version)
    assert found.line is not None
    assert found.line.text == line


@pytest.mark.parametrize(("version", "line", "cause"), _LINES)
def test_a_log_cut_behind_the_deciding_line_is_told_alike(version: str, line: str, cause: str) -> None:
    whole = _log(version, line)
    cut = whole[: whole.index(line) + len(line)]

    (found,) = diagnose(read_lines(io.BytesIO(cut.encode())))

    assert found.cause == cause


@pytest.mark.parametrize(("line", "cause"), _ALONE)
def test_what_runs_the_engine_says_why_it_is_gone(line: str, cause: str) -> None:
    (found,) = diagnose(read_lines(io.BytesIO(f"{line}\n".encode())))

    assert found.cause == cause


def test_memory_of_the_host_that_runs_out_while_weights_load_is_of_the_weights() -> None:
    text = (
        "INFO 05-01 10:00:00 [api_server.py:1] vLLM API server version 0.32.0\n"
        "INFO 05-01 10:00:01 [cpu_model_runner.py:90] Starting to load model m...\n"
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)\n"
    )

    (found,) = diagnose(read_lines(io.BytesIO(text.encode())))

    assert found.cause == "weights_do_not_fit"
