"""The scratch space of mixture-of-experts layers."""

from planner.architecture import Architecture, Mixture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.memory.forward import distinct_layers
from planner.tensors.identity import Same
from planner.units import ceil_div


def workspace_bytes(architecture: Architecture, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int) -> int:
    """Return the bytes of the buffers between the two matrix products of the experts, for a whole batch.

    Every token takes ``active`` rows of the larger of hidden size and gate-and-up in one buffer, and of the larger of
    hidden size and intermediate size in the other. Source: ``workspace_shapes`` of the Triton and Marlin experts,
    ``model_executor/layers/fused_moe/experts`` 0.33.0, ``fused_moe.py`` 0.19.0; measured 0.50 GiB (Qwen3-30B-A3B) and
    0.66 GiB (Mixtral 8x7B on two ranks) at 8192 tokens.
    """
    sizes = [
        _rows_bytes(layer.mixture, architecture.hidden_size, flags, profile, dtype_bytes)
        for layer in distinct_layers(Same(architecture))
        if layer.mixture
    ]
    return max(sizes, default=0)


def _rows_bytes(mixture: Mixture, hidden: int, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int) -> int:
    ranks = flags.tensor_parallel_size * flags.data_parallel_size
    tokens = min(flags.max_num_batched_tokens * flags.data_parallel_size, profile.moe_chunk_tokens)
    inner = mixture.intermediate_size if flags.expert_parallel else ceil_div(mixture.intermediate_size, ranks)
    gate_up = (2 if mixture.gated else 1) * inner
    return tokens * mixture.active * dtype_bytes * (max(inner, hidden) + max(gate_up, hidden))


def gathered_bytes(architecture: Architecture, flags: ServeFlags, dtype_bytes: int) -> int:
    """Return what a rank holds of the batches of all data-parallel ranks while its experts run.

    Every rank gathers the hidden states of all before its experts, in the model's dtype at most, and sums what they
    make of them in as large a buffer, which is then dealt out again. Source:
    ``MoEPrepareAndFinalizeNaiveDPEPModular`` in ``model_executor/layers/fused_moe/prepare_finalize/naive_dp_ep.py``
    0.20.0 to 0.33.0, the default ``--all2all-backend allgather_reducescatter``.
    """
    if flags.data_parallel_size == 1:
        return 0
    layers = distinct_layers(Same(architecture))
    widths = [layer.mixture.width or architecture.hidden_size for layer in layers if layer.mixture]
    rows = flags.max_num_batched_tokens * flags.data_parallel_size
    return 2 * rows * max(widths, default=0) * dtype_bytes
