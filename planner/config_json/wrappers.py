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

    ``section`` holds the text config; where it is absent the text fields stand at the top level.
    """

    text: str
    tower: Callable[[Fields, Fields], Vision | None]
    section: str = "text_config"


# The class a text config's model_type stands for, where a wrapper takes any of several.
_BY_TYPE = {
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    "mistral": "MistralForCausalLM", "llama": "LlamaForCausalLM", "ministral3": "Ministral3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM", "mistral4": "MistralLarge3ForCausalLM", "internlm2": "InternLM2ForCausalLM",
}  # fmt: skip

# What a text config leaves out because it equals the config class's default (transformers 5.19).
_TYPE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "llama": {
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "vocab_size": 32000, "max_position_embeddings": 2048,
    },
    "mistral": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 131072,
    },
}  # fmt: skip

WRAPPERS: Mapping[str, Wrapper] = {
    "Qwen2VLForConditionalGeneration": Wrapper("Qwen2ForCausalLM", towers.qwen2_tower),
    "Qwen2_5_VLForConditionalGeneration": Wrapper("Qwen2ForCausalLM", towers.qwen2_5_tower),
    "Qwen3VLForConditionalGeneration": Wrapper("Qwen3ForCausalLM", towers.qwen3_tower),
    "Qwen3VLMoeForConditionalGeneration": Wrapper("Qwen3MoeForCausalLM", towers.qwen3_tower),
    "Qwen3_5ForConditionalGeneration": Wrapper("Qwen3_5ForCausalLM", towers.qwen3_tower),
    "Qwen3_5MoeForConditionalGeneration": Wrapper("Qwen3_5MoeForCausalLM", towers.qwen3_tower),
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
    inner = config.section(wrapper.section) if config.has(wrapper.section) else config
    family = _family(wrapper, inner)
    text = Fields(config.where, inner.values, inner.path, _inherited(config, inner))
    architecture = decoder(name, family, text)
    return replace(architecture, vision=wrapper.tower(config, text))


def _family(wrapper: Wrapper, inner: Fields) -> Family:
    name = wrapper.text
    if not name:
        kind = inner.text("model_type")
        name = _BY_TYPE.get(kind, "")
        if not name:
            raise UnsupportedModel(inner.where, f"language model of type {kind!r}")
    return TEXT[name]


def _inherited(config: Fields, inner: Fields) -> dict[str, object]:
    """Return what the text part takes from the outer config when it says nothing itself."""
    found = dict(_TYPE_DEFAULTS.get(inner.text("model_type"), {}))
    for name in ("torch_dtype", "dtype", "tie_word_embeddings"):
        if not inner.has("torch_dtype" if name == "dtype" else name) and config.has(name):
            found[name] = config.get(name)
    return found
