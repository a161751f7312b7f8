"""The weights of attention over compressed latents, as DeepSeek-V4 has it."""

from planner.architecture import Attention, Column, Compressed, Linear, Part, Tensor
from planner.architecture.parts import linear

# Values of a compressor's state per compressed one: ratio 4 keeps two overlapping runs.
_OVERLAPPING_RATIO = 4


def compressed_parts(attention: Attention, facts: Compressed, hidden_size: int) -> tuple[Part, ...]:
    """Return the weights of one attention layer.

    Source: ``models/deepseek_v4/attention.py`` and ``compressor.py`` of vLLM 0.32.0 and 0.33.0.
    """
    path, heads, size = attention.path, attention.num_heads, attention.head_dim
    into = (Column(f"{path}.wq_a", 1, facts.query_rank), Column(f"{path}.wkv", 1, size))
    lifted = facts.output_groups * facts.output_rank
    parts: list[Part] = [
        Tensor(path=f"{path}.attn_sink", elements=heads, dtype_bytes=4),
        Linear(columns=into, inputs=hidden_size, split="none"),
        Tensor(path=f"{path}.q_norm", elements=facts.query_rank),
        Linear(columns=(Column(f"{path}.wq_b", heads, size),), inputs=facts.query_rank, split="column"),
        Tensor(path=f"{path}.kv_norm", elements=size),
        Linear(
            columns=(Column(f"{path}.wo_a", facts.output_groups, facts.output_rank),),
            inputs=heads * size // facts.output_groups,
            split="column",
        ),
        linear(f"{path}.wo_b", hidden_size, lifted, "row"),
    ]
    if facts.index_heads:
        width = facts.index_head_dim
        parts += [
            linear(f"{path}.indexer.wq_b", facts.index_heads * width, facts.query_rank),
            Linear(
                columns=(Column(f"{path}.indexer.weights_proj", facts.index_heads, 1),),
                inputs=hidden_size,
                split="none",
                quantizable=False,
            ),
            *_compressor(f"{path}.indexer.compressor", facts.ratio, width, hidden_size),
        ]
    if facts.ratio > 1:
        parts += _compressor(f"{path}.compressor", facts.ratio, size, hidden_size)
    return tuple(parts)


def state_width(ratio: int, size: int) -> int:
    """Return the values a compressor keeps per token: keys and scores, of two runs where they overlap."""
    return 2 * size * (2 if ratio == _OVERLAPPING_RATIO else 1)


def _compressor(path: str, ratio: int, size: int, hidden_size: int) -> tuple[Part, ...]:
    width = state_width(ratio, size)
    return (
        Tensor(path=f"{path}.ape", elements=ratio * width // 2, dtype_bytes=4),
        Linear(columns=(Column(f"{path}.wkv_wgate", 1, width),), inputs=hidden_size, split="none", quantizable=False),
        Tensor(path=f"{path}.norm", elements=size),
    )
