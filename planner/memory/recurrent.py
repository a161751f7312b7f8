"""What recurrent layers take while they serve, which the engine's memory profile does not see.

The profile hands these layers no requests, so their prefill kernels do not run over the batch it measures.
"""

from planner.architecture import Architecture, State
from planner.engine.flags import ServeFlags
from planner.memory.forward import distinct_layers
from planner.tensors.identity import Same
from planner.units import ceil_div

# FLA_CHUNK_SIZE in third_party/flash_linear_attention/ops/utils.py, 0.26.0 to 0.33.0.
_CHUNK_TOKENS = 64
_FLOAT = 4


def unprofiled_bytes(architecture: Architecture, flags: ServeFlags, dtype_bytes: int) -> int:
    """Return what the prefill of a whole batch takes beyond the profiled pass, 0 without such layers.

    Reported as 72 KiB per token of the batch for 48 heads of 128 x 128 on one GPU, and deadly there: accepted at the
    start, out of memory at the first long prompts (github.com/vllm-project/vllm/issues/54775 and /52872).
    """
    states = {layer.state for layer in distinct_layers(Same(architecture)) if layer.state}
    widest = max((_token_bytes(state, flags, dtype_bytes) for state in states), default=0)
    return flags.max_num_batched_tokens * widest


def _token_bytes(state: State, flags: ServeFlags, dtype_bytes: int) -> int:
    """Return the bytes per token alive when a chunked delta rule writes its output.

    Per head: the state at every chunk, the keys and values as rewritten (w, u), the new values, and the output. Gates
    per channel add the decayed keys and their sums in single precision. Source:
    ``third_party/flash_linear_attention/ops/chunk.py:chunk_gated_delta_rule_fwd`` and ``kda.py``, 0.26.0 and 0.33.0.
    """
    heads = ceil_div(state.heads, flags.tensor_parallel_size)
    keys, values = state.key_head_dim or state.head_dim, state.head_dim
    width = ceil_div(keys * values, _CHUNK_TOKENS) + keys + 3 * values
    if state.kind == "gated-delta":
        return heads * width * dtype_bytes
    if state.kind in ("kimi-delta", "bailing-delta"):
        return heads * ((width + keys) * dtype_bytes + keys * _FLOAT)
    return 0
