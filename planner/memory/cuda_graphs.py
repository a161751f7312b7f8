"""CUDA graphs: how many the engine captures and what they take."""

from planner.architecture import Architecture
from planner.engine import EngineProfile
from planner.flags import ServeFlags
from planner.gpu import GPU
from planner.memory.stages import stage_layers

_FINE_STEP = 8
_COARSE_STEP = 16
_SMALLEST = (1, 2, 4)


def capture_sizes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> tuple[int, ...]:
    """Return the batch sizes the engine captures graphs for, none when it runs eagerly.

    Source: ``config/vllm.py:_set_cudagraph_sizes`` 0.33.0 and its predecessors.
    """
    if flags.enforce_eager:
        return ()
    blackwell = gpu.compute_capability is not None and gpu.compute_capability[0] == 10
    largest = profile.capture_max_size_sm100 if blackwell else profile.capture_max_size
    if profile.capture_limit_by_seqs:
        largest = min(largest, 2 * flags.max_num_seqs)
    largest = min(largest, flags.max_num_batched_tokens)
    coarse = profile.capture_coarse_above
    sizes = [
        *_SMALLEST,
        *range(_FINE_STEP, min(largest + 1, coarse), _FINE_STEP),
        *range(coarse, largest + 1, _COARSE_STEP),
    ]
    return tuple(size for size in sizes if size <= largest)


def graph_count(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Return the number of graphs: one per size, and with full graphs one more per size that decoding can reach."""
    sizes = capture_sizes(flags, profile, gpu)
    full = sum(size <= flags.max_num_seqs for size in sizes) if profile.full_graphs else 0
    return len(sizes) + full


def cuda_graph_bytes(
    architecture: Architecture, flags: ServeFlags, profile: EngineProfile, gpu: GPU, *, pipeline_rank: int = 0
) -> int:
    """Return what captured graphs take on one rank ("Graph capturing finished … took").

    Graphs hold their kernels' parameters and share one pool of temporaries, so the cost grows with graphs × layers
    from a base.
    """
    count = graph_count(flags, profile, gpu)
    if not count:
        return 0
    first, last = stage_layers(architecture.num_layers, flags.pipeline_parallel_size, pipeline_rank)
    return profile.device(gpu).graph_base_bytes + count * (last - first) * profile.graph_layer_bytes
