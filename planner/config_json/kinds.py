"""Which kind each layer is: full, sliding or chunked attention, recurrent state, or none."""

from collections.abc import Callable

from planner.config_json.fields import Fields

_KINDS = {
    "full_attention": "full", "attention": "full", "full": "full", "global": "full", "global_attention": "full",
    "sliding_attention": "sliding", "sliding_window": "sliding", "local": "sliding", "local_attention": "sliding",
    "chunked_attention": "chunked", "linear_attention": "state", "mamba": "state", "conv": "state",
    "recurrent": "state", "hybrid": "both", "indexed_attention": "full", "deepseek_sparse_attention": "full",
}  # fmt: skip
# What configs without max_window_layers mean (transformers' Qwen2Config and Qwen3Config).
_WINDOW_LAYERS = 28


def uniform_window(text: Fields, count: int) -> tuple[str, ...]:
    """All layers slide when the config states a window and does not switch it off, as the engine reads it.

    With ``layer_types`` of more than one kind the window does not apply (engine/arg_utils.py, vLLM 0.33.0).
    """
    types = set(text.texts("layer_types"))
    mixed = bool(types) and types != {"sliding_attention"}
    off = not text.flag("use_sliding_window", True)
    sliding = not mixed and not off and bool(text.optional_integer("sliding_window", minimum=0))
    return ("sliding" if sliding else "full",) * count


def windows_from(text: Fields, count: int) -> int | None:
    """Return the layer from which a config asks for windows where ``max_window_layers`` leaves some layers without.

    Source: ``models/qwen2.py:Qwen2Model.__init__`` 0.10.2 to 0.33.0, which asserts that no layer is left out where
    kinds of layers differ, and transformers' Qwen2Config: layers slide from that number on.
    """
    if not (text.flag("use_sliding_window") and text.optional_integer("sliding_window", minimum=0)):
        return None
    first = text.integer("max_window_layers", _WINDOW_LAYERS, minimum=0)
    kinds = set(text.texts("layer_types"))
    mixed = len(kinds) > 1 if kinds else 0 < first < count
    return first if mixed and first != count else None


def listed(text: Fields, count: int, name: str = "layer_types") -> tuple[str, ...]:
    """Return the kinds a config lists, one per layer.

    Raises:
        InvalidConfig: the list has another length than the model, or names an unknown kind.
    """
    types = text.texts(name)
    if len(types) < count:
        raise text.error(name, f"lists {len(types)} layers, the model has {count}")
    for index, kind in enumerate(types):
        if kind not in _KINDS:
            raise text.error(f"{name}[{index}]", f"{kind!r} is not a known kind of layer")
    return tuple(_KINDS[kind] for kind in types[:count])


def pattern(period: int, regular: str, special: str, field: str = "") -> Callable[[Fields, int], tuple[str, ...]]:
    """Return a rule: every ``period``-th layer is ``special``; ``layer_types`` or ``field`` overrides it."""

    def kinds(text: Fields, count: int) -> tuple[str, ...]:
        if text.has("layer_types"):
            return listed(text, count)
        step = text.integer(field, period) if field else period
        return tuple(special if (index + 1) % step == 0 else regular for index in range(count))

    return kinds


def listed_or_full(text: Fields, count: int) -> tuple[str, ...]:
    """Return the kinds a config lists; without a list all layers attend to everything."""
    return listed(text, count) if text.has("layer_types") else ("full",) * count


def all_full(text: Fields, count: int) -> tuple[str, ...]:
    """Every layer attends to everything."""
    return ("full",) * count
