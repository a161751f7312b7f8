"""An architecture and the flags of a server -> the kinds of attention layers that the engine looks for backends for."""

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Attention
from planner.engine.backends import AttentionLayer, Choice, Kind, load_backends
from planner.engine.flags import ServeFlags, whole_items
from planner.engine.profile import EngineProfile
from planner.facts.gpu import BF16_CAPABILITY, GPU
from planner.facts.quantization import Quantization

_HALF_NAMES = {"half": "float16", "float": "float32"}
_MIXED = "Gemma4"
"""Classes of this family keep to one backend where head sizes differ (models/config.py:Gemma4Config)."""


class Settings(Struct, frozen=True, kw_only=True):
    """What decides the backend beside the model: dtypes as the engine spells them, heads shared out over ranks.

    ``prefix`` says that tokens of an image attend to later ones in this version of the engine.
    """

    dtype: str
    cache: str
    ranks: int
    block_size: int | None
    prefix: bool


def attention_choices(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> tuple[tuple[AttentionLayer, Choice], ...]:
    """Return every kind of attention layer of a server with the engine's choice, in the order of the layers.

    Nothing where the GPU or the engine version is not one whose rules were read.
    """
    backends = load_backends(profile.version)
    capability = gpu.capability
    if backends is None or capability is None:
        return ()
    asked = flags.kv_cache_dtype
    settings = Settings(
        dtype=_dtype(architecture, flags, capability),
        cache=quantization.kv_cache_dtype or "auto" if asked == "auto" else asked,
        ranks=flags.tensor_parallel_size,
        block_size=flags.block_size,
        prefix=whole_items(architecture, profile),
    )
    only = flags.attention_backend.upper()
    apart = flags.context_parallel_size > 1
    layers = attention_layers(architecture, settings)
    choices = ((layer, backends.choose(layer, capability, only, dealt_out=apart)) for layer in layers)
    return tuple((layer, choice) for layer, choice in choices if choice is not None)


def backend_names(choices: tuple[tuple[AttentionLayer, Choice], ...]) -> str | None:
    """Return the backends of a server's attention layers, each once, in the order of the layers."""
    names = dict.fromkeys(choice.backend for _, choice in choices if choice.backend)
    return " + ".join(names) or None


def attention_layers(architecture: Architecture, settings: Settings) -> tuple[AttentionLayer, ...]:
    """Return the kinds of attention layers of a model, each once."""
    attentions = dict.fromkeys(layer.attention for layer in architecture.layers if layer.attention)
    sizes = {attention.head_dim for attention in attentions if not attention.latent}
    topk = max((attention.latent.index_topk for attention in attentions if attention.latent), default=0)
    found = (
        _layer(attention, architecture, settings, mixed=len(sizes) > 1, topk=topk)
        for attention in attentions
        if attention.latent or attention.compressed or attention.head_dim == attention.value_head_dim
    )
    return tuple(dict.fromkeys(found))


def _layer(
    attention: Attention, architecture: Architecture, settings: Settings, *, mixed: bool, topk: int
) -> AttentionLayer:
    kind: Kind = "decoder" if attention.cached or attention.shares_kv else "encoder_only"
    plain = AttentionLayer(
        kind=kind,
        head_size=attention.head_dim,
        dtype=settings.dtype,
        cache=settings.cache,
        heads=max(1, attention.num_heads // settings.ranks),
        block_size=settings.block_size,
    )
    if attention.compressed:
        return replace(plain, kind="compressed")
    if latent := attention.latent:
        return replace(
            plain,
            kind="latent",
            head_size=latent.kv_rank + latent.rope_head_dim,
            index_topk=topk,
            nope_head_dim=latent.nope_head_dim,
            rope_head_dim=latent.rope_head_dim,
            value_head_dim=latent.value_head_dim,
        )
    return replace(
        plain,
        sinks=attention.sinks,
        prefix=settings.prefix,
        window=attention.window is not None,
        mixed=mixed and architecture.name.startswith(_MIXED),
    )


def _dtype(architecture: Architecture, flags: ServeFlags, capability: int) -> str:
    """Return the dtype of a server; one left to the engine is never fp32, and bf16 where the GPU has it.

    Source: ``config/model.py:_get_and_verify_dtype`` 0.20.0 to 0.33.0.
    """
    if flags.dtype != "auto":
        return _HALF_NAMES.get(flags.dtype, flags.dtype)
    return "float16" if architecture.torch_dtype == "float16" or capability < BF16_CAPABILITY else "bfloat16"
