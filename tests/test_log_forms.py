"""Log forms: what vLLM 0.6 to 0.33 and the libraries below it say, each line with the one cause that it shows."""

import io
import json

import pytest

from planner.logs.diagnosis import Diagnosis, diagnose
from planner.logs.lines import read_lines

BEGIN = "INFO 05-01 10:00:00 [api_server.py:1] vLLM API server version 0.12.0\n"


def read(text: str) -> Diagnosis:
    (found,) = diagnose(read_lines(io.BytesIO(text.encode())))
    return found


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("NotImplementedError: FlashAttention does not support fp8 kv-cache on this device (FA supports fp8 = 0).",
         "kv_cache_dtype_unsupported"),
        ("NotImplementedError: FlashMLA V1 with FP8 KV cache not yet supported", "kv_cache_dtype_unsupported"),
        ("ValueError: fp8_e5m2 kv-cache is not supported with fp8 checkpoints.", "kv_cache_dtype_unsupported"),
        ("ValueError: Invalid attention backend for cuda, with use_v1: True", "attention_backend_missing"),
        ("AssertionError: Sinks are only supported in FlashAttention 3", "attention_backend_missing"),
        ("ValueError: VLLM_ATTENTION_BACKEND is set to FLASHINFER, but flashinfer module was not found.",
         "attention_backend_missing"),
        ("ValueError: The input size is not aligned with the quantized weight shape. This can be caused by too large "
         "tensor parallel size.", "parallel_size_invalid"),
        ("ValueError: Weight output_partition_size = 576 is not divisible by weight quantization block_n = 128.",
         "parallel_size_invalid"),
        ("ValueError: The output_size of gate's and up's weight = 192 is not divisible by weight quantization "
         "block_n = 128.", "parallel_size_invalid"),
        ("ValueError: Cannot provide a placement group requiring 16 GPUs (placement_group_specs=[]) within 9 seconds",
         "parallel_size_invalid"),
        ("ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons: Weight "
         "input_size_per_partition = 1184 is not divisible by min_thread_k = 128.", "quantization_unsupported"),
        ("ValueError: Cannot find the config file for awq", "quantization_unsupported"),
        ("ValueError: Model architecture MotifForCausalLM is not supported in-tree anymore.",
         "architecture_unsupported"),
        ("huggingface_hub.errors.RepositoryNotFoundError: Repository Not Found for url: https://h/api/models/a/b.",
         "weights_missing"),
        ("TimeoutError: RPC call to execute_model timed out.", "timeout"),
        ("torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
         "timeout"),
        ("zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:5555')", "port_in_use"),
        ("[1.2] Memory cgroup out of memory: Killed process 42 (VLLM::EngineCor) total-vm:1kB", "killed"),
        ("./run.sh: line 12:  4242 Killed                  vllm serve m", "killed"),
        ("KeyError: 'invalid tool call parser: qwen9 (chose from { hermes })'", "flag_rejected"),
        ("TypeError: AsyncEngineArgs.__init__() got an unexpected keyword argument 'x'", "flag_rejected"),
        ("ValueError: Available memory on node 0 (9.1/31.0 GiB) on startup is less than desired CPU memory utilization "
         "(0.9, 27.9 GiB).", "free_memory_below_wanted"),
        ("RuntimeError: NCCL error: unhandled system error", "unknown"),
        ("RuntimeError: Failed to infer device type", "unknown"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "unknown"),
        ("ray.exceptions.ActorDiedError: There are some potential root causes. (1) The process is killed by SIGKILL by "
         "OOM killer due to high memory usage.", "unknown"),
    ],
)  # fmt: skip
def test_a_line_shows_one_cause(line: str, cause: str) -> None:
    found = read(f"{BEGIN}ERROR 05-01 10:00:09 [core.py:1] {line}\n")

    assert found.cause == cause
    assert found.line is not None
    assert found.line.text.strip() == line


@pytest.mark.parametrize("level", ["INFO 05-01 10:00:09 [core.py:1] ", "INFO 05-01 10:00:09 core.py:1] "])
def test_what_is_only_told_is_no_failure(level: str) -> None:
    found = read(f"{BEGIN}{level}Unknown attention backend: 'x', port 8000: [Errno 98] Address already in use\n")

    assert found.cause == "unknown"


def test_the_traceback_within_a_json_line_is_read() -> None:
    traceback = 'Traceback (most recent call last):\n  File "/x/core.py", line 1, in run\n'
    failed = {
        "levelname": "ERROR",
        "message": "EngineCore failed to start.",
        "exc_info": f"{traceback}ValueError: No available memory for the cache blocks.",
    }
    told = {"levelname": "INFO", "message": "vLLM API server version 0.16.0"}

    found = read(f"{json.dumps(told)}\n{json.dumps(failed)}\n")

    assert (found.cause, found.version, found.line and found.line.number) == ("no_memory_for_cache", "0.16.0", 2)


def test_no_memory_for_a_cache_that_was_measured_is_no_matter_of_graphs() -> None:
    found = read(
        f"{BEGIN}INFO 05-01 10:00:08 [kv_cache_utils.py:1] GPU KV cache size: 40,000 tokens\n"
        'ERROR 05-01 10:00:09 [core.py:1]   File "/x/gpu_model_runner.py", line 3, in _allocate_kv_cache_tensors\n'
        "ERROR 05-01 10:00:09 [core.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.00 GiB.\n"
    )

    assert found.cause == "no_memory_for_cache"


def test_the_words_of_an_error_in_a_line_of_source_decide_nothing() -> None:
    found = read(
        f"{BEGIN}ERROR 05-01 10:00:09 [core.py:1] Traceback (most recent call last):\n"
        'ERROR 05-01 10:00:09 [core.py:1]   File "/x/loader.py", line 3, in load\n'
        "ERROR 05-01 10:00:09 [core.py:1]     raise GatedRepoError(\n"
        "ERROR 05-01 10:00:09 [core.py:1] RuntimeError: something else\n"
    )

    assert (found.cause, found.line and found.line.text) == ("unknown", "RuntimeError: something else")


def test_a_model_in_a_folder_with_a_blank_is_named_whole() -> None:
    found = read(
        "INFO 05-01 10:00:00 [api_utils.py:1]   █   model   /models/my model\n"
        "INFO 05-01 10:00:00 [api_utils.py:2] non-default args: {'model_tag': '/models/my model'}\n"
    )

    assert found.model == "/models/my model"
