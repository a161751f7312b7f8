"""Architecture: the frozen shape facts of a model, from which weights and caches are derived."""

from dataclasses import dataclass

from planner.architecture.layers import Attention, FeedForward, Latent, Layer, Mixture
from planner.architecture.parts import Column, Experts, Linear, Part, Tensor, Vocabulary

__all__ = [
    "Architecture", "Attention", "Column", "Experts", "FeedForward", "Latent", "Layer", "Linear", "Mixture", "Part",
    "Rotary", "Tensor", "Vocabulary",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rotary:
    """A table of rotary cosines and sines: ``positions × width`` values in the model's dtype (or ``dtype_bytes``)."""

    positions: int
    width: int
    dtype_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a model is made of.

    ``name`` is the class name of the checkpoint's config. Sizes count the language model; ``layers`` lists every
    layer in order. ``num_attention_heads``, ``num_kv_heads``, ``head_dim`` and ``intermediate_size`` describe the
    widest layer of each kind and serve the activation estimate, whereas weights and caches come from ``layers``.
    ``max_model_len`` is the context limit the engine derives from the config. ``rotaries`` lists the distinct rotary
    tables. ``tower`` holds vision or audio encoders and projectors, ``extra`` parts of the first pipeline stage.
    """

    name: str
    model_type: str
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_model_len: int
    torch_dtype: str
    layers: tuple[Layer, ...]
    rotaries: tuple[Rotary, ...] = ()
    tie_word_embeddings: bool = False
    has_head: bool = True
    head_bias: bool = False
    is_pooling: bool = False
    is_causal: bool = True
    final_norms: int = 1
    final_norm_bias: bool = False
    extra: tuple[Part, ...] = ()
    tower: tuple[Part, ...] = ()

    @property
    def num_layers(self) -> int:
        """The number of layers of the language model."""
        return len(self.layers)
