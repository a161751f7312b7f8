"""The recurrent layers a config describes."""

from planner.architecture import State
from planner.config_json.fields import Fields
from planner.units import ceil_div

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": None}


def gated_delta(text: Fields) -> State:
    """Gated delta net of Qwen3-Next and Qwen3.5 (layers/mamba/gdn/qwen_gdn_linear_attn.py, vLLM 0.33.0)."""
    return State(
        kind="gated-delta",
        heads=text.integer("linear_num_value_heads"),
        head_dim=text.integer("linear_value_head_dim"),
        key_heads=text.integer("linear_num_key_heads"),
        key_head_dim=text.integer("linear_key_head_dim"),
        conv_kernel=text.integer("linear_conv_kernel_dim"),
        state_dtype_bytes=state_dtype(text, "mamba_ssm_dtype"),
        path="linear_attn",
    )


def mamba2(text: Fields) -> State:
    """Mamba-2 under the names Granite, Bamba and Falcon-H1 use (layers/mamba/mamba_mixer2.py)."""
    heads = text.integer("mamba_n_heads")
    head_dim = text.get("mamba_d_head")
    inner = text.integer("mamba_d_ssm", text.integer("mamba_expand", 2) * text.integer("hidden_size"))
    return State(
        kind="mamba2",
        heads=heads,
        head_dim=inner // heads if head_dim in (None, "auto") else text.integer("mamba_d_head"),
        state_size=text.integer("mamba_d_state"),
        groups=text.integer("mamba_n_groups", 1),
        conv_kernel=text.integer("mamba_d_conv"),
        conv_bias=text.flag("mamba_conv_bias", True),
        projection_bias=text.flag("mamba_proj_bias"),
        norm=text.flag("mamba_rms_norm", True),
        path="mamba",
    )


def nemotron_mamba(text: Fields) -> State:
    """Mamba-2 under the names Nemotron-H uses; its state is fp32 by default (models/config.py, vLLM 0.33.0)."""
    return State(
        kind="mamba2",
        heads=text.integer("mamba_num_heads"),
        head_dim=text.integer("mamba_head_dim"),
        state_size=text.integer("ssm_state_size"),
        groups=text.integer("n_groups", 1),
        conv_kernel=text.integer("conv_kernel"),
        conv_bias=text.flag("use_conv_bias", True),
        projection_bias=text.flag("use_bias"),
        state_dtype_bytes=state_dtype(text, "mamba_ssm_cache_dtype", "float32"),
        path="mixer",
    )


def mamba1(text: Fields) -> State:
    """Mamba-1 as Jamba uses it (layers/mamba/mamba_mixer.py)."""
    hidden = text.integer("hidden_size")
    rank = text.get("mamba_dt_rank")
    return State(
        kind="mamba1",
        heads=1,
        head_dim=text.integer("mamba_expand", 2) * hidden,
        state_size=text.integer("mamba_d_state"),
        conv_kernel=text.integer("mamba_d_conv"),
        time_step_rank=ceil_div(hidden, 16) if rank in (None, "auto") else text.integer("mamba_dt_rank"),
        conv_bias=text.flag("mamba_conv_bias", True),
        projection_bias=text.flag("mamba_proj_bias"),
        path="mamba",
    )


def conv_state(text: Fields) -> State:
    """The short convolution of LFM2, which keeps its last inputs (layers/mamba/short_conv.py)."""
    return State(
        kind="short-conv",
        heads=1,
        head_dim=text.integer("conv_dim", text.integer("hidden_size")),
        conv_kernel=text.integer("conv_L_cache"),
        conv_bias=text.flag("conv_bias"),
        path="conv",
    )


def kimi_delta(text: Fields) -> State:
    """Kimi delta attention (layers/kda.py, vLLM 0.12.0; models/kimi_k3, 0.33.0); its state is fp32."""
    inner = text.section("linear_attn_config")
    heads, size = inner.integer("num_heads"), inner.integer("head_dim")
    return State(
        kind="kimi-delta",
        heads=heads,
        head_dim=size,
        key_heads=heads,
        key_head_dim=size,
        conv_kernel=inner.integer("short_conv_kernel_size"),
        state_dtype_bytes=4,
        path="self_attn",
    )


def state_dtype(text: Fields, name: str, default: str = "auto") -> int | None:
    """Return the bytes of a state element that a config asks for; None follows the model's dtype."""
    value = text.text(name, default)
    if value not in _BYTES:
        raise text.error(name, f"{value!r} is not one of {', '.join(_BYTES)}")
    return _BYTES[value]
