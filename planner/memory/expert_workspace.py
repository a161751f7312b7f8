"""The scratch space of mixture-of-experts layers."""

from planner.architecture import Architecture, Mixture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile


def workspace_bytes(architecture: Architecture, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int) -> int:
    """Return the bytes of the buffers between the two matrix products of the experts, for a whole batch.

    Every token takes ``active`` rows of the larger of hidden size and gate-and-up in one buffer, and of the larger of
    hidden size and intermediate size in the other. Source: ``workspace_shapes`` of the Triton and Marlin experts,
    ``model_executor/layers/fused_moe/experts`` 0.33.0, ``fused_moe.py`` 0.19.0; measured 0.50 GiB (Qwen3-30B-A3B) and
    0.66 GiB (Mixtral 8x7B on two ranks) at 8192 tokens.
    """
    sizes = [
        _rows_bytes(layer.mixture, architecture.hidden_size, flags, profile, dtype_bytes)
        for layer in architecture.layers
        if layer.mixture
    ]
    return max(sizes, default=0)


def _rows_bytes(mixture: Mixture, hidden: int, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int) -> int:
    ranks = flags.tensor_parallel_size * flags.data_parallel_size
    tokens = min(flags.max_num_batched_tokens * flags.data_parallel_size, profile.moe_chunk_tokens)
    inner = mixture.intermediate_size if flags.expert_parallel else -(-mixture.intermediate_size // ranks)
    gate_up = (2 if mixture.gated else 1) * inner
    return tokens * mixture.active * dtype_bytes * (max(inner, hidden) + max(gate_up, hidden))
