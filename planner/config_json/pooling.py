"""Decoders that embed, rank or classify instead of generating text: no output head, no sampler."""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Architecture, Part, Tensor
from planner.architecture.parts import linear
from planner.config_json.decoder import decoder
from planner.config_json.encoders import labels
from planner.config_json.fields import Fields
from planner.config_json.registry import TEXT

# Classes of decoders without a head (models/registry.py:_EMBEDDING_MODELS, vLLM 0.33.0).
_BODIES: Mapping[str, str] = {
    "LlamaModel": "LlamaForCausalLM", "MistralModel": "MistralForCausalLM", "Qwen2Model": "Qwen2ForCausalLM",
    "Qwen3Model": "Qwen3ForCausalLM", "Gemma2Model": "Gemma2ForCausalLM", "Gemma3TextModel": "Gemma3ForCausalLM",
    "LlamaBidirectionalModel": "LlamaForCausalLM", "LlamaBidirectionalForSequenceClassification": "LlamaForCausalLM",
    "GPT2ForSequenceClassification": "GPT2LMHeadModel", "Qwen2ForProcessRewardModel": "Qwen2ForCausalLM",
    "DeepseekV3BidirectionalModel": "DeepseekV3ForCausalLM",
}  # fmt: skip
# Labels of the reward models that have a class of their own: whether two layers score, or one
# (models/qwen2_rm.py, internlm2.py, vLLM 0.32.0).
_REWARDS = {"Qwen2ForRewardModel": 1, "Qwen2ForProcessRewardModel": 2}
_ONE_SCORE = ("InternLM2ForRewardModel",)
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "ForRewardModel")


def is_pooling_decoder(name: str) -> bool:
    """Whether a class is a decoder that pools."""
    return body(name) in TEXT


def pooling_decoder(name: str, config: Fields) -> Architecture:
    """Return the architecture of a decoder that pools.

    Raises:
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    architecture = as_pooling(decoder(name, TEXT[body(name)], config))
    if config.flag("use_bidirectional_attention") or "Bidirectional" in name:
        architecture = _without_cache(architecture)
    if name in _REWARDS:
        return replace(architecture, last=_reward_head(architecture.hidden_size, _REWARDS[name]))
    if not name.endswith(_CLASSIFIERS):
        return architecture
    count = 1 if name in _ONE_SCORE else labels(config)
    hidden = architecture.hidden_size
    score: Part = Tensor(path="score", elements=count * hidden, dtype_bytes=4)
    if name in _ONE_SCORE:  # shared out over ranks by its inputs
        score = Tensor(path="v_head", elements=hidden, each=count, split=True, dtype_bytes=4)
    return replace(architecture, last=(score,))


def _reward_head(hidden: int, count: int) -> tuple[Part, ...]:
    """Return two layers in fp32, the first column- and the second row-parallel."""
    first, second = (
        linear("score.0", hidden, hidden, "column", bias=True),
        linear("score.2", count, hidden, "row", bias=True),
    )
    return replace(first, quantizable=False, dtype_bytes=4), replace(second, quantizable=False, dtype_bytes=4)


def as_pooling(architecture: Architecture) -> Architecture:
    """Return a decoder as the engine loads it to pool, which is without its output head."""
    return replace(architecture, is_pooling=True, has_head=False)


def _without_cache(architecture: Architecture) -> Architecture:
    """Attention that looks both ways keeps nothing between steps."""
    layers = tuple(
        replace(layer, attention=replace(layer.attention, cached=False)) if layer.attention else layer
        for layer in architecture.layers
    )
    return replace(architecture, layers=layers)


def body(name: str) -> str:
    """Return the decoder class a pooling class is built on, or nothing."""
    if name in _BODIES:
        return _BODIES[name]
    for suffix in _CLASSIFIERS:
        if name.endswith(suffix):
            return name.removesuffix(suffix) + "ForCausalLM"
    return ""
