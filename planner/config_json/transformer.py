"""The weights of a plain transformer encoder, as vision and audio towers and BERT-like models use it."""

from planner.architecture import Column, Linear, Part, Tensor
from planner.architecture.parts import Split, linear


def blocks(
    path: str,
    count: int,
    hidden: int,
    intermediate: int,
    *,
    bias: bool = True,
    gated: bool = False,
    norm_bias: bool = True,
    norms: int = 2,
    attention_width: int = 0,
    kv_width: int = 0,
    qkv_bias: bool | None = None,
    sharded: bool = True,
    attention_sharded: bool = True,
    extra: int = 0,
) -> tuple[Part, ...]:
    """Return the parts of ``count`` equal blocks: fused query-key-value, output, MLP, norms.

    ``attention_width`` is the width inside attention where it is not the hidden size, ``kv_width`` that of keys and
    values where it is less; ``extra`` counts further values per block, such as layer scales. Towers that the engine
    does not shard over ranks, or whose attention it does not shard, say so.
    """
    inner = attention_width or hidden
    widths = (inner, kv_width or inner, kv_width or inner)
    into: Split = "column" if sharded else "none"
    out: Split = "row" if sharded else "none"
    heads_in: Split = into if attention_sharded else "none"
    heads_out: Split = out if attention_sharded else "none"
    parts: list[Part] = []
    for index in range(count):
        block = f"{path}.{index}"
        ups = ("gate_proj", "up_proj") if gated else ("fc1",)
        parts += [
            Linear(
                columns=tuple(
                    Column(f"{block}.attn.{name}", size, 1) for name, size in zip("qkv", widths, strict=True)
                ),
                inputs=hidden,
                split=heads_in,
                bias=bias if qkv_bias is None else qkv_bias,
            ),
            linear(f"{block}.attn.proj", hidden, inner, heads_out, bias=bias),
            Linear(
                columns=tuple(Column(f"{block}.mlp.{name}", intermediate, 1) for name in ups),
                inputs=hidden,
                split=into,
                bias=bias,
            ),
            linear(f"{block}.mlp.fc2", hidden, intermediate, out, bias=bias),
            Tensor(path=f"{block}.norms", elements=norms * hidden * (2 if norm_bias else 1) + extra),
        ]
    return tuple(parts)


def plain(path: str, *sizes: int) -> Tensor:
    """Return one tensor that every rank holds whole: the sum of several sizes."""
    return Tensor(path=path, elements=sum(sizes))
