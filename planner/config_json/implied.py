"""Experts, latents, states and windows that a config speaks of and the derived architecture does not have."""

from planner.architecture import Architecture
from planner.config_json.experts import IMPLYING
from planner.config_json.family import Family
from planner.config_json.fields import Fields

_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LATENTS = ("kv_lora_rank", "qk_rope_head_dim", "compress_ratios")
_STATES = (
    "linear_num_value_heads", "linear_attn_config", "mamba_n_heads", "mamba_num_heads", "mamba_d_state",
    "ssm_state_size", "mamba_ssm_cache_dtype", "conv_L_cache",
)  # fmt: skip
_WINDOWED = ("sliding_attention", "chunked_attention")


def refuse_what_is_left_out(text: Fields, family: Family, found: Architecture) -> None:
    """Refuse a config that states something of which nothing was sized: a spelling not known yet, or a wrong class.

    A family that has experts or states decides layer by layer; that none has them may be what the config says.

    Raises:
        InvalidConfig: a field implies experts, a latent cache, recurrent state or windows.
    """
    layers = found.layers
    if not family.mixture:
        for name in _COUNTS:
            if _above(text, name, 1):
                raise text.error(name, f"states experts, which {found.name} is not known to have")
        if not any(text.values.get(name) in (0, 1) for name in _COUNTS):
            _refuse(text, IMPLYING, "experts", found.name)
    latents = [(it.latent, it.compressed, it.parts) for layer in layers if (it := layer.attention)]
    if not any(any(facts) for facts in latents):
        _refuse(text, _LATENTS, "a latent cache", found.name)
    if not family.state:
        _refuse(text, _STATES, "recurrent state", found.name)
    kinds = text.values.get("layer_types")
    windows = any(layer.attention and (layer.attention.window or layer.attention.chunk) for layer in layers)
    if not windows and isinstance(kinds, list) and any(kind in kinds[: len(layers)] for kind in _WINDOWED):
        raise text.error("layer_types", f"states windows, which {found.name} is not known to have")


def _refuse(text: Fields, names: tuple[str, ...], what: str, model: str) -> None:
    for name in names:
        if text.values.get(name):
            raise text.error(name, f"implies {what}, which {model} is not known to have")


def _above(text: Fields, name: str, least: int) -> bool:
    value = text.values.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and value > least
