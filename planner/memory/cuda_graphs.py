"""CUDA graphs: how many the engine captures and what they take."""

import functools

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.forward import distinct_layers
from planner.tensors.identity import Same
from planner.tensors.pipeline import stage_layers
from planner.units import ceil_div

_FINE_STEP = 8
_COARSE_STEP = 16
_SMALLEST = (1, 2, 4)
_SPLITS = 32
_HOPPER = 9


def capture_sizes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> tuple[int, ...]:
    """Return the batch sizes the engine captures graphs for, none when it runs eagerly.

    Source: ``config/vllm.py:_set_cudagraph_sizes`` 0.33.0 and its predecessors.
    """
    if flags.enforce_eager:
        return ()
    if flags.capture_sizes:
        return tuple(size for size in sorted(set(flags.capture_sizes)) if size <= flags.max_num_batched_tokens)
    blackwell = gpu.compute_capability is not None and gpu.compute_capability[0] == 10
    largest = profile.capture_max_size_sm100 if blackwell else profile.capture_max_size
    if profile.capture_limit_by_seqs:
        largest = min(largest, 2 * flags.max_num_seqs * flags.query_tokens)
    largest = flags.max_capture_size or largest
    largest = min(largest, flags.max_num_batched_tokens)
    coarse = profile.capture_coarse_above
    sizes = [
        *_SMALLEST,
        *range(_FINE_STEP, min(largest + 1, coarse), _FINE_STEP),
        *range(coarse, largest + 1, _COARSE_STEP),
    ]
    return tuple(size for size in sizes if size <= largest)


def full_sizes(architecture: Architecture, flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> tuple[int, ...]:
    """Return the sizes that get a second graph, attention included: those that decoding can reach."""
    return _full(capture_sizes(flags, profile, gpu), architecture, flags, profile)


def _full(
    sizes: tuple[int, ...], architecture: Architecture, flags: ServeFlags, profile: EngineProfile
) -> tuple[int, ...]:
    if not profile.full_graphs or architecture.is_pooling:
        return ()
    return tuple(size for size in sizes if size <= flags.max_num_seqs * flags.query_tokens)


def cuda_graph_bytes(
    architecture: Architecture, flags: ServeFlags, profile: EngineProfile, gpu: GPU, *, pipeline_rank: int = 0
) -> int:
    """Return what captured graphs take on one rank ("Graph capturing finished … took").

    Graphs hold their kernels' parameters and share one pool of temporaries, so the cost grows with graphs × layers
    from a base. On Hopper the pool holds partial results of attention for the largest full graph.
    """
    sizes = capture_sizes(flags, profile, gpu)
    if not sizes:
        return 0
    full = _full(sizes, architecture, flags, profile)
    mixtures, others = _layers(Same(architecture), flags.pipeline_parallel_size, pipeline_rank)
    layers = mixtures * profile.graph_mixture_layer_bytes + others * profile.graph_layer_bytes
    partial = max(full, default=0) * _partial_bytes(architecture, flags, gpu)
    graphs = profile.device(gpu).graph_base_bytes + (len(sizes) + len(full)) * layers
    if flags.max_loras and profile.capture_with_lora_apart:
        graphs *= 2
    return graphs + partial


@functools.lru_cache(maxsize=4096)
def _layers(of: Same[Architecture], stages: int, stage: int) -> tuple[int, int]:
    """Return how many layers of a stage are mixtures of experts, and how many are not."""
    first, last = stage_layers(of.value.num_layers, stages, stage)
    mixtures = sum(1 for layer in of.value.layers[first:last] if layer.mixture)
    return mixtures, last - first - mixtures


def triton_capture_bytes(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> int:
    """Return what capturing gpt-oss's experts through Triton takes at least, beyond other graphs, and uncounted.

    Triton compiles a kernel for every range of batch sizes, and the memory profile runs one size alone.
    """
    hopper = gpu.compute_capability is not None and gpu.compute_capability[0] == _HOPPER
    if quantization.method != "mxfp4" or not hopper or profile.mxfp4_hopper == "marlin":
        return 0
    sizes, full = capture_sizes(flags, profile, gpu), full_sizes(architecture, flags, profile, gpu)
    layers = sum(1 for layer in architecture.layers if layer.mixture and layer.mixture.bias)
    return (len(sizes) + len(full)) * layers * profile.graph_triton_layer_bytes


def _partial_bytes(architecture: Architecture, flags: ServeFlags, gpu: GPU) -> int:
    """Return the float results per token that FlashAttention 3 keeps when it splits a long context over processors.

    Source: ``flash_attn_max_num_splits_for_cuda_graph`` in ``config/attention.py``, 0.13.0 to 0.33.0; measured 260 MiB
    for the first full graph of Llama-3.1-8B at 512 tokens, 132 MiB on two GPUs (H100, 0.19.0, llm-d-planner#205).
    """
    if gpu.compute_capability is None or gpu.compute_capability[0] != _HOPPER:
        return 0
    widths = [
        ceil_div(layer.attention.num_heads, flags.tensor_parallel_size) * layer.attention.value_head_dim
        for layer in distinct_layers(Same(architecture))
        if layer.attention and not layer.attention.latent
    ]
    return _SPLITS * max(widths, default=0) * 4
