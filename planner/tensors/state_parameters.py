"""The weights of recurrent layers."""

from typing import assert_never

from planner.architecture import Column, Linear, Part, State, Tensor
from planner.architecture.parts import linear, unquantized


def state_parts(state: State, hidden_size: int) -> tuple[Part, ...]:
    """Return the weights of a recurrent layer.

    Source: ``layers/mamba`` of vLLM 0.33.0 (gdn/qwen_gdn_linear_attn.py, mamba_mixer2.py, mamba_mixer.py,
    short_conv.py).
    """
    if state.kind == "gated-delta":
        return _gated_delta(state, hidden_size)
    if state.kind == "mamba2":
        return _mamba2(state, hidden_size)
    if state.kind == "mamba1":
        return _mamba1(state, hidden_size)
    if state.kind == "short-conv":
        return _short_conv(state, hidden_size)
    if state.kind == "kimi-delta":
        return _kimi_delta(state, hidden_size)
    if state.kind == "lightning":
        return _lightning(state, hidden_size)
    if state.kind == "bailing-delta":
        return _kimi_delta(state, hidden_size)
    assert_never(state.kind)


def _gated_delta(state: State, hidden_size: int) -> tuple[Part, ...]:
    keys, values, path = state.key_heads * state.key_head_dim, state.inner_size, state.path
    qkvz = (
        Column(f"{path}.in_proj_qkv", 2 * keys + values, 1),
        Column(f"{path}.in_proj_z", values, 1),
    )
    gates = (Column(f"{path}.in_proj_b", state.heads, 1), Column(f"{path}.in_proj_a", state.heads, 1))
    return (
        _convolution(path, 2 * keys + values, state.conv_kernel, False),
        Linear(columns=qkvz, inputs=hidden_size, split="column"),
        Linear(columns=gates, inputs=hidden_size, split="column"),
        Tensor(path=f"{path}.dt_bias", elements=state.heads, split=True),
        Tensor(path=f"{path}.A_log", elements=state.heads, split=True, dtype_bytes=4),
        Tensor(path=f"{path}.norm", elements=state.head_dim),
        linear(f"{path}.out_proj", hidden_size, values, "row"),
    )


def _mamba2(state: State, hidden_size: int) -> tuple[Part, ...]:
    inner, grouped, path = state.inner_size, state.groups, state.path
    groups = [Column(f"{path}.in_proj", grouped, state.state_size, replicated=True)] * 2
    columns = (
        Column(f"{path}.in_proj", inner, 1),
        Column(f"{path}.in_proj", inner, 1),
        *groups,
        Column(f"{path}.in_proj", state.heads, 1),
    )
    convolved = Linear(
        columns=(Column(f"{path}.conv1d", inner, 1), *groups),
        inputs=state.conv_kernel,
        split="column",
        bias=state.conv_bias,
    )
    parts: list[Part] = [
        unquantized(convolved),
        Linear(columns=columns, inputs=hidden_size, split="column", bias=state.projection_bias),
        Tensor(path=f"{path}.A", elements=state.heads, split=True, dtype_bytes=4),
        Tensor(path=f"{path}.D", elements=2 * state.heads, split=True),
        linear(f"{path}.out_proj", hidden_size, inner, "row", bias=state.projection_bias),
    ]
    if state.norm:
        parts.append(Tensor(path=f"{path}.norm", elements=inner, split=True))
    return tuple(parts)


def _mamba1(state: State, hidden_size: int) -> tuple[Part, ...]:
    inner, rank, path = state.inner_size, state.time_step_rank, state.path
    parts: list[Part] = [
        _convolution(path, inner, state.conv_kernel, state.conv_bias),
        unquantized(linear(f"{path}.in_proj", 2 * inner, hidden_size, "column", bias=state.projection_bias)),
        unquantized(linear(f"{path}.x_proj", rank + 2 * state.state_size, inner, "row")),
        unquantized(linear(f"{path}.dt_proj", inner, rank, "column", bias=True)),
        Tensor(path=f"{path}.A", elements=inner * state.state_size, split=True, dtype_bytes=4),
        Tensor(path=f"{path}.D", elements=inner, split=True),
        unquantized(linear(f"{path}.out_proj", hidden_size, inner, "row", bias=state.projection_bias)),
    ]
    if state.norm:
        parts.append(Tensor(path=f"{path}.norms", elements=rank + 2 * state.state_size))
    return tuple(parts)


def _short_conv(state: State, hidden_size: int) -> tuple[Part, ...]:
    inner, path = state.inner_size, state.path
    columns = tuple(Column(f"{path}.in_proj", inner, 1) for _ in range(3))
    return (
        _convolution(path, inner, state.conv_kernel, state.conv_bias),
        Linear(columns=columns, inputs=hidden_size, split="column", bias=state.conv_bias),
        linear(f"{path}.out_proj", hidden_size, inner, "row", bias=state.conv_bias),
    )


def _kimi_delta(state: State, hidden_size: int) -> tuple[Part, ...]:
    inner, size, path = state.inner_size, state.head_dim, state.path
    columns = tuple(Column(f"{path}.{name}", inner, 1) for name in ("q_proj", "k_proj", "v_proj"))
    kernels = linear(f"{path}.conv1d", 3 * inner, state.conv_kernel, "column")
    return (
        Linear(columns=columns, inputs=hidden_size, split="column"),
        *_delta_gate(state, "f", hidden_size),
        Tensor(path=f"{path}.dt_bias", elements=inner, split=True, dtype_bytes=4),
        linear(f"{path}.b_proj", state.heads, hidden_size, "column"),
        Linear(columns=kernels.columns, inputs=kernels.inputs, split="column", quantizable=False, dtype_bytes=4),
        Tensor(path=f"{path}.A_log", elements=state.heads, split=True, dtype_bytes=4),
        *_delta_gate(state, "g", hidden_size),
        Tensor(path=f"{path}.o_norm", elements=size),
        linear(f"{path}.o_proj", hidden_size, inner, "row"),
    )


def _lightning(state: State, hidden_size: int) -> tuple[Part, ...]:
    """Return linear attention without a convolution (linear/bailing_linear_attn.py); queries and keys have norms."""
    inner, path = state.inner_size, state.path
    columns = tuple(Column(f"{path}.query_key_value", state.heads, state.head_dim) for _ in range(3))
    return (
        Linear(columns=columns, inputs=hidden_size, split="column", bias=state.projection_bias),
        Tensor(path=f"{path}.norms", elements=2 * state.head_dim * state.norm),
        linear(f"{path}.g_proj", inner, hidden_size, "column"),
        linear(f"{path}.dense", hidden_size, inner, "row", bias=state.output_bias),
        Tensor(path=f"{path}.g_norm", elements=inner, split=True),
    )


def _delta_gate(state: State, name: str, hidden_size: int) -> tuple[Part, ...]:
    """Return a gate over all values: by way of one head's width, or in one product (bailing_moe_v3.py)."""
    inner, size, path = state.inner_size, state.head_dim, state.path
    if state.kind == "bailing-delta" or (name == "g" and state.full_rank_gate):
        return (linear(f"{path}.{name}_proj", inner, hidden_size, "column"),)
    return (
        linear(f"{path}.{name}_a_proj", size, hidden_size),
        linear(f"{path}.{name}_b_proj", inner, size, "column"),
    )


def _convolution(path: str, channels: int, kernel: int, bias: bool) -> Linear:
    return unquantized(linear(f"{path}.conv1d", channels, kernel, "column", bias=bias))
