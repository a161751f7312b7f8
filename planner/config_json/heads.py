"""Heads that draft tokens (multi-token prediction): layers that checkpoints of some classes carry behind their own.

Source: ``deepseek_mtp.py``, ``glm4_moe_mtp.py``, ``glm4_moe_lite_mtp.py``, ``qwen3_next_mtp.py``, ``qwen3_5_mtp.py``
and ``mimo_mtp.py`` in model_executor/models, and ``hf_config_override`` in config/speculative.py, vLLM 0.21.0
to 0.33.0. Token embedding and output head are the model's own.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Column, Layer, Linear, Part, Tensor
from planner.architecture.parts import linear, unquantized
from planner.config_json.fields import Fields

_MAX_HEADS = 16
# The norms of the embedded token, of the hidden state that goes in, and of what comes out.
_NORMS = 3


class _Heads(Struct, frozen=True):
    """Where a config says how many heads there are, how many without it, and whether ranks split what joins inputs."""

    count: str
    split: bool = False
    absent: int = 0


_DEEPSEEK = _Heads("num_nextn_predict_layers")
_QWEN = _Heads("mtp_num_hidden_layers", split=True)
_CLASSES: Mapping[str, _Heads] = {
    **dict.fromkeys(
        ("DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM", "Glm4MoeForCausalLM",
         "Glm4MoeLiteForCausalLM", "MiMoForCausalLM"),
        _DEEPSEEK,
    ),
    "Qwen3NextForCausalLM": _Heads("num_nextn_predict_layers", split=True, absent=1),
    **dict.fromkeys(
        ("Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM", "Qwen3_5ForConditionalGeneration",
         "Qwen3_5MoeForConditionalGeneration"),
        _QWEN,
    ),
}  # fmt: skip
"""By class; whole configs keep the number in the section of their language model."""


def heads(architecture: Architecture, config: Fields) -> tuple[Layer, ...]:
    """Return the layers of the heads that a checkpoint carries, none where it carries none."""
    known = _CLASSES.get(architecture.name)
    if known is None:
        return ()
    text = config.section("text_config") if config.has("text_config") else config
    count = text.integer(known.count, known.absent, minimum=0, maximum=_MAX_HEADS)
    attending = [layer for layer in architecture.layers if layer.attention]
    if not count or not attending:
        return ()
    return (_head(attending[-1], architecture.hidden_size, split=known.split),) * count


def _head(last: Layer, hidden: int, *, split: bool) -> Layer:
    """Return a layer like the model's last that attends, which reads a token and a hidden state together."""
    joined: Linear = unquantized(linear("mtp.fc", hidden, 2 * hidden))
    if split:
        joined = Linear(columns=(Column("mtp.fc", hidden, 1),), inputs=2 * hidden, split="column")
    extra: tuple[Part, ...] = (*last.extra, joined, Tensor(path="mtp.norms", elements=_NORMS * hidden))
    return replace(last, extra=extra)
