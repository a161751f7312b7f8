"""EAGLE-3 heads: checkpoints of their own that draft tokens from the hidden states of the model they were trained for.

Source: ``llama_eagle3.py`` and ``qwen3_eagle3.py`` in model_executor/models, ``configs/eagle.py`` and
``configs/speculators/algos.py`` in transformers_utils, vLLM 0.19.0 to 0.33.0.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from planner.architecture import Architecture, Attention, Column, Layer, Linear, Part, Tensor, Vocabulary
from planner.architecture.parts import linear, unquantized
from planner.config_json.decoder import decoder
from planner.config_json.fields import Fields
from planner.config_json.registry import TEXT
from planner.errors import UnsupportedModel

_BASES = {
    **dict.fromkeys(
        ("Eagle3LlamaForCausalLM", "LlamaForCausalLMEagle3", "Eagle3Qwen2_5vlForCausalLM", "Eagle3Qwen3vlForCausalLM",
         "Eagle3MiniMaxM2ForCausalLM"),
        "LlamaForCausalLM",
    ),
    "Eagle3Qwen3ForCausalLM": "Qwen3ForCausalLM",
}  # fmt: skip
"""The class whose layers a head has, by the head's."""
_LAYERS_OF = {"llama": "Eagle3LlamaForCausalLM", "qwen3": "Eagle3Qwen3ForCausalLM"}
"""The class of a head in the format of the library speculators, by the model type of its layers."""
_STATES = 3
"""The layers of the model whose hidden states a head reads, where its config names none."""
_INDEX_BYTES = 8


def is_eagle3(name: str, config: Fields) -> bool:
    """Whether a config is that of an EAGLE-3 head; some name the plain class, and have a vocabulary for drafts."""
    if config.text("speculators_model_type"):
        return config.text("speculators_model_type") == "eagle3"
    return name in _BASES or (name == "LlamaForCausalLM" and config.has("draft_vocab_size"))


def eagle3(name: str, config: Fields) -> Architecture:
    """Return what a head is made of, with a token embedding of its own; ``target_hidden_size`` is that of its model.

    The engine lets a head that brings no embedding use the model's; which one does stands in its files alone.

    Raises:
        UnsupportedModel: its layers are of a class that is not known here.
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    text, name = _inner(name, config)
    base = decoder(_BASES[name], TEXT[_BASES[name]], text)
    hidden = base.hidden_size
    theirs = config.integer("target_hidden_size", hidden)
    drafted = config.integer("draft_vocab_size", base.vocab_size)
    first, *others = base.layers
    return replace(
        base,
        name=name,
        layers=(_normed(_reading_both(first, hidden), hidden), *(_normed(layer, hidden) for layer in others)),
        has_head=False,
        tie_word_embeddings=False,
        last=(*_joining(config, theirs, hidden), *_head(drafted, base)),
        target_hidden_size=theirs,
    )


def _inner(name: str, config: Fields) -> tuple[Fields, str]:
    """Return where the facts of a head's layers stand, and the class of the head."""
    if not config.has("speculators_model_type"):
        return config, name if name in _BASES else "Eagle3LlamaForCausalLM"
    text = config.section("transformer_layer_config")
    kind = text.text("model_type") or "llama"
    if kind not in _LAYERS_OF:
        raise UnsupportedModel(config.where, f"a head that drafts with layers of {kind}")
    return text, _LAYERS_OF[kind]


def _reading_both(layer: Layer, hidden: int) -> Layer:
    """Return the first layer, whose query, key and value read the token and the hidden state side by side."""
    attention = layer.attention
    assert attention is not None  # the layers of both classes attend
    return replace(layer, extra=(*layer.extra, _second_half(attention, hidden)))


def _second_half(attention: Attention, hidden: int) -> Part:
    """Return the rows of query, key and value for the hidden state."""
    columns = (
        Column("hidden.q_proj", attention.num_heads, attention.head_dim),
        Column("hidden.k_proj", attention.num_kv_heads, attention.head_dim, replicated=True),
        Column("hidden.v_proj", attention.num_kv_heads, attention.value_head_dim, replicated=True),
    )
    return Linear(columns=columns, inputs=hidden, split="column", quantizable=False)


def _normed(layer: Layer, hidden: int) -> Layer:
    return replace(layer, extra=(*layer.extra, Tensor(path="hidden_norm", elements=hidden)))


def _joining(config: Fields, theirs: int, hidden: int) -> tuple[Part, ...]:
    """Return what makes one hidden state of those that are read, whole on every rank."""
    stated: Mapping[str, Any] = config.section("eagle_config").values if config.has("eagle_config") else {}
    if stated.get("use_aux_hidden_state") is False:
        return ()
    named = config.sequence("eagle_aux_hidden_state_layer_ids") or stated.get("eagle_aux_hidden_state_layer_ids")
    inputs = theirs * config.integer("num_aux_hidden_states", len(named) if named else _STATES)
    normed = stated.get("norm_before_fc", config.flag("norm_before_fc")) or config.flag("fc_norm")
    norms = (Tensor(path="input_norm", elements=inputs),) if normed else ()
    return (*norms, unquantized(linear("fc", hidden, inputs)))


def _head(drafted: int, base: Architecture) -> tuple[Part, ...]:
    """Return the output head, and which token of the model's each of its own is where it has fewer."""
    head = Vocabulary(path="lm_head", rows=drafted, width=base.hidden_size)
    if drafted == base.vocab_size:
        return (head,)
    return (head, Tensor(path="draft_id_to_target_id", elements=drafted, dtype_bytes=_INDEX_BYTES))
