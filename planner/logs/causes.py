"""The forms of the lines that decide: what vLLM and the libraries below it say when a server cannot go on.

A form belongs to one cause. Where two forms are found in one log the one with the lower ``rank`` decides: the message
that says why goes before what follows from it. Forms were read in the sources of vLLM 0.6 to 0.33 (file names in the
comments are those of 0.33), of torch 2.5 to 2.10, huggingface_hub and transformers.
"""

import re
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from planner.logs.figures import NUMBER as _N
from planner.logs.figures import Figure

CAUSES = (
    "weights_do_not_fit", "no_memory_for_cache", "context_exceeds_cache", "free_memory_below_wanted",
    "sampler_warmup_oom", "graph_capture_oom", "runtime_oom", "mm_item_exceeds_batch", "attention_backend_missing",
    "kv_cache_dtype_unsupported", "quantization_unsupported", "architecture_unsupported", "parallel_size_invalid",
    "context_exceeds_model", "port_in_use", "weights_missing", "gated_or_unauthorized", "killed", "timeout",
    "flag_rejected", "started", "unknown",
)  # fmt: skip
"""Every word that a diagnosis may use for what happened."""


class Form(Struct, frozen=True):
    """One form of a line, the cause it shows, and the figures its named groups are."""

    cause: str
    pattern: re.Pattern[str]
    rank: int = 1
    kinds: Mapping[str, Callable[[str], Figure]] = field(default_factory=dict)

    def figures(self, match: re.Match[str]) -> dict[str, Figure]:
        """Return the figures of a match, by name."""
        return {name: self.kinds[name](value) for name, value in match.groupdict().items() if value is not None}


def _form(cause: str, pattern: str, rank: int = 1, **kinds: Callable[[str], Figure]) -> Form:
    return Form(cause, re.compile(pattern), rank, kinds)


def _flags(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"--[\w-]+", text))


FORMS = (
    # v1/core/kv_cache_utils.py, v1/core/kv_cache_planning.py
    _form("no_memory_for_cache", r"No available memory for the cache blocks"),
    _form("no_memory_for_cache", r"not enough GPU memory available to serve even a single token"),
    # v1/worker/gpu_model_runner.py: one block holds the state of a sequence
    _form(
        "no_memory_for_cache",
        r"max_num_seqs \((?P<max_num_seqs>\d+)\) exceeds available Mamba cache blocks \((?P<cache_blocks>\d+)\)",
        max_num_seqs=int, cache_blocks=int,
    ),
    _form("no_memory_for_cache", r"GiB is available for the KV cache\. Reduce"),
    # v1/worker/cpu_worker.py
    _form(
        "no_memory_for_cache",
        rf"worker already uses (?P<used_gib>{_N}) GiB .*?more than the (?P<wanted_gib>{_N}) GiB of CPU memory reserved",
        used_gib=float, wanted_gib=float,
    ),
    _form(
        "context_exceeds_cache",
        rf"max seq len \((?P<max_model_len>\d+)\), \((?P<needed_gib>{_N}) GiB KV cache is needed, which is larger than "
        rf"the available KV cache memory \((?P<available_gib>{_N}) GiB\)"
        r"(?:.*?estimated maximum model length is (?P<estimated_max_len>\d+))?",
        max_model_len=int, needed_gib=float, available_gib=float, estimated_max_len=int,
    ),
    _form(
        "context_exceeds_cache",
        r"max seq len \((?P<max_model_len>\d+)\) is larger than the maximum number of tokens that can be stored in "
        r"KV cache \((?P<kv_tokens>\d+)\)",
        max_model_len=int, kv_tokens=int,
    ),
    # v1/worker/utils.py: request_memory; the ledger of a start begins alike but goes on with "on startup. Desired"
    _form(
        "free_memory_below_wanted",
        rf"Free memory on device (?:\S+ )?\((?P<free_gib>{_N})/(?P<total_gib>{_N}) GiB\) on startup is less than "
        rf"(?:desired GPU memory utilization|the engine's budget[^(]*) ?\((?P<gpu_memory_utilization>{_N}), "
        rf"(?P<wanted_gib>{_N}) GiB\)",
        free_gib=float, total_gib=float, gpu_memory_utilization=float, wanted_gib=float,
    ),
    _form(
        "free_memory_below_wanted",
        rf"Available memory on node \S+ \((?P<free_gib>{_N})/(?P<total_gib>{_N}) GiB\) on "
        r"(?:startup|kv cache allocation) is less than (?:desired CPU memory utilization|requested)",
        free_gib=float, total_gib=float,
    ),
    _form("free_memory_below_wanted", r"Externally held weights on device .* exceed the desired GPU memor"),
    # v1/worker/gpu_model_runner.py
    _form("weights_do_not_fit", r"Failed to load model - not enough GPU memory"),
    _form("weights_do_not_fit", r"Unable to load model, a likely reason is the model is too large"),
    _form(
        "sampler_warmup_oom", r"out of memory occurred when warming up (?:sampler|pooler) with (?P<dummy_requests>\d+)",
        dummy_requests=int,
    ),
    # v1/core/encoder_cache_manager.py
    _form(
        "mm_item_exceeds_batch",
        r"max_tokens_per_mm_item \((?P<mm_tokens>\d+)\) is larger than max_num_batched_tokens "
        r"\((?P<max_num_batched_tokens>\d+)\)",
        mm_tokens=int, max_num_batched_tokens=int,
    ),
    # v1/attention/backends/triton_attn.py, mla/triton_mla.py; platforms
    _form(
        "kv_cache_dtype_unsupported",
        r"(?i:fp8) KV cache is not supported\b(?:.*?\(compute capability (?P<capability>[\d.]+)\))?",
        capability=str,
    ),
    _form("kv_cache_dtype_unsupported", r"--kv-cache-dtype(?: \S+)? is not supported"),
    _form("kv_cache_dtype_unsupported", r"not supported with --kv-cache-dtype"),
    _form("kv_cache_dtype_unsupported", r"does not support \S+ kv-cache (?:dtype )?on this device"),
    _form("kv_cache_dtype_unsupported", r"MLA(?: V1)? with (?i:fp8) KV cache not yet supported"),
    _form("kv_cache_dtype_unsupported", r"fp8_e5m2 kv-cache is not supported with fp8 checkpoints"),
    _form("kv_cache_dtype_unsupported", r"Unknown kv cache dtype: |Invalid kv_cache_dtype: "),
    _form("kv_cache_dtype_unsupported", r"(?:bfloat16|fp8\S*|nvfp4|int8\S*) KV cache is not supported"),
    _form(
        "kv_cache_dtype_unsupported",
        r"(?i:fp8|nvfp4|turboquant|quantized) KV[ -]cache (?:is unsupported|on CPU |requires)",
    ),
    _form("kv_cache_dtype_unsupported", r"--kv-cache-dtype \S+ requires"),
    _form("kv_cache_dtype_unsupported", r"kv_cache_dtype=\S+ is incompatible with dtype="),
    _form("kv_cache_dtype_unsupported", r"(?i:unsupported (?:fp8 )?kv_cache_dtype)|cannot store kv_cache_dtype="),
    _form("kv_cache_dtype_unsupported", r"only supports kv_cache_dtype|doesn't support fp8 kv_cache_dtype"),
    _form(
        "kv_cache_dtype_unsupported",
        r"(?:does not (?:yet )?support|supports only \S+) (?:quantized KV cache|KV cache quant)",
    ),
    _form("kv_cache_dtype_unsupported", r"requires (?:an FP8 KV cache|the packed \w+ KV cache)"),
    _form("kv_cache_dtype_unsupported", r"type fp8e4nv not supported in this architecture", 2),
    # platforms/cuda.py; config of the message: AttentionSelectorConfig
    _form(
        "attention_backend_missing",
        r"No valid attention backend found for \S+(?:.*?use_mla=(?P<use_mla>True|False))?",
        use_mla=lambda text: text == "True",
    ),
    _form("attention_backend_missing", r"Selected backend \S+ is not valid for this configuration"),
    _form("attention_backend_missing", r"Invalid attention backend(?: for |: )|Unknown attention backend: "),
    _form("attention_backend_missing", r"FlashMLA is temporarily disabled on|flashinfer module was not found"),
    _form("attention_backend_missing", r"Attention backend \S+ (?:has been removed|is not supported)"),
    _form("attention_backend_missing", r"Sinks are only supported in FlashAttention"),
    _form("attention_backend_missing", r"FlashAttention only supports Ampere GPUs or newer"),
    _form("attention_backend_missing", r"(?i:flashmla)\S* (?:\w+ )*(?:is|are) (?:only |not )?(?:supported|available)"),
    _form("attention_backend_missing", r"[Hh]ead size \d+ is not supported by \w+"),
    _form("attention_backend_missing", r"The selected backend, \S+ is only supported on"),
    _form("attention_backend_missing", r"No (?:suitable|supported) attention backend"),
    # config/vllm.py, model_executor/layers/quantization, config/model.py
    _form(
        "quantization_unsupported",
        r"[Qq]uantization (?:method|scheme)(?: \S+)? is not supported for the current GPU\.? *"
        r"(?:Minimum? capability: (?P<minimum_capability>\d+)\. *Current capability: (?P<capability>\d+))?",
        minimum_capability=int, capability=int,
    ),
    _form("quantization_unsupported", r"quantization method no longer supports online quantization"),
    _form("quantization_unsupported", r"Quantization method specified in the model config .*does not match"),
    _form("quantization_unsupported", r"Unknown quantization method"),
    _form("quantization_unsupported", r"The quantization method \S+ is deprecated and will be removed"),
    _form("quantization_unsupported", r"Unknown ModelOpt quant algo|Cannot find the config file for \w+"),
    _form("quantization_unsupported", r"quantization is currently not supported in"),
    _form("quantization_unsupported", r"is not supported for quantization method"),
    _form("quantization_unsupported", r"Failed to find a kernel that can implement the"),
    _form("quantization_unsupported", r"(?i:does not support (?:bnb|bitsandbytes) quantization)"),
    _form("quantization_unsupported", r"[Qq]uantization (?:scheme )?(?:is )?not supported"),
    _form("quantization_unsupported", r"quantization requires a serialized"),
    _form("quantization_unsupported", r"quantization (?:was selected, but checkpoint|requires the following fields)"),
    _form("quantization_unsupported", r"(?:requires all|All shards must) (?:to )?use the same (?:scheme|quantization)"),
    _form("quantization_unsupported", r"No (?:compatible|compressed-tensors compatible) scheme was found"),
    _form("quantization_unsupported", r"Int8 not supported (?:on|for) SM\d+"),
    _form("quantization_unsupported", r"No (?i:nvfp4|fp8|mxfp4)\S*(?: \w+)* backend supports the deployment"),
    # model_executor/models/registry.py; transformers for the model type
    _form(
        "architecture_unsupported",
        r"Model architectures \['(?P<architecture>\w+)'.*?\] (?:are not supported for now|failed to be inspected)",
        architecture=str,
    ),
    _form(
        "architecture_unsupported",
        r"Model architecture (?P<architecture>\w+) was supported in vLLM until", architecture=str,
    ),
    _form("architecture_unsupported", r"Model architecture '\w+' is not supported by"),
    _form("architecture_unsupported", r"No model architectures are specified"),
    _form("architecture_unsupported", r"Model architecture \w+ is not supported in-tree|Cannot find model module\."),
    _form("architecture_unsupported", r"The Transformers implementation of '\w+' is not compatible with vLLM"),
    _form("architecture_unsupported", r"has no vLLM implementation and the Transformers implementation is not"),
    _form(
        "architecture_unsupported",
        r"(?:has|of) model type `(?P<model_type>[\w-]+)` but Transformers does not recognize this architecture",
        model_type=str,
    ),
    # config/model.py, config/parallel.py, model_executor/layers/vocab_parallel_embedding.py
    _form(
        "parallel_size_invalid",
        r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<tensor_parallel_size>\d+)\)",
        heads=int, tensor_parallel_size=int,
    ),
    _form("parallel_size_invalid", r"Total number of (?:hidden layers|attention heads).*must be divisible by"),
    _form("parallel_size_invalid", r"num_kv_heads \d+ must be divisible by tp_size"),
    _form("parallel_size_invalid", r"(?:heads \(\d+\)) must be divisible by tp_size"),
    _form("parallel_size_invalid", r"Tensor parallel size \(\d+\) cannot be larger than the number of available GPUs"),
    _form(
        "parallel_size_invalid",
        r"(?:world_size|tensor_parallel_size) \(\d+\) (?:is|to) less than (?:than )?max local gpu",
    ),
    _form("parallel_size_invalid", r"local_world_size \(\d+\) (?:must be less than or equal|exceeds assigned)"),
    _form("parallel_size_invalid", r"Not enough resources to allocate(?: \d+)? (?:DP ranks|placement groups)"),
    _form("parallel_size_invalid", r"with pipeline parallel(?:ism)?(?: is not supported|$)"),
    _form("parallel_size_invalid", r"models with tensor parallelism is not supported"),
    _form("parallel_size_invalid", r"(?i:decode context parallel(?:ism)? (?:size must|for GQA))"),
    _form("parallel_size_invalid", r"--decode-context-parallel-size\S* \("),
    _form("parallel_size_invalid", r"--nnodes \(?\d+\)?`? must evenly divide"),
    _form("parallel_size_invalid", r"world_size ?[=(]\d+\)? must be (?:divisible|equal)"),
    _form("parallel_size_invalid", r"Pipeline parallelism is not supported for this model"),
    _form("parallel_size_invalid", r"World size \(\d+\) is larger than the number of available GPUs"),
    _form("parallel_size_invalid", r"(?:AssertionError: )?\d{1,12} is not divisible by \d", 2),
    _form("parallel_size_invalid", r"(?:input|output) size is not aligned with the quantized weight shape"),
    _form("parallel_size_invalid", r"(?:_per_partition|_partition_size|'s weight) = \d+ is not divisible by"),
    _form("parallel_size_invalid", r"does not support tensor parallel\.|tp_size=\d+ must be divisible"),
    _form("parallel_size_invalid", r"data_parallel_size_local \(\d+\) must be <="),
    _form("parallel_size_invalid", r"Cannot provide a placement group|exceeds the number of visible \w+ devices"),
    _form("parallel_size_invalid", r"[Tt]he number of required \w+ exceeds the total number of available \w+"),
    # config/model.py: _get_and_verify_max_len
    _form(
        "context_exceeds_model",
        r"User-specified max_model_len \((?P<wanted>\d+)\) is greater than the derived max_model_len "
        r"\((?:\w+=)?(?P<derived>\d+)",
        wanted=int, derived=int,
    ),
    _form("context_exceeds_model", r"max_model_len=\d+ .*sliding_window|greater than the derived max_model_len"),
    # sockets
    _form("port_in_use", r"bind: address already in use|port is already allocated"),
    _form("port_in_use", r"\[Errno 98\].*[Aa]ddress already in use|EADDRINUSE|ZMQError: Address already in use"),
    # model_executor/model_loader, transformers, huggingface_hub
    _form("weights_missing", r"Cannot find any (?:safetensors )?model weights with `(?P<path>[^`]+)`", path=str),
    _form("weights_missing", r"does not appear to have a file named|Can't load the configuration of"),
    _form("weights_missing", r"No such file or directory: '[^']*(?:\.json|\.safetensors|\.bin|\.gguf)"),
    _form("weights_missing", r"Repo id must (?:be in the form|use alphanumeric)|Can't load tokenizer for '"),
    _form("weights_missing", r"couldn't connect to '\S+' to load the files?, and couldn't find", 2),
    _form("weights_missing", r"is not a local folder and is not a valid model identifier"),
    _form("weights_missing", r"(?:Repository|Entry|Revision) Not Found for url", 2),
    _form("weights_missing", r"Invalid repository ID or local directory specified"),
    _form("weights_missing", r"(?:SafetensorError|MetadataIncompleteBuffer)|Error while deserializing header", 2),
    _form("weights_missing", r"(?:outgoing traffic has been disabled|LocalEntryNotFoundError)", 3),
    _form("gated_or_unauthorized", r"You are trying to access a gated repo"),
    _form("gated_or_unauthorized", r"Access to model \S+ is restricted", 2),
    _form("gated_or_unauthorized", r"GatedRepoError|Cannot access gated repo|Invalid user token", 3),
    _form("gated_or_unauthorized", r"enable access to public gated repositories", 3),
    _form("gated_or_unauthorized", r"(?:401|403) (?:Client Error|Forbidden|Unauthorized)|'40[13] \w+' for url", 4),
    # v1/engine/core_client.py, v1/engine/utils.py
    _form("timeout", r"Timed out waiting for engine(?:s| core processes)"),
    _form("timeout", r"RPC call to \w+ timed out|failed to report ZMQ addresses within timeout", 2),
    _form("timeout", r"Timed out after \d+ seconds waiting for clients|Did not receive response from front-end", 2),
    _form("timeout", r"did not (?:start|become ready|respond) within \d+", 2),
    _form("timeout", r"[Ss]tart operation timed out|Startup probe failed|failed startup probe", 3),
    _form("timeout", r"Watchdog caught collective operation timeout|DistStoreTimeoutError", 3),
    # kernel and container runtime
    _form("killed", r"^Killed$|: line \d+: +\d+ Killed\b|OOMKilled|oom-kill|killed by the OOM killer", 3),
    _form("killed", r"(?:exit(?:ed with)?|terminated with exit) (?:code|status):? 137\b", 3),
    _form("killed", r"[Oo]ut of memory: Killed process", 3),
    _form("killed", r"Failed core proc\(s\): \{[^}]*: -(?P<signal>9)\b", 2, signal=int),
    _form("killed", r"exit ?code[:=]? ?-9\b|signal: 9\b|SIGKILL|status=9/KILL", 2),
    # argparse, config validation
    _form("flag_rejected", r"error: unrecognized arguments: (?P<flags>.+)", flags=_flags),
    _form("flag_rejected", r"error: argument (?P<flags>--[\w-]+)", flags=_flags),
    _form("flag_rejected", r"error: (?:ambiguous option|the following arguments are required)"),
    _form(
        "flag_rejected",
        r"max_num_batched_tokens \((?P<max_num_batched_tokens>\d+)\) (?:is smaller than max_model_len|must be greater "
        r"than or equal to max_num_seqs)",
        max_num_batched_tokens=int,
    ),
    _form("flag_rejected", r"EngineArgs\S* got an unexpected keyword argument '\w+'|Unexpected keyword argument", 3),
    _form("flag_rejected", r"invalid (?:tool call|reasoning) parser: "),
    _form("flag_rejected", r"Load format `\w+` is not supported|Invalid data-parallel launch options"),
    _form("flag_rejected", r"long_prefill_token_threshold \(\d+\) cannot be|max_model_len must be a positive integer"),
    _form("flag_rejected", r"VllmConfig does not have enough slots to schedule"),
    _form("flag_rejected", r"GPU memory utilization must be less than 1\.0"),
)  # fmt: skip
"""All forms that decide by themselves; what runs out of memory elsewhere is told by where it happens."""

OUT_OF_MEMORY = re.compile(
    r"(?:CUDA|HIP|XPU) out of memory\.|(?:CUDA|HIP) error: out of memory|OutOfMemoryError|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED|DefaultCPUAllocator: (?:can't|not enough)"
)
"""How torch and CUDA say that memory has run out; a tuner that tries and falls back says it otherwise."""
TRIED = re.compile(
    rf"Tried to allocate (?:(?P<tried_gib>{_N}) GiB|(?P<tried_mib>{_N}) MiB)"
    rf"(?:.*?total capacity of (?P<total_gib>{_N}) GiB)?"
    rf"(?:.*?of which (?:(?P<free_gib>{_N}) GiB|(?P<free_mib>{_N}) MiB) is free)?"
)
NEVER = re.compile(
    r"falling back to default tactic|OOM detected, falling back|some potential root causes|Port \d+ is already"
)
"""Lines that have the words of a failure and are none."""
FAILED = re.compile(
    r"EngineCore failed to start|due to an exception in a background process"
    r"|EngineCore encountered a fatal error|EngineDeadError|core initialization failed"
)
"""Lines that say that a server ended, and not why."""
ERROR = re.compile(r"^(?:[\w.]+\.)?(?:\w+(?:Error|Exception|Exit|Interrupt)|AssertionError)(?::|$)")
"""The last line of a traceback."""
