"""Dense decoder families.

Source per row: the model file under ``vllm/model_executor/models``, 0.33.0 or the last version that has it; families
without one run through the Transformers backend with the same weights.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Attention, FeedForward, Part, Tensor
from planner.architecture.parts import linear
from planner.config_json.attention import head_dim
from planner.config_json.family import Family, switched
from planner.config_json.fields import Fields
from planner.config_json.kinds import all_full, listed_or_full, pattern


def _learned_positions(text: Fields) -> tuple[Part, ...]:
    rows = text.integer("max_position_embeddings")
    return (Tensor(path="position_embeddings", elements=rows * text.integer("hidden_size")),)


def _opt_first(text: Fields) -> tuple[Part, ...]:
    """OPT: learned positions after two, and a projection up where embeddings are narrower (models/opt.py)."""
    hidden, width = text.integer("hidden_size"), text.integer("word_embed_proj_dim", text.integer("hidden_size"))
    narrow = (linear("project_in", hidden, width),) if width != hidden else ()
    return (Tensor(path="embed_positions", elements=(text.integer("max_position_embeddings") + 2) * hidden), *narrow)


def _opt_last(text: Fields) -> tuple[Part, ...]:
    hidden, width = text.integer("hidden_size"), text.integer("word_embed_proj_dim", text.integer("hidden_size"))
    return (linear("project_out", width, hidden),) if width != hidden else ()


def four_times(text: Fields, family: Family, index: int, kind: str) -> FeedForward:
    """GPT-2 and Falcon: the MLP is four times as wide as the model unless the config says otherwise."""
    width = text.optional_integer("intermediate_size") or 4 * text.integer("hidden_size")
    return FeedForward(intermediate_size=width, gated=False, bias=switched(text, family.mlp_bias))


def _falcon_attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Falcon: one key-value head, or as many as the newer architecture states (models/falcon.py)."""
    heads = text.integer("num_attention_heads")
    kv_heads = 1 if text.flag("multi_query", True) else heads
    if text.flag("new_decoder_architecture"):
        kv_heads = text.integer("num_kv_heads", heads)
    size = head_dim(text)
    bias = text.flag("bias")
    return Attention(
        num_heads=heads, num_kv_heads=kv_heads, head_dim=size, value_head_dim=size, qkv_bias=bias, output_bias=bias
    )


def _xielu(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Apertus: the activation has two learned scalars (layers/activation.py:XIELU)."""
    return (Tensor(path="mlp.act_fn", elements=2),)


def _falcon_norms(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    two = text.flag("new_decoder_architecture") or not text.flag("parallel_attn", True)
    stated = text.optional_integer("num_ln_in_parallel_attn")
    count = stated or (2 if two else 1)
    return (Tensor(path="norms", elements=2 * count * text.integer("hidden_size")),)


LLAMA = Family(
    qkv_bias=("attention_bias", "bias", "qkv_bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",)
)
QWEN2 = Family(qkv_bias=True)
QWEN3 = Family(qkv_bias=("attention_bias",), qk_norm="head")
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
        qkv_bias=("attention_bias",), output_bias=("attention_out_bias",), mlp_bias=("mlp_bias",),
        defaults={"attention_bias": True},
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
    "HunYuanDenseV1ForCausalLM": replace(LLAMA, qk_norm="head", qk_norm_switch=("use_qk_norm",)),
    "Olmo2ForCausalLM": Family(qk_norm="whole"),
    "Olmo3ForCausalLM": Family(qk_norm="whole", kinds=pattern(4, "sliding", "full"), unscaled_windows=True),
    "Exaone4ForCausalLM": Family(
        qkv_bias=("attention_bias", "bias"), output_bias=("attention_bias", "bias"), mlp_bias=("mlp_bias",),
        qk_norm="head", kinds=pattern(4, "sliding", "full"),
    ),
    "ApertusForCausalLM": Family(
        qkv_bias=("attention_bias",), output_bias=("attention_bias",), mlp_bias=("mlp_bias",), qk_norm="head",
        gated=False, kinds=listed_or_full, layer_extra=_xielu,
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
        norm_bias=True, rotary=False, first=_opt_first, last=_opt_last, names={"intermediate_size": "ffn_dim"},
        embedding_width="word_embed_proj_dim", final_norm=("do_layer_norm_before",),
        defaults={"enable_bias": True, "do_layer_norm_before": True, "tie_word_embeddings": True},
    ),
    "GPT2LMHeadModel": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True, rotary=False, feed_forward=four_times,
        first=_learned_positions, names={**_GPT_NAMES, "intermediate_size": "n_inner"},
        defaults={"tie_word_embeddings": True},
    ),
    "FalconForCausalLM": Family(
        attention=_falcon_attention, feed_forward=four_times, mlp_bias=("bias",), norms=0, norm_bias=True,
        layer_extra=_falcon_norms, names={"intermediate_size": "ffn_hidden_size"},
        defaults={"tie_word_embeddings": True, "max_position_embeddings": 2048},
    ),
    "GPTBigCodeForCausalLM": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True, rotary=False, feed_forward=four_times,
        first=_learned_positions, names={**_GPT_NAMES, "intermediate_size": "n_inner"},
        defaults={"tie_word_embeddings": True, "num_key_value_heads": 1},
    ),
}  # fmt: skip
