"""How the KV cache is cut: against logged start-ups, between engine versions, and in general."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.architecture import Architecture
from planner.config_json import parse_config
from planner.engine.options import engine_options
from planner.engine.profile import load_profile
from planner.tensors.kv_cache import KVLayout, layout
from planner.tensors.kv_pages import attention_bytes, index_bytes, known_dtype
from planner.tensors.kv_rules import KVRules, kv_rules
from planner.units import GIB

LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
}  # fmt: skip
GEMMA_27B: dict[str, Any] = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 5376, "head_dim": 128,
    "intermediate_size": 21504, "num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16,
    "sliding_window": 1024, "sliding_window_pattern": 6, "vocab_size": 262208, "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN35_27B: dict[str, Any] = {
    "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "hidden_size": 5120, "head_dim": 256,
    "intermediate_size": 17408, "num_hidden_layers": 64, "num_attention_heads": 24, "num_key_value_heads": 4,
    "full_attention_interval": 4, "linear_num_value_heads": 48, "linear_num_key_heads": 16,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "vocab_size": 248320,
    "num_experts": 0, "num_experts_per_tok": 0, "decoder_sparse_step": 1, "mamba_ssm_dtype": "float32",
    "max_position_embeddings": 262144, "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK: dict[str, Any] = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 2048,
    "intermediate_size": 10944, "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
    "kv_lora_rank": 512, "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "n_shared_experts": 2,
    "first_k_dense_replace": 1, "vocab_size": 102400, "max_position_embeddings": 163840, "torch_dtype": "bfloat16",
}  # fmt: skip
LLAMA_4: dict[str, Any] = {
    "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "hidden_size": 5120, "head_dim": 128,
    "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_hidden_layers": 48, "num_attention_heads": 40,
    "num_key_value_heads": 8, "attention_chunk_size": 8192, "num_local_experts": 16, "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1, "vocab_size": 202048, "max_position_embeddings": 10485760,
    "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK_V4: dict[str, Any] = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_size": 4096,
    "num_hidden_layers": 43, "num_attention_heads": 64, "head_dim": 512, "vocab_size": 129280,
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 6,
    "q_lora_rank": 1024, "o_lora_rank": 1024, "o_groups": 8, "qk_rope_head_dim": 64, "index_head_dim": 128,
    "index_n_heads": 64, "index_topk": 512, "sliding_window": 128, "num_hash_layers": 3, "hc_mult": 4,
    "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0], "max_position_embeddings": 1048576, "torch_dtype": "bfloat16",
    "rope_scaling": {"type": "yarn", "factor": 16, "original_max_position_embeddings": 65536},
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}  # fmt: skip
ALL = (LLAMA_8B, GEMMA_27B, QWEN35_27B, DEEPSEEK, LLAMA_4, DEEPSEEK_V4)


def architecture(config: dict[str, Any]) -> Architecture:
    return parse_config(config, where="test")[0]


def cut(
    config: dict[str, Any], rules: KVRules | None = None, *, kv_cache_dtype: str = "auto", ranks: int = 1
) -> KVLayout:
    return layout(
        architecture(config), rules=rules or KVRules(), kv_cache_dtype=kv_cache_dtype, tensor_parallel_size=ranks
    )


def rules(version: str) -> KVRules:
    return kv_rules(load_profile(version))


def test_llama_8b_has_the_blocks_and_tokens_vllm_logged_on_an_a100() -> None:
    # vLLM 0.31.0: 56.21 GiB of cache, 28,781 blocks, 460,496 tokens, 3.51 requests of 131,072.
    found = cut(LLAMA_8B, rules("0.31.0"))

    assert found.bytes_per_block == 2 * 8 * 128 * 2 * 16 * 32
    assert found.blocks(round(56.205 * GIB)) < 28_781 <= found.blocks(round(56.215 * GIB))
    assert found.tokens_logged(28_781, 131_072, 8192) == 460_496
    assert round(found.max_concurrency(28_781, 131_072, 8192), 2) == 3.51


def test_a_gated_delta_hybrid_has_the_blocks_and_tokens_vllm_logged() -> None:
    # vLLM 0.28: block 784, 408 blocks, 313,650 tokens at 262,144: 335 blocks of attention and 2 of each of 3 states.
    found = cut(QWEN35_27B, rules("0.28.0"))

    assert found.block_size == 784
    assert len(found.groups) == 4
    assert found.blocks_per_request(262_144, 2048) == 335 + 3 * 2
    assert found.tokens_logged(408, 262_144, 2048) == 313_650


def test_compressed_attention_has_the_tokens_vllm_logged() -> None:
    # vLLM 0.31.1 on eight H100s logged 47.43 GiB of cache and 1,728,531 tokens at 262,144; 0.27.1 on two H200s logged
    # 50.51 GiB, 752,889 tokens and 7.66 requests of 98,304.
    newer, older = cut(DEEPSEEK_V4, rules("0.31.0"), ranks=8), cut(DEEPSEEK_V4, rules("0.27.1"), ranks=2)

    assert sorted(len(group.layers) for group in newer.groups) == [20, 21, 22, 42, 62]
    blocks = newer.blocks(round(47.43 * GIB))
    assert newer.tokens_logged(blocks, 262_144, 8192) == pytest.approx(1_728_531, rel=1e-4)
    blocks = older.blocks(round(50.51 * GIB))
    assert older.tokens_logged(blocks, 98_304, 8192) == pytest.approx(752_889, rel=1e-4)
    assert round(older.max_concurrency(blocks, 98_304, 8192), 2) == 7.66


def test_older_versions_give_compressed_attention_a_slot_for_every_page() -> None:
    # vLLM 0.22 needed 6.66 GiB for 30,000 tokens in batches of 16,384, had 5.44, and named 13,528 tokens as the longest
    # request (github.com/vllm-project/vllm/issues/44376).
    found = cut(DEEPSEEK_V4, rules("0.22.1"), ranks=2)

    assert [len(group.layers) for group in found.groups] == [62, 22, 21, 42, 20]
    assert round(found.bytes_needed(30_000, 16_384) / GIB, 2) == 6.66
    assert round(found.bytes_needed(13_528, 16_384) / GIB, 2) == 5.44
    assert found.bytes_needed(13_825, 16_384) > found.bytes_needed(13_528, 16_384)


def test_windowed_layers_share_groups_of_the_size_of_the_smallest_kind() -> None:
    found = cut(GEMMA_27B)

    assert sorted(len(group.layers) for group in found.groups) == [8, 8, 9, 9, 9, 9, 10]
    assert sum(group.spec.kind == "full" for group in found.groups) == 1
    assert found.bytes_per_block == 10 * 16 * 2 * 16 * 128 * 2


def test_the_first_v1_engine_kept_windows_like_full_attention() -> None:
    older, newer = cut(GEMMA_27B, rules("0.8.5")), cut(GEMMA_27B, rules("0.19.0"))

    assert len(older.groups) == 1
    assert older.bytes_needed(131_072, 8192) > 4 * newer.bytes_needed(131_072, 8192)


def test_windows_hold_a_second_batch_once_scheduling_is_asynchronous() -> None:
    before, after = cut(GEMMA_27B, rules("0.25.1")), cut(GEMMA_27B, rules("0.26.0"))

    windows = sum(group.spec.kind == "sliding" for group in after.groups)
    assert after.blocks_per_request(131_072, 8192) - before.blocks_per_request(131_072, 8192) == windows * 8192 // 16


def test_chunked_attention_keeps_one_chunk_and_the_batches() -> None:
    found = cut(LLAMA_4)
    chunked = [group for group in found.groups if group.spec.kind == "chunked"]

    assert len(chunked) == 3
    assert chunked[0].spec.blocks(1_000_000, 16_384, found.rules) == (8192 + 16_384) // 16


def test_latent_attention_is_whole_on_every_rank() -> None:
    one, eight = cut(DEEPSEEK), cut(DEEPSEEK, ranks=8)

    assert one.bytes_per_block == eight.bytes_per_block == 27 * 576 * 2 * 16


def test_key_value_heads_are_repeated_when_ranks_outnumber_them() -> None:
    sizes = [cut(LLAMA_8B, ranks=ranks).bytes_per_block for ranks in (1, 8, 16)]

    assert sizes[0] == 8 * sizes[1]
    assert sizes[1] == sizes[2]


@pytest.mark.parametrize("config", [LLAMA_8B, GEMMA_27B, DEEPSEEK, LLAMA_4], ids=lambda config: config["model_type"])
def test_an_fp8_cache_takes_half(config: dict[str, Any]) -> None:
    assert 2 * cut(config, kv_cache_dtype="fp8").bytes_per_block == cut(config).bytes_per_block


HEAD_BYTES = {
    "auto": 512, "bfloat16": 512, "float16": 512, "half": 512, "fp8": 256, "fp8_e4m3": 256, "fp8_e5m2": 256,
    "fp8_inc": 256, "nvfp4": 144, "nvfp4_4over6": 144, "int8_per_token_head": 264, "fp8_per_token_head": 264,
    "int4_per_token_head": 136,
}  # fmt: skip
"""Bytes of one token in one head of 128 keys and 128 values, counted by hand from vLLM 0.33.0.

Halves are packed, two to a byte, by ``nvfp4_kv_cache_full_dim`` (utils/torch_utils.py), with an FP8 scale for each
sixteen: 64 + 8 for keys and for values. Types per token and head have an fp32 scale for keys and one for values.
"""
LATENT_BYTES = {
    "auto": 1152, "bfloat16": 1152, "float16": 1152, "fp8": 576, "fp8_e4m3": 576, "fp8_ds_mla": 656,
    "nvfp4_ds_mla": 352, "int8_per_token_head": 584, "int4_per_token_head": 296,
}  # fmt: skip
"""Bytes of one token in one layer of latent attention: 512 values and 64 rotary ones; scales per token are two fp32."""
PACKED_BYTES = {
    "turboquant_k8v4": 196, "turboquant_4bit_nc": 134, "turboquant_k3v4_nc": 118, "turboquant_3bit_nc": 102,
    "ultraquant_4bit": 136, "octave_k3v4": 136, "octave_k3v3": 120, "octave_k3v3_compact": 100,
}  # fmt: skip
"""Bytes of one token in one head of 128 keys and values packed into one slot, counted by hand from vLLM 0.33.0:
``TurboQuantConfig.slot_size_aligned``, ``ultraquant.format.slot_size``, ``rocm_octave.OctaveFormat.slot_bytes``."""


@pytest.mark.parametrize(("kv_cache_dtype", "size"), HEAD_BYTES.items())
def test_a_token_takes_so_many_bytes_in_every_cache_dtype(kv_cache_dtype: str, size: int) -> None:
    assert cut(LLAMA_8B, kv_cache_dtype=kv_cache_dtype).bytes_per_block == 32 * 8 * 16 * size
    assert cut(LLAMA_8B, kv_cache_dtype=kv_cache_dtype, ranks=4).bytes_per_block == 32 * 2 * 16 * size


@pytest.mark.parametrize(("kv_cache_dtype", "size"), PACKED_BYTES.items())
def test_packed_formats_leave_the_first_and_last_two_layers_of_a_dense_model_unpacked(
    kv_cache_dtype: str, size: int
) -> None:
    unpacked = 0 if kv_cache_dtype.startswith("octave") else 4

    per_token = cut(LLAMA_8B, kv_cache_dtype=kv_cache_dtype).bytes_per_block // 16

    assert per_token == 8 * ((32 - unpacked) * size + unpacked * 512)


@pytest.mark.parametrize(("kv_cache_dtype", "size"), LATENT_BYTES.items())
def test_a_latent_token_takes_so_many_bytes_in_every_cache_dtype(kv_cache_dtype: str, size: int) -> None:
    assert cut(DEEPSEEK, kv_cache_dtype=kv_cache_dtype).bytes_per_block == 27 * 16 * size


def test_sparse_latent_attention_in_fp8_has_scales_of_its_own() -> None:
    sparse = {**DEEPSEEK, "index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128}
    (latent,) = {layer.attention.latent for layer in architecture(sparse).layers if layer.attention}
    attention = next(layer.attention for layer in architecture(sparse).layers if layer.attention)

    assert latent is not None
    assert latent.index_topk == 2048
    assert [attention_bytes(attention, dtype, 2, 1) for dtype in ("auto", "fp8", "fp8_ds_mla")] == [1152, 656, 656]
    assert index_bytes(latent) == 128 + 4


def test_every_cache_dtype_that_can_be_costed_is_pinned_here() -> None:
    listed = [engine_options(version).flags["--kv-cache-dtype"] for version in ("0.8.5", "0.20.2", "0.32.0")]
    known = {name for names in listed for name in names if known_dtype(name)}

    assert known - {"auto"}
    assert known <= HEAD_BYTES.keys() | LATENT_BYTES.keys() | PACKED_BYTES.keys()
    assert all(known_dtype(name) for name in load_profile("0.33.0").kv_cache_dtypes)


def test_an_unknown_cache_dtype_is_an_error() -> None:
    with pytest.raises(ValueError, match="int3"):
        cut(LLAMA_8B, kv_cache_dtype="int3")


def test_a_stage_pays_for_its_own_layers() -> None:
    model = architecture(LLAMA_8B)
    halves = [layout(model, rules=KVRules(), pipeline_parallel_size=2, pipeline_rank=rank) for rank in (0, 1)]

    assert sum(half.bytes_per_block for half in halves) == cut(LLAMA_8B).bytes_per_block


def test_an_encoder_has_no_cache() -> None:
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384, "intermediate_size": 1536,
              "num_hidden_layers": 6, "num_attention_heads": 12, "vocab_size": 30522, "type_vocab_size": 2,
              "max_position_embeddings": 512, "torch_dtype": "float32"}  # fmt: skip
    found = cut(config)

    assert found.groups == ()
    assert found.blocks(1 << 40) == found.bytes_needed(512, 512) == found.tokens_logged(9, 512, 512) == 0


def test_without_prefix_caching_a_sequence_holds_one_state() -> None:
    profile = load_profile("0.28.0")
    with_cache, without = (kv_rules(profile, prefix_caching=caching) for caching in (True, False))

    assert with_cache.states("gated-delta") > without.states("gated-delta") == 1


@given(
    config=st.sampled_from(ALL),
    tokens=st.integers(1, 200_000),
    batch=st.integers(1, 32_768),
    more=st.integers(0, 50_000),
)
def test_longer_requests_and_larger_batches_never_hold_fewer_blocks(
    config: dict[str, Any], tokens: int, batch: int, more: int
) -> None:
    found = cut(config)
    held = found.blocks_per_request(tokens, batch)

    assert 0 < held <= found.blocks_per_request(tokens + more, batch)
    assert held <= found.blocks_per_request(tokens, batch + more)
    assert held * found.bytes_per_block <= found.bytes_needed(tokens, batch)


@given(config=st.sampled_from(ALL), room=st.integers(0, 100 * GIB))
def test_blocks_fill_the_room_and_no_more(config: dict[str, Any], room: int) -> None:
    found = cut(config)

    assert found.blocks(room) * found.bytes_per_block <= room < (found.blocks(room) + 1) * found.bytes_per_block
