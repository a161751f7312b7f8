"""Multimodal classes: the language model inside and the tower beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planner.architecture import Architecture, Vision
from planner.config_json import towers
from planner.config_json.decoder import decoder
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kimi_tower import kimi_tower
from planner.config_json.registry import TEXT
from planner.errors import UnsupportedModel


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A multimodal class: the family of its language model (empty: named by the text config) and its tower.

    ``section`` holds the text config; where it is absent the text fields stand at the top level. ``ties_inside`` says
    that the text config alone decides about tying the output head, which the outer one does otherwise.
    """

    text: str
    tower: Callable[[Fields, Fields], Vision | None]
    section: str = "text_config"
    ties_inside: bool = False


# The class a text config's model_type stands for, where a wrapper takes any of several.
_BY_TYPE = {
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    "mistral": "MistralForCausalLM", "llama": "LlamaForCausalLM", "ministral3": "Ministral3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM", "mistral4": "MistralLarge3ForCausalLM", "internlm2": "InternLM2ForCausalLM",
}  # fmt: skip

WRAPPERS: Mapping[str, Wrapper] = {
    "Qwen2VLForConditionalGeneration": Wrapper("Qwen2ForCausalLM", towers.qwen2_tower),
    "Qwen2_5_VLForConditionalGeneration": Wrapper("Qwen2ForCausalLM", towers.qwen2_5_tower),
    "Qwen3VLForConditionalGeneration": Wrapper("Qwen3ForCausalLM", towers.qwen3_tower),
    "Qwen3VLMoeForConditionalGeneration": Wrapper("Qwen3MoeForCausalLM", towers.qwen3_tower),
    "Qwen3_5ForConditionalGeneration": Wrapper("Qwen3_5ForCausalLM", towers.qwen3_tower, ties_inside=True),
    "Qwen3_5MoeForConditionalGeneration": Wrapper("Qwen3_5MoeForCausalLM", towers.qwen3_tower, ties_inside=True),
    "Gemma3ForConditionalGeneration": Wrapper("Gemma3ForCausalLM", towers.gemma3_tower),
    "Gemma4ForConditionalGeneration": Wrapper("Gemma4ForCausalLM", towers.gemma4_tower),
    "Mistral3ForConditionalGeneration": Wrapper("", towers.mistral3_tower),
    "LlavaForConditionalGeneration": Wrapper("", towers.llava_tower),
    "LlavaNextForConditionalGeneration": Wrapper("", towers.llava_tower),
    "Llama4ForConditionalGeneration": Wrapper("Llama4ForCausalLM", towers.llama4_tower),
    "InternVLForConditionalGeneration": Wrapper("", towers.internvl_tower),
    "KimiK25ForConditionalGeneration": Wrapper("DeepseekV3ForCausalLM", kimi_tower),
    "Glm4vForConditionalGeneration": Wrapper("Glm4ForCausalLM", towers.glm4v_tower),
    "Glm4vMoeForConditionalGeneration": Wrapper("Glm4MoeForCausalLM", towers.glm4v_tower),
}


def wrapped(name: str, config: Fields) -> Architecture:
    """Return the architecture of a multimodal class.

    Raises:
        UnsupportedModel: the language model inside, or its encoder, is not one this package can size.
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    wrapper = WRAPPERS[name]
    inner = _text_model(wrapper, config)
    family = _family(wrapper, inner)
    text = _inherited(wrapper, config, inner)
    architecture = decoder(name, family, text)
    return replace(architecture, vision=wrapper.tower(config, text))


def _text_model(wrapper: Wrapper, config: Fields) -> Fields:
    """Return the object that describes the language model: a nested one, or the whole config."""
    inner = config.section(wrapper.section)
    if inner.values:
        return inner
    if config.has(wrapper.section) or not config.has("hidden_size"):
        raise config.error(wrapper.section, "missing or empty; it describes the language model inside")
    return config


def _family(wrapper: Wrapper, inner: Fields) -> Family:
    name = wrapper.text
    if not name:
        kind = inner.text("model_type") or inner.known.kind
        name = _BY_TYPE.get(kind, "")
        if not name:
            raise UnsupportedModel(inner.where, f"language model of type {kind!r}")
    return TEXT[name]


def _inherited(wrapper: Wrapper, config: Fields, inner: Fields) -> Fields:
    """Return the text part with what the outer config decides for it.

    Whether the output head is tied stands in the outer config, which overrides the inner one
    (config/vllm.py:with_hf_config, vLLM 0.17.0 to 0.33.0); a dtype only where the inner one has none.
    """
    passed: dict[str, object] = {}
    if not (inner.has("dtype") or inner.has("torch_dtype")):
        passed = {name: config.get(name) for name in ("dtype", "torch_dtype") if config.has(name)}
    tied = config.get("tie_word_embeddings")
    if tied is None or wrapper.ties_inside:
        return inner.inheriting(passed)
    return inner.inheriting(passed).stating({"tie_word_embeddings": tied})
