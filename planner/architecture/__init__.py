"""Architecture: shapes of a config in; frozen facts of the model, from which weights and caches are derived, out."""

from msgspec import Struct

from planner.architecture.layers import (
    Attention,
    BlockIndex,
    Compressed,
    FeedForward,
    Latent,
    Layer,
    Mixture,
    Norms,
    State,
)
from planner.architecture.parts import Column, Experts, Linear, Part, Tensor, Vocabulary

__all__ = [
    "Architecture", "Attention", "BlockIndex", "Column", "Compressed", "Experts", "FeedForward", "Latent", "Layer",
    "Linear", "Mixture", "Norms", "Part", "Rotary", "State", "Tensor", "Vision", "Vocabulary",
]  # fmt: skip


class Rotary(Struct, frozen=True):
    """A table of rotary cosines and sines: ``positions × width`` values in the model's dtype (or ``dtype_bytes``).

    ``older_factor`` multiplies the positions in engine versions that reserve room for three position axes
    (multimodal rope). ``single_precision`` tables stay fp32 on a GPU where FlashInfer applies them.
    """

    positions: int
    width: int
    dtype_bytes: int | None = None
    older_factor: int = 1
    single_precision: bool = False


class Vision(Struct, frozen=True, kw_only=True):
    """The encoder of images (or audio) beside a language model.

    ``parts`` are its weights, projector included. ``max_item_tokens`` is the largest number of language-model tokens
    one image can become, which sizes the engine's encoder cache; ``hidden_size``, ``intermediate_size`` and ``layers``
    describe the encoder, ``patches_per_token`` how many patches make one token, of ``patch_values`` input values each.
    ``gated`` encoders have gated MLPs. ``stacked_levels`` are further outputs of hidden size the language model takes
    in (deepstack). A video counts as up to ``images_per_video`` of the largest images, as far as the context allows.
    ``both_ways`` says that tokens of an item attend to later ones, so that one batch must hold all of them.
    ``sharded_heads`` are the heads of attention that is shared out over ranks (0: every rank runs the whole).
    Where videos are taken too (``takes_video``) and the largest item is one, ``image_tokens`` is an image's largest
    number. Encoders that run in chunks take as many patches at once as the engine grants memory for at
    ``chunk_patch_bytes`` each (0: all at once).
    """

    parts: tuple[Part, ...]
    hidden_size: int = 0
    intermediate_size: int = 0
    layers: int = 0
    max_item_tokens: int = 0
    patches_per_token: int = 1
    patch_values: int = 0
    gated: bool = False
    stacked_levels: int = 0
    images_per_video: int = 1
    both_ways: bool = False
    sharded_heads: int = 0
    takes_video: bool = False
    image_tokens: int = 0
    chunk_patch_bytes: int = 0


class Architecture(Struct, frozen=True, kw_only=True):
    """What a model is made of.

    ``name`` is the class name of the checkpoint's config. Sizes count the language model; ``layers`` lists every
    layer in order. ``num_attention_heads``, ``num_kv_heads``, ``head_dim`` and ``intermediate_size`` describe the
    widest layer of each kind and serve the activation estimate, whereas weights and caches come from ``layers``.
    ``max_model_len`` is the context limit the engine derives from the config; a longer one is refused only above
    ``longest_model_len``. Where ``scaled_model_len`` is not 0, both are that until 0.30. ``rotaries`` lists the
    distinct rotary tables; ``first`` holds further parts of the first pipeline stage, ``last`` of the last one. A
    ``whole_embedding`` of tokens is on every rank, without padding. ``windows_from`` is the layer from which a config
    asks for sliding windows where it does so for some layers alone, by their number (None: for all or for none).
    ``language`` is the class of the language model inside a multimodal one, as far as it has one of its own.
    ``heads`` are layers that the checkpoint carries to draft tokens ahead; of ``layers``, the last ``drafted`` are
    such. A ``drafter`` is a checkpoint of its own that drafts on the same GPUs; one that reads the model's hidden
    states, and is nothing without them, has their ``target_hidden_size``.
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
    longest_model_len: int
    torch_dtype: str
    layers: tuple[Layer, ...]
    rotaries: tuple[Rotary, ...] = ()
    scaled_model_len: int = 0
    tie_word_embeddings: bool = False
    has_head: bool = True
    head_bias: bool = False
    is_pooling: bool = False
    final_norms: int = 1
    final_norm_bias: bool = False
    first: tuple[Part, ...] = ()
    last: tuple[Part, ...] = ()
    vision: Vision | None = None
    embedding_width: int | None = None
    whole_embedding: bool = False
    windows_from: int | None = None
    language: str = ""
    heads: tuple[Layer, ...] = ()
    drafted: int = 0
    drafter: "Architecture | None" = None
    target_hidden_size: int = 0

    @property
    def num_layers(self) -> int:
        """The number of layers of the language model."""
        return len(self.layers)

    @property
    def own_layers(self) -> tuple[Layer, ...]:
        """The layers without those that draft."""
        return self.layers[: len(self.layers) - self.drafted]

    @property
    def mixture(self) -> Mixture | None:
        """The mixture of experts with the most experts, or None for a dense model."""
        found = [layer.mixture for layer in self.layers if layer.mixture]
        return max(found, key=lambda mixture: mixture.count, default=None)

    @property
    def has_state(self) -> bool:
        """Whether some layers keep a recurrent state."""
        return any(layer.state for layer in self.layers)

    @property
    def is_latent(self) -> bool:
        """Whether attention caches one latent vector per token."""
        return any(layer.attention and layer.attention.latent for layer in self.layers)
