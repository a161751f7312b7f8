"""What each dense decoder family adds to the common shape, read from the engine's model files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.architecture.layers import Norms

# A fact of a family: fixed, or the names of config fields any of which switches it on.
Switch = bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a decoder class differs from plain Llama.

    ``defaults`` are the config class's own values for keys that checkpoints leave out. Source per row: the model file
    of the same name under ``vllm/model_executor/models``, vLLM 0.33.0.
    """

    qkv_bias: Switch = False
    output_bias: Switch = False
    mlp_bias: Switch = False
    qk_norm: Norms = "none"
    norms: int = 2
    norm_bias: bool = False
    gated: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)


_LLAMA = Family(
    qkv_bias=("attention_bias", "bias", "qkv_bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",)
)
_QWEN2 = Family(qkv_bias=True)
_QWEN3 = Family(qkv_bias=("attention_bias",), qk_norm="head", defaults={"head_dim": 128})

DENSE: Mapping[str, Family] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen3ForCausalLM": _QWEN3,
    "Phi3ForCausalLM": _LLAMA,
    "GraniteForCausalLM": Family(qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",)),
    "GemmaForCausalLM": Family(
        qkv_bias=("attention_bias",),
        output_bias=("attention_bias",),
        defaults={"head_dim": 256, "tie_word_embeddings": True},
    ),
}
