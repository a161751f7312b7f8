"""A decoder's config -> Architecture, driven by its family's table row."""

from collections.abc import Iterator, Sequence

from planner.architecture import Architecture, FeedForward, Layer, Mixture, Rotary
from planner.config_json.attention import grouped_query, head_dim
from planner.config_json.family import Family, switched
from planner.config_json.fields import MAX_LAYERS, Fields
from planner.config_json.implied import refuse_what_is_left_out
from planner.config_json.kinds import uniform_window, windows_from
from planner.config_json.rope import context_limits, rotaries, scaled_limit

_DTYPES = ("bfloat16", "float16", "float32")


def decoder(name: str, family: Family, config: Fields) -> Architecture:
    """Return the architecture of a decoder whose facts stand in ``config``.

    Raises:
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    text = config.renamed(family.names, family.defaults)
    # NemotronH configs since transformers 5 list their layers and leave the count out.
    listed = len(text.sequence("layers_block_type")) or None
    count = text.integer("num_hidden_layers", listed, maximum=MAX_LAYERS)
    kinds = (family.kinds or uniform_window)(text, count)
    layers = tuple(_layers(text, family, kinds))
    attentions = [layer.attention for layer in layers if layer.attention]
    widest = max(attentions, key=lambda attention: attention.num_heads * attention.head_dim, default=None)
    limit, longest = context_limits(text)
    found = Architecture(
        name=name,
        model_type=text.text("model_type"),
        hidden_size=text.integer("hidden_size"),
        intermediate_size=max((_widest_mlp(layer) for layer in layers), default=0),
        num_attention_heads=widest.num_heads if widest else 0,
        num_kv_heads=widest.num_kv_heads if widest else 0,
        head_dim=widest.head_dim if widest else 0,
        vocab_size=text.integer("vocab_size"),
        max_model_len=limit,
        longest_model_len=longest,
        scaled_model_len=scaled_limit(text),
        torch_dtype=torch_dtype(text),
        layers=layers,
        rotaries=_rotaries(text, family, layers),
        tie_word_embeddings=text.flag("tie_word_embeddings"),
        head_bias=switched(text, family.head_bias),
        final_norms=int(switched(text, family.final_norm)),
        final_norm_bias=family.norm_bias,
        first=family.first(text) if family.first else (),
        last=family.last(text) if family.last else (),
        embedding_width=text.optional_integer(family.embedding_width) if family.embedding_width else None,
        windows_from=windows_from(text, count) if family.kinds is None else None,
    )
    refuse_what_is_left_out(text, family, found)
    return found


def _layers(text: Fields, family: Family, kinds: Sequence[str]) -> Iterator[Layer]:
    """Yield the layers; one object for all that are alike, so that their weights are added up once."""
    known: dict[tuple[str, Mixture | None], Layer] = {}
    alike: dict[Layer, Layer] = {}
    told_apart = bool(family.attention or family.feed_forward or family.layer_extra or text.has("per_layer_config"))
    for index, kind in enumerate(kinds):
        own = text.of_layer(index)
        mixture = family.mixture(own, index, kind) if family.mixture else None
        if told_apart or (kind, mixture) not in known:
            layer = _layer(own, family, index, kind, mixture)
            known[kind, mixture] = alike.setdefault(layer, layer)
        yield known[kind, mixture]


def _layer(text: Fields, family: Family, index: int, kind: str, mixture: Mixture | None) -> Layer:
    attends = kind in ("full", "sliding", "chunked", "both")
    state = family.state(text) if family.state and kind in ("state", "both") else None
    return Layer(
        attention=(family.attention or grouped_query)(text, family, index, kind) if attends else None,
        state=state,
        feed_forward=_feed_forward(text, family, index, kind, mixture is not None),
        mixture=mixture,
        norms=family.norms,
        norm_bias=family.norm_bias,
        extra=family.layer_extra(text, index, kind) if family.layer_extra else (),
    )


def _feed_forward(text: Fields, family: Family, index: int, kind: str, has_mixture: bool) -> FeedForward | None:
    if family.feed_forward:
        return family.feed_forward(text, family, index, kind)
    if has_mixture:
        return None
    return FeedForward(
        intermediate_size=text.integer("intermediate_size"),
        gated=family.gated,
        bias=switched(text, family.mlp_bias),
        path=family.mlp_path,
    )


def _widest_mlp(layer: Layer) -> int:
    dense = layer.feed_forward.intermediate_size if layer.feed_forward else 0
    return max(dense, layer.mixture.shared_intermediate_size if layer.mixture else 0)


def _rotaries(text: Fields, family: Family, layers: tuple[Layer, ...]) -> tuple[Rotary, ...]:
    if family.rotaries:
        return family.rotaries(text)
    without = text.text("position_embedding_type") == "nope"
    if not family.rotary or without or not any(layer.attention for layer in layers):
        return ()
    latent = next((layer.attention.latent for layer in layers if layer.attention and layer.attention.latent), None)
    size = latent.rope_head_dim if latent else head_dim(text)
    found = rotaries(text, size, layers, unscaled_windows=family.unscaled_windows)
    # The indexer of sparse attention rotates pairs in another order, with a table of its own (deepseek_v32/attention).
    return found * 2 if latent and latent.index_topk else found


def torch_dtype(text: Fields) -> str:
    """Return the dtype weights are kept in unless ``--dtype`` says otherwise: float32 checkpoints load as bfloat16.

    A config that states no dtype counts as float32 (config/model.py of vLLM).
    """
    name = text.text("dtype") or text.text("torch_dtype") or "float32"
    name = name.removeprefix("torch.")
    if name not in _DTYPES:
        raise text.error("torch_dtype", f"{name!r} is not one of {', '.join(_DTYPES)}")
    return "bfloat16" if name == "float32" else name
