"""Multimodal classes: the language model inside and the tower beside it."""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture, Vision
from planner.config_json import (
    audio_towers,
    borrowed_towers,
    minicpm_towers,
    newer_towers,
    plain_towers,
    speech_towers,
    towers,
)
from planner.config_json.decoder import decoder
from planner.config_json.experts import Experts, shared_by_size
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kimi_k3 import KIMI_K3, kimi_k3_tower
from planner.config_json.kimi_tower import kimi_tower
from planner.config_json.minimax_m3 import minimax_tower
from planner.config_json.registry import TEXT
from planner.errors import UnsupportedModel


class Wrapper(Struct, frozen=True):
    """A multimodal class: the family of its language model (empty: named by the text config) and its tower.

    ``section`` holds the text config; where it is absent the text fields stand at the top level. ``outer`` is the
    section that holds both where it is not the whole config. ``ties_inside`` says that the text config alone decides
    about tying the output head, which the outer one does otherwise. ``chosen`` names its language model by
    another field; ``family`` is one that has no class of its own. ``axes`` says that positions have three axes although
    the rope does not say so.
    """

    text: str
    tower: Callable[[Fields, Fields], Vision | None]
    section: str = "text_config"
    ties_inside: bool = False
    outer: str = ""
    chosen: Callable[[Fields], str] | None = None
    family: Family | None = None
    axes: bool = False


# The class a text config's model_type stands for, where a wrapper takes any of several.
_BY_TYPE = {
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    "mistral": "MistralForCausalLM", "llama": "LlamaForCausalLM", "ministral3": "Ministral3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM", "mistral4": "MistralLarge3ForCausalLM", "internlm2": "InternLM2ForCausalLM",
    "internlm3": "InternLM3ForCausalLM", "gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM", "cohere": "CohereForCausalLM", "cohere2": "Cohere2ForCausalLM",
    "lfm2": "Lfm2ForCausalLM", "lfm2_moe": "Lfm2MoeForCausalLM", "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM", "kimi_k2": "DeepseekV3ForCausalLM", "phi3": "Phi3ForCausalLM",
    "granite": "GraniteForCausalLM", "smollm3": "SmolLM3ForCausalLM", "exaone4": "Exaone4ForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM", "olmo2": "Olmo2ForCausalLM", "olmo3": "Olmo3ForCausalLM",
}  # fmt: skip

_ARIA = Family(
    mixture=Experts(
        count="moe_num_experts", active="moe_topk", size="intermediate_size",
        shared=shared_by_size("intermediate_size", "moe_num_shared_experts"),
    )
)  # fmt: skip

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
    "KimiK3ForConditionalGeneration": Wrapper("", kimi_k3_tower, family=KIMI_K3),
    "KimiK25ForConditionalGeneration": Wrapper("DeepseekV3ForCausalLM", kimi_tower),
    "MiniMaxM3SparseForConditionalGeneration": Wrapper("MiniMaxM3SparseForCausalLM", minimax_tower),
    "LlavaNextVideoForConditionalGeneration": Wrapper("", towers.llava_tower),
    "LlavaOnevisionForConditionalGeneration": Wrapper("", plain_towers.onevision_tower),
    "InternS1ForConditionalGeneration": Wrapper("", towers.internvl_tower),
    **dict.fromkeys(
        ("InternVLChatModel", "SkyworkR1VChatModel", "H2OVLChatModel", "NVLM_D"),
        Wrapper("", plain_towers.internvit_tower, section="llm_config"),
    ),
    **dict.fromkeys(
        ("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"),
        Wrapper("", plain_towers.idefics3_tower),
    ),
    "Cohere2VisionForConditionalGeneration": Wrapper("", plain_towers.cohere2_vision_tower),
    "PaliGemmaForConditionalGeneration": Wrapper("", plain_towers.paligemma_tower),
    "AriaForConditionalGeneration": Wrapper("", plain_towers.aria_tower, family=_ARIA),
    "Lfm2VlForConditionalGeneration": Wrapper("", plain_towers.lfm2_tower),
    "KimiVLForConditionalGeneration": Wrapper("", plain_towers.kimi_vl_tower),
    "Exaone4_5_ForConditionalGeneration": Wrapper("Exaone4ForCausalLM", newer_towers.exaone_tower),
    "GlmOcrForConditionalGeneration": Wrapper("Glm4ForCausalLM", newer_towers.glm_ocr_tower),
    "Gemma4UnifiedForConditionalGeneration": Wrapper("Gemma4ForCausalLM", newer_towers.gemma4_unified_tower),
    "LightOnOCRForConditionalGeneration": Wrapper("Qwen3ForCausalLM", newer_towers.lighton_tower),
    "PaddleOCRVLForConditionalGeneration": Wrapper("Ernie4_5ForCausalLM", newer_towers.paddle_tower),
    "Eagle2_5_VLForConditionalGeneration": Wrapper("", borrowed_towers.eagle_tower),
    "BeeForConditionalGeneration": Wrapper("", borrowed_towers.bee_tower),
    "KeyeForConditionalGeneration": Wrapper("Qwen3ForCausalLM", borrowed_towers.keye_tower),
    "KeyeVL1_5ForConditionalGeneration": Wrapper("Qwen3ForCausalLM", borrowed_towers.keye15_tower),
    "DotsOCRForCausalLM": Wrapper("Qwen2ForCausalLM", borrowed_towers.dots_tower),
    "Phi3VForCausalLM": Wrapper("Phi3ForCausalLM", borrowed_towers.phi3v_tower),
    "DeepseekOCRForCausalLM": Wrapper(
        "DeepseekForCausalLM", borrowed_towers.deepseek_ocr_tower, section="language_config"
    ),
    "IsaacForConditionalGeneration": Wrapper("Qwen3ForCausalLM", speech_towers.isaac_tower, axes=True),
    "QianfanOCRForConditionalGeneration": Wrapper("Qwen3ForCausalLM", plain_towers.internvit_tower),
    "MossTranscribeDiarizeForConditionalGeneration": Wrapper("Qwen3ForCausalLM", speech_towers.moss_tower),
    **dict.fromkeys(
        ("GraniteSpeechForConditionalGeneration", "GraniteSpeechPlusForConditionalGeneration"),
        Wrapper("", speech_towers.granite_speech_tower),
    ),
    "MiniCPMV": Wrapper("", minicpm_towers.minicpmv_tower, chosen=minicpm_towers.language_model),
    "MiniCPMO": Wrapper("", minicpm_towers.minicpmo_tower, chosen=minicpm_towers.language_model),
    "MiniCPMV4_6ForConditionalGeneration": Wrapper("Qwen3_5ForCausalLM", minicpm_towers.minicpm46_tower),
    "OpenCUAForConditionalGeneration": Wrapper("Qwen2ForCausalLM", towers.qwen2_5_tower),
    "Qwen2AudioForConditionalGeneration": Wrapper("", audio_towers.qwen2_audio_tower),
    "AudioFlamingo3ForConditionalGeneration": Wrapper("", audio_towers.flamingo_tower),
    "VoxtralForConditionalGeneration": Wrapper("", audio_towers.voxtral_tower),
    "UltravoxModel": Wrapper("", audio_towers.ultravox_tower),
    "GlmAsrForConditionalGeneration": Wrapper("", audio_towers.glm_asr_tower),
    **dict.fromkeys(
        ("Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"),
        Wrapper("Qwen2ForCausalLM", audio_towers.omni2_5_tower, outer="thinker_config"),
    ),
    "Qwen3OmniMoeForConditionalGeneration": Wrapper(
        "Qwen3MoeForCausalLM", audio_towers.omni3_tower, outer="thinker_config"
    ),
    **dict.fromkeys(
        ("Qwen3ASRForConditionalGeneration", "Qwen3ASRRealtimeGeneration"),
        Wrapper("Qwen3ForCausalLM", audio_towers.asr3_tower, outer="thinker_config"),
    ),
    "Glm4vForConditionalGeneration": Wrapper("Glm4ForCausalLM", towers.glm4v_tower),
    "Glm4vMoeForConditionalGeneration": Wrapper("Glm4MoeForCausalLM", towers.glm4v_tower),
}


def wrapped(name: str, config: Fields) -> Architecture:
    """Return the architecture of a multimodal class.

    Whether the output head is tied stands in the whole config, which overrides the text part
    (config/vllm.py:with_hf_config, vLLM 0.17.0 to 0.33.0).

    Raises:
        UnsupportedModel: the language model inside, or its encoder, is not one this package can size.
        InvalidConfig: a field is missing, mistyped, out of range or contradicts another.
    """
    wrapper = WRAPPERS[name]
    tied = None if wrapper.ties_inside else config.get("tie_word_embeddings")
    if wrapper.outer and config.has(wrapper.outer):
        config = _inner(config, wrapper.outer)
    inner = _text_model(wrapper, config)
    family = _family(wrapper, inner)
    text = _inherited(config, inner)
    if wrapper.axes:
        text = text.stating({"rope_parameters": {**text.section("rope_parameters").values, "mrope_section": []}})
    if tied is not None:
        text = text.stating({"tie_word_embeddings": tied})
    architecture = decoder(name, family, text)
    language = "" if wrapper.family else _language(wrapper, inner)
    return replace(architecture, vision=wrapper.tower(config, text), language=language)


def _inner(config: Fields, name: str) -> Fields:
    """Return the section that holds both parts, with the dtype that stands outside it."""
    passed = {key: config.get(key) for key in ("dtype", "torch_dtype") if config.has(key)}
    return config.section(name).inheriting(passed)


def _text_model(wrapper: Wrapper, config: Fields) -> Fields:
    """Return the object that describes the language model: a nested one, or the whole config."""
    inner = config.section(wrapper.section)
    if inner.values:
        return inner
    if config.has(wrapper.section) or not config.has("hidden_size"):
        raise config.error(wrapper.section, "missing or empty; it describes the language model inside")
    return config


def _family(wrapper: Wrapper, inner: Fields) -> Family:
    return wrapper.family or TEXT[_language(wrapper, inner)]


def _language(wrapper: Wrapper, inner: Fields) -> str:
    """Return the class of the language model inside."""
    name = wrapper.chosen(inner) if wrapper.chosen else wrapper.text
    if not name:
        kind = inner.text("model_type") or inner.known.kind
        name = _BY_TYPE.get(kind, "")
        if not name:
            raise UnsupportedModel(inner.where, f"language model of type {kind!r}")
    return name


def _inherited(config: Fields, inner: Fields) -> Fields:
    """Return the text part with the dtype of the outer config where it has none itself."""
    passed: dict[str, object] = {}
    if not (inner.has("dtype") or inner.has("torch_dtype")):
        passed = {name: config.get(name) for name in ("dtype", "torch_dtype") if config.get(name)}
    return inner.inheriting(passed)
