"""Parts: the weight tensors of a model, with how each is shared out over tensor-parallel ranks.

Shapes are those of the whole model; ``planner.tensors.weights`` derives what one rank holds. A module path is relative
to its layer (``self_attn.q_proj``), as checkpoints spell it, so that quantization rules can be applied.
"""

from typing import Literal

from msgspec import Struct

Split = Literal["column", "row", "none"]


class Column(Struct, frozen=True):
    """One matrix of a linear layer: ``units × size`` outputs.

    Column-parallel layers share out whole units (heads) evenly. ``replicated`` units, such as key-value heads, are
    repeated when there are more ranks than units, so that each rank holds at least one.
    """

    path: str
    units: int
    size: int
    replicated: bool = False


class Linear(Struct, frozen=True, kw_only=True):
    """A linear layer: one or more matrices over the same ``inputs``, fused when the engine fuses them.

    ``split`` says which side is shared out: the outputs (``column``), the inputs (``row``, whose bias is whole on
    each rank) or nothing. ``quantizable`` is false where the engine never quantizes, as for most routers.
    ``dtype_bytes`` overrides the model's dtype. A ``dequantized_copy`` in the model's dtype is kept beside a
    quantized layer where the engine folds it into other products (latent attention). With ``heads`` it is whole on
    every rank where as many ranks do not divide so many heads.
    """

    columns: tuple[Column, ...]
    inputs: int
    split: Split
    bias: bool = False
    quantizable: bool = True
    dtype_bytes: int | None = None
    dequantized_copy: bool = False
    heads: int = 0


class Experts(Struct, frozen=True, kw_only=True):
    """The routed experts of one layer: ``count`` times gate and up (or up alone) and down.

    Tensor parallelism shares out ``intermediate_size``, expert parallelism whole experts.
    """

    path: str
    count: int
    hidden_size: int
    intermediate_size: int
    gated: bool = True
    bias: bool = False


class Vocabulary(Struct, frozen=True, kw_only=True):
    """An embedding or output head of ``rows`` tokens, padded to ``padding``, shared out over ranks unless ``whole``."""

    path: str
    rows: int
    width: int
    bias: bool = False
    padding: int = 64
    whole: bool = False


class Tensor(Struct, frozen=True, kw_only=True):
    """A plain tensor of ``elements × each`` values: norms, sinks, convolutions.

    ``split`` shares out the elements over ranks; ``replicated`` ones are repeated when there are more ranks than
    elements, as key-value heads are.
    """

    path: str
    elements: int
    each: int = 1
    split: bool = False
    replicated: bool = False
    dtype_bytes: int | None = None


Part = Linear | Experts | Vocabulary | Tensor


def linear(path: str, outputs: int, inputs: int, split: Split = "none", *, bias: bool = False) -> Linear:
    """Return a linear layer of one matrix whose outputs may be shared out singly."""
    units, size = (outputs, 1) if split == "column" else (1, outputs)
    return Linear(columns=(Column(path, units, size),), inputs=inputs, split=split, bias=bias)


def unquantized(part: Linear) -> Linear:
    """Return the same layer, never quantized."""
    return Linear(
        columns=part.columns, inputs=part.inputs, split=part.split, bias=part.bias, quantizable=False,
        dtype_bytes=part.dtype_bytes,
    )  # fmt: skip
