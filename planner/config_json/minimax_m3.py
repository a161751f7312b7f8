"""MiniMax-M3: an index per layer chooses blocks of keys and values; experts after dense layers; a CLIP-like encoder.

Source: ``models/minimax_m3/nvidia/model.py`` and ``common`` beside it, vLLM 0.24.0 to 0.33.0.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from planner.architecture import Attention, BlockIndex, Vision
from planner.architecture.parts import linear
from planner.config_json.attention import grouped_query
from planner.config_json.experts import Experts, after_dense, shared_by_size
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.config_json.kinds import all_full
from planner.config_json.transformer import blocks, plain

# The largest image and the largest frame of a video, in pixels, and the frames of the longest video
# (transformers_utils/processors/minimax_m3.py, common/mm_preprocess.py).
_IMAGE_SIDE = 672
_FRAME_PIXELS = 768 * 28 * 28
_VIDEO_FRAMES = 500


def _attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Return one layer's attention, with an index where the config switches it on for the layer.

    Raises:
        InvalidConfig: the index has another number of heads than keys and values, which the engine insists on.
    """
    attention = grouped_query(text, family, index, kind)
    sparse = text.section("sparse_attention_config")
    if not text.has("sparse_attention_config") or not text.has("moe_layer_freq"):
        name = "moe_layer_freq" if text.has("sparse_attention_config") else "sparse_attention_config"
        raise text.error(name, "missing; it says which layers are sparse")
    switches = sparse.sequence("sparse_attention_freq")
    if index >= len(switches) or not switches[index]:
        return attention
    facts = BlockIndex(
        heads=sparse.integer("sparse_num_index_heads"),
        head_dim=sparse.integer("sparse_index_dim"),
        topk_blocks=sparse.integer("sparse_topk_blocks"),
        block_tokens=sparse.integer("sparse_block_size"),
    )
    if facts.heads != attention.num_kv_heads:
        raise sparse.error(
            "sparse_num_index_heads", f"{facts.heads} is not num_key_value_heads {attention.num_kv_heads}"
        )
    return replace(attention, index=facts)


def _corrected(text: Fields) -> bool:
    return text.flag("use_routing_bias", True)


MINIMAX_M3: Mapping[str, Family] = {
    "MiniMaxM3SparseForCausalLM": Family(
        kinds=all_full, attention=_attention, qk_norm="head",
        names={"intermediate_size": "dense_intermediate_size", "expert_size": "intermediate_size"},
        mixture=Experts(
            count="num_local_experts", size="expert_size", path="block_sparse_moe", router_dtype_bytes=4,
            where=after_dense, shared=shared_by_size("expert_size", "n_shared_experts"), correction=_corrected,
        ),
        defaults={"n_shared_experts": 1},
    ),
}  # fmt: skip


def minimax_tower(config: Fields, text: Fields) -> Vision:
    """Return the encoder, the projector into the language model's width and the merger of neighbouring patches."""
    vision = config.section("vision_config", {"num_channels": 3})
    hidden, inner = vision.integer("hidden_size"), vision.integer("intermediate_size")
    layers, patch = vision.integer("num_hidden_layers"), vision.integer("patch_size")
    compression = vision.section("img_token_compression_config")
    merge = compression.integer("spatial_merge_size", 2, maximum=64)
    values = vision.integer("num_channels") * compression.integer("temporal_patch_size", 2) * patch * patch
    out = text.integer("hidden_size")
    middle = config.integer("projector_hidden_size", out)
    side = patch * merge
    return Vision(
        parts=(
            plain("vision_tower.embeddings", values * hidden),
            plain("vision_tower.pre_layrnorm", 2 * hidden),
            *blocks("vision_tower.encoder.layers", layers, hidden, inner),
            linear("multi_modal_projector.linear_1", middle, hidden, "column", bias=True),
            linear("multi_modal_projector.linear_2", out, middle, "row", bias=True),
            linear("patch_merge_mlp.linear_1", middle, out * merge * merge, "column", bias=True),
            linear("patch_merge_mlp.linear_2", out, middle, "row", bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        sharded_heads=vision.integer("num_attention_heads"),
        max_item_tokens=max(1, _FRAME_PIXELS // (side * side)),
        image_tokens=max(1, _IMAGE_SIDE // side) ** 2,
        images_per_video=_VIDEO_FRAMES // 2,
        patches_per_token=merge * merge,
        patch_values=values,
        takes_video=True,
    )
