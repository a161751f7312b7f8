"""What a server takes outside PyTorch's tensors: driver context, kernels, communicators, their buffers."""

from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory.activation import blas_workspace_bytes

# Triton compiles a kernel apart for sizes that are multiples of 16.
_SPECIALIZED = 16


def non_torch_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU, *, vocabulary: int, second: bool) -> int:
    """Return the non-PyTorch memory that counts against the budget ("non-torch memory" in the engine's log).

    With several GPUs much of what one loads lazily is there before the first snapshot, with the communicators.
    """
    total = profile.device(gpu).extra_bytes
    if flags.ranks > 1 and not profile.communicator_in_budget:
        total += profile.parallel_non_torch_bytes
        if profile.all_reduce_fusion_bytes and _fuses_all_reduce(flags, gpu):
            return total + profile.all_reduce_fusion_bytes
        return total + profile.communicator.bytes_for(gpu, flags.tensor_parallel_size * flags.data_parallel_size)
    total += profile.non_torch_bytes + profile.communicator.bytes_for(gpu, flags.ranks)
    if profile.graphs_profiled and not second and not flags.enforce_eager:
        total += profile.graph_profile_residue_bytes
    return total + (profile.odd_vocabulary_bytes if vocabulary % _SPECIALIZED else 0)


def unlinked_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Return by how much less the communicators take where linked GPUs may not reach each other, as in some guests."""
    if not profile.communicator_in_budget or flags.ranks == 1:
        return 0
    linked = profile.communicator.bytes_for(gpu, flags.ranks)
    return max(0, linked - profile.communicator.apart_bytes(flags.ranks))


def baseline_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Return what the process holds on the device before the engine takes its first snapshot."""
    total = profile.device(gpu).context_bytes + profile.communicator_context.bytes_for(gpu, flags.ranks)
    return total if profile.blas_handles_in_budget else total + blas_workspace_bytes(gpu)


def _fuses_all_reduce(flags: ServeFlags, gpu: GPU) -> bool:
    """Whether the engine fuses all-reduce and norm: compiled models on Hopper and data-centre Blackwell only.

    Source: ``config/vllm.py:enable_allreduce_rms_fusion`` 0.17.1 to 0.33.0.
    """
    fused = gpu.compute_capability is not None and gpu.compute_capability[0] in (9, 10)
    alone = flags.data_parallel_size == flags.pipeline_parallel_size == 1 < flags.tensor_parallel_size
    return fused and alone and not flags.enforce_eager
