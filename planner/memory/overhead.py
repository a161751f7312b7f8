"""What a server takes outside PyTorch's tensors: driver context, kernels, communicators, their buffers."""

from planner.engine import EngineProfile
from planner.flags import ServeFlags
from planner.gpu import GPU
from planner.memory.activation import blas_workspace_bytes


def non_torch_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Return the non-PyTorch memory that counts against the budget ("non-torch memory" in the engine's log)."""
    total = profile.non_torch_bytes
    if profile.graphs_profiled and not flags.enforce_eager:
        total += profile.graph_profile_residue_bytes
    if flags.tensor_parallel_size > 1:
        total += profile.communicator_bytes + _all_reduce_bytes(flags, profile, gpu)
    return total


def baseline_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Return what the process holds on the device before the engine takes its first snapshot."""
    total = profile.device(gpu).context_bytes
    if not profile.blas_handles_in_budget:
        total += blas_workspace_bytes(gpu)
    if flags.ranks > 1 and not profile.communicator_in_budget:
        total += profile.communicator_context_bytes
    return total


def _all_reduce_bytes(flags: ServeFlags, profile: EngineProfile, gpu: GPU) -> int:
    """Buffers of the fused all-reduce, which the engine uses on Hopper and data-centre Blackwell only."""
    fused = gpu.compute_capability is not None and gpu.compute_capability[0] in (9, 10)
    return profile.all_reduce_fusion_bytes if fused and not flags.enforce_eager else 0
