"""Dense decoders: the common shape of Llama and its many relatives."""

from planner.architecture import Architecture, Attention, FeedForward, Layer
from planner.config_json.families import Family, Switch
from planner.config_json.fields import MAX_LAYERS, Fields
from planner.config_json.rope import max_model_len, rotary

_DTYPES = ("bfloat16", "float16", "float32")


def dense(name: str, family: Family, config: Fields) -> Architecture:
    """Return the architecture of a dense decoder whose facts stand in ``config``."""
    text = Fields(config.where, config.values, config.path, family.defaults)
    attention = attention_of(text, family)
    feed_forward = FeedForward(
        intermediate_size=text.integer("intermediate_size"),
        gated=family.gated,
        bias=_switched(text, family.mlp_bias),
    )
    layer = Layer(attention=attention, feed_forward=feed_forward, norms=family.norms, norm_bias=family.norm_bias)
    return Architecture(
        name=name,
        model_type=text.text("model_type"),
        hidden_size=text.integer("hidden_size"),
        intermediate_size=feed_forward.intermediate_size,
        num_attention_heads=attention.num_heads,
        num_kv_heads=attention.num_kv_heads,
        head_dim=attention.head_dim,
        vocab_size=text.integer("vocab_size"),
        max_model_len=max_model_len(text),
        torch_dtype=torch_dtype(text),
        layers=(layer,) * text.integer("num_hidden_layers", maximum=MAX_LAYERS),
        rotaries=(rotary(text, attention.head_dim),),
        tie_word_embeddings=text.flag("tie_word_embeddings"),
    )


def attention_of(text: Fields, family: Family) -> Attention:
    """Return the attention layer that the common field names describe."""
    heads = text.integer("num_attention_heads")
    hidden = text.integer("hidden_size")
    if not text.get("head_dim") and hidden % heads:
        raise text.error("num_attention_heads", f"{heads} heads do not divide hidden_size {hidden}")
    head_dim = text.optional_integer("head_dim") or hidden // heads
    kv_heads = text.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise text.error("num_key_value_heads", f"{kv_heads} does not divide num_attention_heads {heads}")
    return Attention(
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        value_head_dim=head_dim,
        window=sliding_window(text),
        qkv_bias=_switched(text, family.qkv_bias),
        output_bias=_switched(text, family.output_bias),
        qk_norm=family.qk_norm,
    )


def sliding_window(text: Fields) -> int | None:
    """Return the sliding window all layers share, or None.

    A window that ``use_sliding_window`` switches off does not count (config/model.py of vLLM 0.33.0).
    """
    if text.has("use_sliding_window") and not text.flag("use_sliding_window"):
        return None
    return text.optional_integer("sliding_window")


def torch_dtype(text: Fields) -> str:
    """Return the dtype weights are kept in unless ``--dtype`` says otherwise: float32 checkpoints load as bfloat16."""
    name = text.text("dtype") or text.text("torch_dtype") or "float32"
    name = name.removeprefix("torch.")
    if name not in _DTYPES:
        raise text.error("torch_dtype", f"{name!r} is not one of {', '.join(_DTYPES)}")
    return "bfloat16" if name == "float32" else name


def _switched(text: Fields, switch: Switch) -> bool:
    if isinstance(switch, bool):
        return switch
    return any(text.flag(name) for name in switch)
