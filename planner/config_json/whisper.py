"""Whisper: an encoder of sound, and a decoder whose layers attend to itself and to the encoder (models/whisper.py)."""

from planner.architecture import Architecture, Attention, Column, FeedForward, Layer, Linear, Tensor
from planner.architecture.parts import linear
from planner.config_json.audio_towers import whisper_tower
from planner.config_json.decoder import torch_dtype
from planner.config_json.fields import MAX_LAYERS, Fields
from planner.config_json.rope import context_limits

WHISPER = "WhisperForConditionalGeneration"


def whisper(config: Fields) -> Architecture:
    """Return the architecture; each decoder layer is two here, one per attention.

    Raises:
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    hidden, heads = config.integer("d_model"), config.integer("decoder_attention_heads")
    if hidden % heads:
        raise config.error("decoder_attention_heads", f"{heads} heads do not divide d_model {hidden}")
    inner, positions = config.integer("decoder_ffn_dim"), config.integer("max_target_positions")
    limit, longest = context_limits(config)
    pair = _layers(hidden, heads, inner)
    return Architecture(
        name=WHISPER,
        model_type=config.text("model_type"),
        hidden_size=hidden,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_kv_heads=heads,
        head_dim=hidden // heads,
        vocab_size=config.integer("vocab_size"),
        max_model_len=limit,
        longest_model_len=longest,
        torch_dtype=torch_dtype(config),
        layers=pair * config.integer("decoder_layers", maximum=MAX_LAYERS),
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        final_norm_bias=True,
        whole_embedding=True,
        first=(Tensor(path="decoder.embed_positions", elements=positions * hidden),),
        vision=whisper_tower(config),
    )


def _layers(hidden: int, heads: int, inner: int) -> tuple[Layer, Layer]:
    size = hidden // heads
    itself = Attention(
        num_heads=heads, num_kv_heads=heads, head_dim=size, value_head_dim=size, qkv_bias=True, output_bias=True,
        output_path="out_proj",
    )  # fmt: skip
    keys = tuple(Column(f"encoder_attn.{name}_proj", heads, size) for name in "kv")
    across = Attention(
        num_heads=heads, num_kv_heads=heads, head_dim=size, value_head_dim=size, cross=True,
        parts=(
            Linear(columns=(Column("encoder_attn.q_proj", heads, size),), inputs=hidden, split="column", bias=True),
            Linear(columns=keys, inputs=hidden, split="column", bias=True),
            linear("encoder_attn.out_proj", hidden, hidden, "row", bias=True),
        ),
    )  # fmt: skip
    mlp = FeedForward(intermediate_size=inner, gated=False, bias=True)
    return Layer(attention=itself, norms=1, norm_bias=True), Layer(
        attention=across, feed_forward=mlp, norms=2, norm_bias=True
    )
