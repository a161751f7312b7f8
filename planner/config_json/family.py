"""How a decoder class differs from plain Llama, as data."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from planner.architecture import Attention, FeedForward, Mixture, Norms, Part, Rotary, State
from planner.config_json.fields import Fields

# A fact of a family: fixed, or the names of config fields any of which switches it on.
Switch = bool | tuple[str, ...]


class Family(Struct, frozen=True, kw_only=True):
    """How a decoder class differs from plain Llama.

    ``kinds`` names the kind of each layer: ``full``, ``sliding``, ``chunked``, ``state``, ``both`` (attention and
    state side by side), ``none`` (no mixer). The other functions return the facts of one layer from the config, the
    layer's index and its kind. ``rotary`` is false where the engine keeps no rotary table, ``unscaled_windows`` true
    where windowed layers have one without the scaling of the others; ``embedding_width`` names the field with the
    width of embeddings where that is not the hidden size. ``defaults`` are the config class's own
    values for keys that checkpoints leave out; ``names`` maps common field names to the family's.
    """

    kinds: "Callable[[Fields, int], tuple[str, ...]] | None" = None
    attention: "Callable[[Fields, Family, int, str], Attention] | None" = None
    feed_forward: "Callable[[Fields, Family, int, str], FeedForward | None] | None" = None
    mixture: "Callable[[Fields, int, str], Mixture | None] | None" = None
    state: Callable[[Fields], State] | None = None
    layer_extra: Callable[[Fields, int, str], tuple[Part, ...]] | None = None
    first: Callable[[Fields], tuple[Part, ...]] | None = None
    last: Callable[[Fields], tuple[Part, ...]] | None = None
    rotaries: Callable[[Fields], tuple[Rotary, ...]] | None = None
    qkv_bias: Switch = False
    output_bias: Switch = False
    mlp_bias: Switch = False
    head_bias: Switch = False
    qk_norm: Norms = "none"
    qk_norm_switch: Switch = True
    output_gate: Switch = False
    sinks: Switch = False
    norms: int = 2
    norm_bias: bool = False
    final_norm: Switch = True
    embedding_width: str = ""
    gated: bool = True
    rotary: bool = True
    unscaled_windows: bool = False
    mlp_path: str = "mlp"
    attention_path: str = "self_attn"
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def switched(text: Fields, switch: Switch) -> bool:
    """Whether a fact of a family holds for this config."""
    if isinstance(switch, bool):
        return switch
    return any(text.flag(name) for name in switch)
