"""Dense decoder families.

Source per row: the model file under ``vllm/model_executor/models``, 0.33.0 or the last version that has it; families
without one run through the Transformers backend with the same weights.
"""

from collections.abc import Callable, Mapping

from planner.architecture import Part, Tensor
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kinds import all_full, listed_or_full, pattern


def _learned_positions(offset: int) -> Callable[[Fields], tuple[Part, ...]]:
    def parts(text: Fields) -> tuple[Part, ...]:
        rows = text.integer("max_position_embeddings") + offset
        return (Tensor(path="embed_positions", elements=rows * text.integer("hidden_size")),)

    return parts


LLAMA = Family(
    qkv_bias=("attention_bias", "bias", "qkv_bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",)
)
QWEN2 = Family(qkv_bias=True)
QWEN3 = Family(qkv_bias=("attention_bias",), qk_norm="head", defaults={"head_dim": 128})
GEMMA = {"head_dim": 256, "tie_word_embeddings": True}
GEMMA2 = Family(
    qkv_bias=("attention_bias",),
    output_bias=("attention_bias",),
    norms=4,
    kinds=pattern(2, "sliding", "full"),
    defaults={**GEMMA, "sliding_window": 4096},
)
# The text part of a multimodal Gemma 3 leaves out whatever equals the config class's default (transformers 4.50).
GEMMA3 = Family(
    qkv_bias=("attention_bias",),
    output_bias=("attention_bias",),
    norms=4,
    qk_norm="head",
    kinds=pattern(6, "sliding", "full", "sliding_window_pattern"),
    defaults={
        **GEMMA, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262208,
        "max_position_embeddings": 131072, "sliding_window": 4096, "rope_local_base_freq": 10000.0,
    },
)  # fmt: skip
COHERE = Family(
    norms=1,
    qk_norm="split",
    qk_norm_switch=("use_qk_norm",),
    defaults={"tie_word_embeddings": True},
)
_GPT_NAMES = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
              "max_position_embeddings": "n_positions"}  # fmt: skip

DENSE: Mapping[str, Family] = {
    **dict.fromkeys(
        ("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "Ministral3ForCausalLM", "AquilaForCausalLM",
         "InternLM3ForCausalLM", "IQuestCoderForCausalLM", "TeleChat3ForCausalLM", "Phi3ForCausalLM",
         "GraniteForCausalLM", "SmolLM3ForCausalLM", "ArceeForCausalLM"),
        LLAMA,
    ),
    "Qwen2ForCausalLM": QWEN2,
    "MiMoForCausalLM": QWEN2,
    "Qwen3ForCausalLM": QWEN3,
    "SeedOssForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_out_bias",), mlp_bias=("mlp_bias",)
    ),
    "GemmaForCausalLM": Family(defaults=GEMMA, kinds=all_full),
    "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA3,
    "GlmForCausalLM": Family(qkv_bias=("attention_bias",), defaults={"partial_rotary_factor": 0.5}),
    "Glm4ForCausalLM": Family(qkv_bias=("attention_bias",), norms=4, defaults={"partial_rotary_factor": 0.5}),
    "CohereForCausalLM": COHERE,
    "Cohere2ForCausalLM": Family(
        norms=1, kinds=pattern(4, "sliding", "full", "sliding_window_pattern"), defaults={"tie_word_embeddings": True}
    ),
    "Olmo2ForCausalLM": Family(qk_norm="whole"),
    "Olmo3ForCausalLM": Family(qk_norm="whole", kinds=pattern(4, "sliding", "full")),
    "Exaone4ForCausalLM": Family(
        qkv_bias=("attention_bias", "bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",),
        qk_norm="head", kinds=pattern(4, "sliding", "full"),
    ),
    "ApertusForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",), qk_norm="head",
        gated=False, kinds=listed_or_full,
    ),
    "NemotronForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",), gated=False,
        norm_bias=True, defaults={"partial_rotary_factor": 0.5},
    ),
    "InternLM2ForCausalLM": Family(),
    "BaichuanForCausalLM": Family(),
    "OrionForCausalLM": Family(norm_bias=True),
    "StableLmForCausalLM": Family(
        qkv_bias=("use_qkv_bias",), norm_bias=True, defaults={"partial_rotary_factor": 0.25}
    ),
    "Starcoder2ForCausalLM": Family(
        qkv_bias=("use_bias",), output_bias=("use_bias",), mlp_bias=("use_bias",), gated=False, norm_bias=True,
        defaults={"use_bias": True, "tie_word_embeddings": True},
    ),
    "PhiForCausalLM": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, head_bias=True, gated=False, norms=1, norm_bias=True,
        defaults={"partial_rotary_factor": 0.5},
    ),
    "OPTForCausalLM": Family(
        qkv_bias=("enable_bias",), output_bias=("enable_bias",), mlp_bias=("enable_bias",), gated=False,
        norm_bias=True, rotary=False, first=_learned_positions(2), names={"intermediate_size": "ffn_dim"},
        defaults={"enable_bias": True, "tie_word_embeddings": True},
    ),
    "GPT2LMHeadModel": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, gated=False, norm_bias=True, rotary=False,
        first=_learned_positions(0), names=_GPT_NAMES, defaults={"tie_word_embeddings": True},
    ),
    "GPTBigCodeForCausalLM": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, gated=False, norm_bias=True, rotary=False,
        first=_learned_positions(0), names={**_GPT_NAMES, "intermediate_size": "n_inner"},
        defaults={"tie_word_embeddings": True, "num_key_value_heads": 1},
    ),
}  # fmt: skip
