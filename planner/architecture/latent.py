"""The weights of multi-head latent attention."""

from planner.architecture.layers import Attention, Latent
from planner.architecture.parts import Column, Linear, Part, Tensor, linear, unquantized


def latent_parts(attention: Attention, latent: Latent, hidden_size: int) -> tuple[Part, ...]:
    """Return the projections of latent attention: into the latent vectors on every rank, out of them per head.

    Source: models/deepseek_v2.py:DeepseekV2MLAAttention and Indexer, vLLM 0.33.0. The engine multiplies ``kv_b_proj``
    into other products; when that layer is quantized it keeps a copy in the model's dtype.
    """
    heads, path = attention.num_heads, attention.path
    compressed = latent.kv_rank + latent.rope_head_dim
    parts: list[Part] = []
    if latent.query_rank:
        down = (Column(f"{path}.q_a_proj", 1, latent.query_rank), Column(f"{path}.kv_a_proj_with_mqa", 1, compressed))
        parts.append(Linear(columns=down, inputs=hidden_size, split="none"))
        parts.append(Tensor(path=f"{path}.q_a_layernorm", elements=latent.query_rank))
        queries = (Column(f"{path}.q_b_proj", heads, attention.head_dim),)
        parts.append(Linear(columns=queries, inputs=latent.query_rank, split="column"))
    else:
        parts.append(linear(f"{path}.kv_a_proj_with_mqa", compressed, hidden_size))
        queries = (Column(f"{path}.q_proj", heads, attention.head_dim),)
        parts.append(Linear(columns=queries, inputs=hidden_size, split="column"))
    values = (Column(f"{path}.kv_b_proj", heads, latent.nope_head_dim + latent.value_head_dim),)
    parts += [
        Tensor(path=f"{path}.kv_a_layernorm", elements=latent.kv_rank),
        Linear(columns=values, inputs=latent.kv_rank, split="column", dequantized_copy=True),
        linear(f"{path}.o_proj", hidden_size, heads * latent.value_head_dim, "row"),
    ]
    if latent.index_heads and latent.query_rank:
        width = latent.index_head_dim
        keys = linear(f"{path}.indexer.wk", width + latent.index_heads, hidden_size)
        parts += [
            linear(f"{path}.indexer.wq_b", width * latent.index_heads, latent.query_rank),
            unquantized(keys),
            Tensor(path=f"{path}.indexer.k_norm", elements=2 * width, dtype_bytes=4),
        ]
    return tuple(parts)
