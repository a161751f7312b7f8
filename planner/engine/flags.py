"""ServeFlags: the limits a server is started with, and what the engine chooses where a flag is not given."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Literal

from msgspec import Struct, field

from planner.architecture import Architecture
from planner.engine.profile import EngineProfile
from planner.engine.speculation import Speculation
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.units import GIB

_WHOLE_PROMPT_LIMIT = 32768
_YARN_INCLUDED = "0.30.0"
"""The first version that takes YaRN's factor for a part of the length a config states."""


class ServeFlags(Struct, frozen=True, kw_only=True):
    """The flags of ``vllm serve`` that memory depends on; sizes in tokens, sequences, bytes.

    ``kv_cache_dtype`` and ``dtype`` are spelled as the engine spells them, ``auto`` included. With
    ``kv_cache_memory_bytes`` the KV cache has exactly that size. ``prefix_caching`` None leaves it to the engine.
    ``quantization`` names how the engine quantizes an unquantized checkpoint while it loads it (empty: not).
    ``max_loras`` adapters of up to ``max_lora_rank`` are kept (0: adapters are off), on layers with a name in
    ``lora_modules`` (none: on all), each rank with its share of both matrices if ``fully_sharded_loras``.
    ``mm_limits`` is ``--limit-mm-per-prompt``, items per prompt by kind; ``language_model_only`` sets every kind to 0.
    ``attention_backend`` names the only one to use (empty: the engine chooses). CUDA graphs are captured for the sizes
    named, or up to ``max_capture_size``. ``mamba_cache_dtype`` is that of recurrent states, convolutions included,
    ``mamba_ssm_cache_dtype`` of the states alone.
    ``context_parallel_size`` ranks of tensor parallelism hold a part of the cached tokens each.
    ``compile_cache`` is ``cold`` when this start compiles the model and ``warm`` when it finds it compiled.
    """

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float
    kv_cache_memory_bytes: int | None = None
    kv_cache_dtype: str = "auto"
    dtype: str = "auto"
    quantization: str = ""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    context_parallel_size: int = 1
    expert_parallel: bool = False
    enforce_eager: bool = False
    cpu_offload_bytes: int = 0
    block_size: int | None = None
    prefix_caching: bool | None = None
    max_loras: int = 0
    max_lora_rank: int = 16
    lora_modules: tuple[str, ...] = ()
    fully_sharded_loras: bool = False
    speculative: Speculation | None = None
    mm_limits: Mapping[str, int] = field(default_factory=dict)
    language_model_only: bool = False
    attention_backend: str = ""
    capture_sizes: tuple[int, ...] = ()
    max_capture_size: int | None = None
    mamba_cache_dtype: str = "auto"
    mamba_ssm_cache_dtype: str = "auto"
    compile_cache: Literal["cold", "warm"] = "cold"

    def __hash__(self) -> int:
        return hash(_HASHED(self))

    @property
    def ranks(self) -> int:
        """The GPUs the server runs on."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def query_tokens(self) -> int:
        """The tokens that one sequence has in a step that samples: one, and the drafts to verify."""
        return self.speculative.query_tokens if self.speculative else 1

    def reserved_tokens(self, tokens: int) -> int:
        """Return the tokens that a request of so many may have slots for, drafts included."""
        ahead = self.speculative.reserved_tokens if self.speculative else 0
        return min(tokens + ahead, max(tokens, self.max_model_len))

    @property
    def sampled_rows(self) -> int:
        """The sequences the engine samples for in its memory profile."""
        return min(self.max_num_seqs, self.max_num_batched_tokens)


_HASHED = attrgetter(*(name for name in ServeFlags.__struct_fields__ if name != "mm_limits"))
"""All but what has no hash; flags that differ in it alone are told apart when they are compared."""


def default_flags(profile: EngineProfile, gpu: GPU, architecture: Architecture, **given: Any) -> ServeFlags:  # noqa: ANN401 - any field of ServeFlags
    """Return the flags ``vllm serve`` would run with on ``gpu`` when only those in ``given`` are set.

    A value of None means not given. Source: ``engine/arg_utils.py:get_batch_defaults`` and the adjustments beside it,
    0.8.5 to 0.33.0.
    """
    values = {name: value for name, value in given.items() if value is not None}
    max_model_len = values.setdefault("max_model_len", model_lengths(architecture, profile)[0])
    default_seqs, default_tokens = batch_defaults(profile, gpu)
    seqs = values.get("max_num_seqs", default_seqs)
    if "max_num_batched_tokens" not in values:
        tokens = default_tokens
        short = architecture.is_pooling or max_model_len <= _WHOLE_PROMPT_LIMIT
        if short and holds_whole_prompts(architecture, profile):
            tokens = max(max_model_len, tokens)
        if profile.whole_item_batches and architecture.vision and architecture.vision.both_ways:
            tokens = max(tokens, architecture.vision.max_item_tokens)
        most = seqs * max_model_len if profile.batch_within_requests else tokens
        values["max_num_batched_tokens"] = min(tokens, most)
    if "max_num_seqs" not in values and profile.seqs_within_batch:
        seqs = min(seqs, values["max_num_batched_tokens"])
    values["max_num_seqs"] = seqs
    values.setdefault("gpu_memory_utilization", profile.gpu_memory_utilization)
    return ServeFlags(**values)


def model_lengths(architecture: Architecture, profile: EngineProfile) -> tuple[int, int]:
    """Return the context that an engine version takes when none is given, and the longest it accepts."""
    scaled = architecture.scaled_model_len
    if scaled and parse_version(profile.version) < parse_version(_YARN_INCLUDED):
        return scaled, max(scaled, architecture.longest_model_len)
    return architecture.max_model_len, architecture.longest_model_len


def whole_items(architecture: Architecture, profile: EngineProfile) -> bool:
    """Whether tokens of an image or video attend to later ones in this version, so that a batch holds whole items."""
    vision = architecture.vision
    return vision is not None and vision.both_ways and architecture.name.startswith(profile.prefix_classes)


def holds_whole_prompts(architecture: Architecture, profile: EngineProfile) -> bool:
    """Whether a batch must hold a whole prompt: older engines, and models that pool over tokens they do not cache.

    Models that attend to earlier tokens alone and pool the last one take prompts in chunks. Source:
    ``engine/arg_utils.py:_set_default_args_v1`` 0.10.2 to 0.11.0, ``config/model.py:is_chunked_prefill_supported``
    0.21.0 to 0.33.0.
    """
    cached = any(layer.attention and layer.attention.cached for layer in architecture.layers)
    return profile.whole_prompt_batches or (architecture.is_pooling and not cached)


def batch_defaults(profile: EngineProfile, gpu: GPU) -> tuple[int, int]:
    """Return the engine's own ``max_num_seqs`` and ``max_num_batched_tokens`` on a device, before adjustments."""
    memory_bytes = gpu.driver_memory_bytes or gpu.memory_bytes
    name = gpu.product.lower()
    for entry in profile.batch_defaults:
        named = not entry.names or any(text in name for text in entry.names)
        excepted = any(text in name for text in entry.except_names)
        if named and not excepted and memory_bytes >= entry.min_memory_gib * GIB:
            return entry.max_num_seqs, entry.max_num_batched_tokens
    raise AssertionError("the last entry of batch_defaults has no condition")
