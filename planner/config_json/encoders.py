"""Encoder-only models: embeddings and rerankers without a KV cache.

Source per function: the model file named, vLLM 0.32.0 and 0.33.0. Their checkpoints are fp32 and load as fp16, except
for the classification head, which stays fp32.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Attention, FeedForward, Layer, Part, Rotary, Tensor, Vocabulary
from planner.config_json.decoder import torch_dtype
from planner.config_json.fields import MAX_LAYERS, Fields
from planner.config_json.rope import context_limits


class Encoder(Struct, frozen=True, kw_only=True):
    """How an encoder family is built.

    ``positions`` says whether positions are learned; ``types`` whether there are token types; ``head`` returns the
    parts of a classification head (None: the class only embeds); ``names`` maps common field names to the family's.
    """

    gated: bool = False
    bias: bool = True
    up_bias: bool = True
    norm_bias: bool = True
    positions: bool = True
    types: bool = True
    position_offset: bool = False
    final_norms: int = 0
    norms: int = 2
    first_layer_without_norm: bool = False
    ropes: int = 0
    head: Callable[[Fields], tuple[Part, ...]] | None = None
    names: Mapping[str, str] | None = None


def encoder(name: str, family: Encoder, config: Fields) -> Architecture:
    """Return the architecture of an encoder-only model.

    Raises:
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    text = config.renamed(family.names or {}, {"type_vocab_size": 2})
    hidden, heads = text.integer("hidden_size"), text.integer("num_attention_heads")
    if hidden % heads:
        raise text.error("num_attention_heads", f"{heads} heads do not divide hidden_size {hidden}")
    size = hidden // heads
    count = text.integer("num_hidden_layers", maximum=MAX_LAYERS)
    limit, longest = context_limits(text)
    if family.position_offset:  # positions start after the padding token
        limit = longest = limit - text.integer("pad_token_id", 1, minimum=0) - 1
    layer = _layer(text, family, heads, size)
    return Architecture(
        name=name,
        model_type=text.text("model_type"),
        hidden_size=hidden,
        intermediate_size=text.integer("intermediate_size"),
        num_attention_heads=heads,
        num_kv_heads=heads,
        head_dim=size,
        vocab_size=text.integer("vocab_size"),
        max_model_len=limit,
        longest_model_len=longest,
        torch_dtype=torch_dtype(text),
        layers=(replace(layer, norms=layer.norms - family.first_layer_without_norm), *((layer,) * (count - 1))),
        rotaries=(Rotary(longest, size),) * family.ropes,
        has_head=False,
        is_pooling=True,
        final_norms=family.final_norms,
        final_norm_bias=family.norm_bias,
        first=_embeddings(text, family, hidden),
        last=family.head(text) if family.head else (),
    )


def _layer(text: Fields, family: Encoder, heads: int, size: int) -> Layer:
    attention = Attention(
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=size,
        value_head_dim=size,
        qkv_bias=family.bias,
        output_bias=family.bias,
        cached=False,
    )
    mlp = FeedForward(
        intermediate_size=text.integer("intermediate_size"),
        gated=family.gated,
        bias=family.bias,
        up_bias=family.up_bias,
    )
    return Layer(attention=attention, feed_forward=mlp, norms=family.norms, norm_bias=family.norm_bias)


def _embeddings(text: Fields, family: Encoder, hidden: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    if family.positions:
        rows = text.integer("max_position_embeddings")
        parts.append(Vocabulary(path="position_embeddings", rows=rows, width=hidden))
    types = text.integer("type_vocab_size", minimum=0)
    if family.types and types:
        parts.append(Vocabulary(path="token_type_embeddings", rows=types, width=hidden))
    parts.append(Tensor(path="embeddings.norm", elements=hidden * (2 if family.norm_bias else 1)))
    return tuple(parts)


def labels(text: Fields) -> int:
    """Return the number of labels of a classifier; the library's default is two."""
    mapping = text.section("id2label").values
    return len(mapping) or text.integer("num_labels", 2)


def _dense(rows: int, columns: int) -> Tensor:
    return Tensor(path="classifier", elements=rows * columns + rows, dtype_bytes=4)


def _bert_head(text: Fields) -> tuple[Part, ...]:
    hidden = text.integer("hidden_size")
    return (_dense(hidden, hidden), _dense(labels(text), hidden))


def _modernbert_head(text: Fields) -> tuple[Part, ...]:
    hidden = text.integer("hidden_size")
    return (
        Tensor(path="head", elements=hidden * hidden + hidden, dtype_bytes=4),
        _dense(labels(text), hidden),
    )


def _modernbert_tokens(text: Fields) -> tuple[Part, ...]:
    """Return a dense layer and a norm in the model's dtype, and the classifier."""
    hidden = text.integer("hidden_size")
    return (Tensor(path="head", elements=hidden * hidden + hidden), _dense(labels(text), hidden))


def _bge_head(text: Fields) -> tuple[Part, ...]:
    """BGE-M3: a weight per token and a vector per token beside the embedding (roberta.py)."""
    hidden = text.integer("hidden_size")
    return _dense(1, hidden), _dense(text.integer("colbert_dim", hidden), hidden)


def _token_head(text: Fields) -> tuple[Part, ...]:
    return (_dense(labels(text), text.integer("hidden_size")),)


_BERT = Encoder()
_ROBERTA = Encoder(position_offset=True)
_GTE = Encoder(gated=True, up_bias=False, positions=False, ropes=1)
_MODERN = Encoder(gated=True, bias=False, up_bias=False, norm_bias=False, positions=False, types=False, ropes=2,
                  first_layer_without_norm=True, final_norms=1)  # fmt: skip


ENCODERS: Mapping[str, Encoder] = {
    "BertModel": _BERT,
    "BertForSequenceClassification": replace(_BERT, head=_bert_head),
    "BertForTokenClassification": replace(_BERT, head=_token_head),
    "RobertaModel": _ROBERTA,
    "XLMRobertaModel": _ROBERTA,
    "RobertaForMaskedLM": _ROBERTA,
    "RobertaForSequenceClassification": replace(_ROBERTA, head=_bert_head),
    "XLMRobertaForSequenceClassification": replace(_ROBERTA, head=_bert_head),
    **dict.fromkeys(
        ("RobertaForTokenClassification", "XLMRobertaForTokenClassification"), replace(_ROBERTA, head=_token_head)
    ),
    "BgeM3EmbeddingModel": replace(_ROBERTA, head=_bge_head),
    "ModernBertModel": _MODERN,
    "ModernBertForTokenClassification": replace(_MODERN, head=_modernbert_tokens),
    "ModernBertForSequenceClassification": replace(_MODERN, head=_modernbert_head),
    "GteModel": _GTE,
    "GteNewModel": _GTE,
    "GteNewForSequenceClassification": replace(_GTE, head=_bert_head),
}
