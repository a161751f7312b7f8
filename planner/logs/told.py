"""What a log says, in sentences: what happened to a server, why, and what to try."""

from collections.abc import Mapping

from planner.logs.causes import ERROR
from planner.logs.diagnosis import Diagnosis
from planner.logs.figures import Figure

_HAPPENED = {
    "weights_do_not_fit": "did not start: its weights do not fit the GPU",
    "no_memory_for_cache": "did not start: nothing is left for a KV cache",
    "context_exceeds_cache": "did not start: its KV cache is smaller than one request of full length",
    "free_memory_below_wanted": "did not start: less memory is free on the GPU than it wants",
    "sampler_warmup_oom": "did not start: memory ran out while the sampler was warmed up",
    "graph_capture_oom": "did not start: memory ran out while CUDA graphs were captured",
    "runtime_oom": "ran out of GPU memory while serving",
    "mm_item_exceeds_batch": "did not start: one image, video or audio is longer than a batch",
    "attention_backend_missing": "did not start: no attention kernel serves this model on this GPU with these settings",
    "kv_cache_dtype_unsupported": "did not start: its attention kernel cannot have this KV cache dtype on this GPU",
    "quantization_unsupported": "did not start: this quantization cannot be served here",
    "architecture_unsupported": "did not start: this engine version does not know the model's architecture",
    "parallel_size_invalid": "did not start: the model cannot be split into so many parts",
    "context_exceeds_model": "did not start: the context is longer than the model allows",
    "port_in_use": "did not start: its port is taken",
    "weights_missing": "did not start: the model's files were not found",
    "gated_or_unauthorized": "did not start: the hub does not give these files to this token",
    "killed": "was killed from outside (signal 9)",
    "timeout": "was not ready in time",
    "flag_rejected": "did not start: it does not accept an option",
    "started": "started",
    "unknown": "ended for a reason that is not known here",
}
_TRY = {
    "weights_do_not_fit": "a checkpoint with fewer bits, more GPUs (--tensor-parallel-size), or a larger GPU; "
    "--gpu-memory-utilization does not help",
    "no_memory_for_cache": "more --gpu-memory-utilization where the GPU is free, else fewer bytes: a checkpoint with "
    "fewer bits, a smaller --max-num-batched-tokens or --max-num-seqs",
    "context_exceeds_cache": "a shorter --max-model-len, --kv-cache-dtype fp8 where the GPU has it, or more memory",
    "free_memory_below_wanted": "see what else is on the GPU (nvidia-smi): start servers one after another, each with "
    "its own share, or lower --gpu-memory-utilization",
    "sampler_warmup_oom": "a smaller --max-num-seqs, or less --gpu-memory-utilization",
    "graph_capture_oom": "less --gpu-memory-utilization, a smaller --max-num-seqs, or --enforce-eager",
    "runtime_oom": "less --gpu-memory-utilization or --kv-cache-memory-bytes, or a smaller --max-num-batched-tokens",
    "mm_item_exceeds_batch": "a larger --max-num-batched-tokens, or fewer such items with --limit-mm-per-prompt",
    "attention_backend_missing": "another engine version or GPU for this model; the line names what each kernel lacks",
    "kv_cache_dtype_unsupported": "--kv-cache-dtype auto, or a GPU of compute capability 8.9 or more",
    "quantization_unsupported": "a checkpoint in another scheme, or another engine version",
    "architecture_unsupported": "an engine version that has the architecture; `planner estimate` says which do",
    "parallel_size_invalid": "a size that divides the attention heads and the vocabulary, such as a power of two",
    "context_exceeds_model": "a --max-model-len within the model's own",
    "port_in_use": "another --port, or stop what listens there",
    "weights_missing": "check the folder or name, and that the download is complete",
    "gated_or_unauthorized": "accept the model's licence on the hub and give the server a token that may read it",
    "killed": "look for the out-of-memory killer (dmesg) or the limits of the container: loading needs host memory",
    "timeout": "a longer start budget (VLLM_ENGINE_READY_TIMEOUT_S and the probe), or a compile cache that is kept",
    "flag_rejected": "leave the option out or use its name in this version: `vllm serve --help=all`",
}
_NAMES = {
    "weights_gib": ("weights", "GiB"),
    "activation_gib": ("activation peak", "GiB"),
    "graphs_estimated_gib": ("CUDA graphs, estimated", "GiB"),
    "graphs_gib": ("CUDA graphs", "GiB"),
    "available_kv_gib": ("KV cache", "GiB"),
    "kv_tokens": ("KV cache tokens", ""),
    "kv_blocks": ("KV cache blocks", ""),
    "max_model_len": ("context", "tokens"),
    "concurrency": ("requests of full length at once", ""),
    "max_num_batched_tokens": ("batched tokens", ""),
    "max_num_seqs": ("sequences at once", ""),
    "gpu_memory_utilization": ("share of the GPU", ""),
    "needed_gib": ("one request needs", "GiB"),
    "available_gib": ("there is", "GiB"),
    "estimated_max_len": ("longest context that fits", "tokens"),
    "wanted_gib": ("wanted", "GiB"),
    "free_gib": ("free", "GiB"),
    "free_mib": ("free", "MiB"),
    "total_gib": ("the GPU has", "GiB"),
    "tried_gib": ("asked for", "GiB"),
    "tried_mib": ("asked for", "MiB"),
    "mm_tokens": ("tokens of one item", ""),
    "attention_backend": ("attention kernel", ""),
    "architecture": ("architecture", ""),
    "loading_s": ("loading weights", "s"),
    "compile_s": ("compiling", "s"),
    "init_s": ("start of the engine", "s"),
    "port": ("port", ""),
}


def happened(found: Diagnosis) -> str:
    """Say in one line which server it is and what happened to it."""
    names = [found.source, f"vllm {found.version}" if found.version else "", found.model or ""]
    who = ", ".join(name for name in names if name) or "the server"
    if _is_no_log(found):
        return "nothing here is of a vLLM server; the last line is"
    return f"{who}: {_HAPPENED[found.cause]}"


def _is_no_log(found: Diagnosis) -> bool:
    """Whether no line was of a server, nor of an error."""
    line = found.line
    known = found.version or found.model or found.arguments or found.figures
    return (
        found.cause == "unknown" and not known and not (line and (line.level or line.process or ERROR.match(line.text)))
    )


def advice(found: Diagnosis) -> str | None:
    """Say what to try; None where nothing failed or nothing is known."""
    longest = found.figures.get("estimated_max_len")
    if found.cause == "context_exceeds_cache" and longest:
        return f"--max-model-len {longest} fits; or {_TRY[found.cause].removeprefix('a shorter --max-model-len, ')}"
    return _TRY.get(found.cause)


def named_figures(figures: Mapping[str, Figure]) -> list[tuple[str, str]]:
    """Return the figures that have a name in words, each with its unit."""
    found = []
    for key, (name, unit) in _NAMES.items():
        if key in figures:
            value = figures[key]
            shown = f"{value:,}" if isinstance(value, int) and key != "port" else str(value)
            found.append((name, f"{shown} {unit}".rstrip()))
    return found
