"""Encoders of newer models that vary Qwen's, GLM's and Pixtral's. Source per function: the model file named, 0.32.0."""

from msgspec.structs import replace

from planner.architecture import Part, Vision
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.plain_towers import siglip
from planner.config_json.towers import qwen2_5_tower, rotary_table
from planner.config_json.transformer import blocks, plain

_VIDEO_TOKENS = 32 * 78  # as of Gemma 4's encoder-based models
_UNIFIED_WIDTH = 3840  # the class default of what the embedder puts out
_PIXEL_TOKENS = 16384
_PIXTRAL = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_channels": 3, "image_size": 1540, "patch_size": 14,
}  # fmt: skip


def exaone_tower(config: Fields, text: Fields) -> Vision:
    """EXAONE 4.5 (exaone4_5.py): the tower of Qwen2.5-VL with fewer key-value heads."""
    found = qwen2_5_tower(config, text)
    vision = config.section("vision_config")
    hidden, heads = vision.integer("hidden_size"), vision.integer("num_heads")
    kv_heads = vision.integer("num_key_value_heads", heads)
    changed = blocks(
        "visual.blocks", vision.integer("depth"), hidden, vision.integer("intermediate_size"), gated=True,
        norm_bias=False, kv_width=kv_heads * (hidden // heads),
    )  # fmt: skip
    kept = tuple(part for part in found.parts if not _path(part).startswith("visual.blocks."))
    return replace(found, parts=(*kept, *changed))


def glm_ocr_tower(config: Fields, text: Fields) -> Vision:
    """GLM-OCR (glm_ocr.py): GLM-4.1V's tower with norms on queries and keys and without learned positions."""
    vision = config.section("vision_config")
    hidden, out, depth = vision.integer("hidden_size"), vision.integer("out_hidden_size"), vision.integer("depth")
    merge, inner, heads = (
        vision.integer("spatial_merge_size"), vision.integer("intermediate_size"), vision.integer("num_heads")
    )  # fmt: skip
    patch_values = (
        vision.integer("in_channels") * vision.integer("temporal_patch_size") * vision.integer("patch_size") ** 2
    )
    size = hidden // heads
    return Vision(
        parts=(
            plain("visual.patch_embed", patch_values * hidden, hidden),
            rotary_table(size),
            *blocks(
                "visual.blocks", depth, hidden, inner, bias=vision.flag("attention_bias"), gated=True, norm_bias=False,
                extra=2 * size,
            ),
            linear("visual.merger.proj", out, out, "column"),
            plain("visual.merger.post_projection_norm", 2 * out),
            linear("visual.merger.gate_up_proj", 2 * inner, out, "column"),
            linear("visual.merger.down_proj", out, inner, "row"),
            plain("visual.downsample", out * hidden * merge * merge, out),
            plain("visual.post_layernorm", hidden),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=depth,
        max_item_tokens=_PIXEL_TOKENS,
        patches_per_token=merge * merge,
        patch_values=patch_values,
        gated=True,
        sharded_heads=heads,
    )  # fmt: skip


def gemma4_unified_tower(config: Fields, text: Fields) -> Vision | None:
    """Gemma 4 without encoders (gemma4_unified.py): patches and sound are projected as they are."""
    if not config.has("vision_config"):
        return None
    vision, out = config.section("vision_config"), text.integer("hidden_size")
    width = vision.integer("mm_embed_dim")
    side = vision.integer("model_patch_size", vision.integer("patch_size") * vision.integer("pooling_kernel_size"))
    values = 3 * side * side
    projected = vision.integer("output_proj_dims", _UNIFIED_WIDTH)
    parts: list[Part] = [
        plain("vision_embedder.norms", 2 * values, 4 * width),
        linear("vision_embedder.patch_dense", width, values, "column", bias=True),
        plain("vision_embedder.pos_embedding", 2 * vision.integer("mm_posemb_size") * width),
        linear("embed_vision.embedding_projection", out, projected),
    ]
    if config.has("audio_config"):
        audio = config.section("audio_config")
        sound = audio.integer("output_proj_dims", audio.integer("audio_embed_dim", 640))
        parts.append(linear("embed_audio.embedding_projection", out, sound))
    return Vision(
        parts=tuple(parts),
        max_item_tokens=max(vision.integer("num_soft_tokens", 280), _VIDEO_TOKENS),
        patch_values=values,
        both_ways=text.get("use_bidirectional_attention") == "vision",
    )


def lighton_tower(config: Fields, text: Fields) -> Vision:
    """LightOnOCR (lightonocr.py): Pixtral, a patch merger and two layers."""
    vision = config.section("vision_config", _PIXTRAL)
    hidden, inner, patch = (
        vision.integer("hidden_size"),
        vision.integer("intermediate_size"),
        vision.integer("patch_size"),
    )
    merge, out, layers = (
        config.integer("spatial_merge_size", 2),
        text.integer("hidden_size"),
        vision.integer("num_hidden_layers"),
    )
    bias = config.flag("multimodal_projector_bias")
    side = vision.integer("image_size") // (patch * merge)
    return Vision(
        parts=(
            plain("vision_encoder.patch_conv", vision.integer("num_channels") * hidden * patch * patch, hidden),
            *blocks(
                "vision_encoder.transformer.layers", layers, hidden, inner, bias=False, gated=True, norm_bias=False
            ),
            plain("vision_projection.norm", hidden),
            linear("vision_projection.patch_merger.merging_layer", hidden, hidden * merge * merge),
            linear("vision_projection.linear_1", out, hidden, "column", bias=bias),
            linear("vision_projection.linear_2", out, out, "row", bias=bias),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        max_item_tokens=side * (side + 1),
        patches_per_token=merge * merge,
        patch_values=3 * patch * patch,
        gated=True,
    )


def paddle_tower(config: Fields, text: Fields) -> Vision:
    """PaddleOCR-VL (paddleocr_vl.py): SigLIP over patches of any number, and a projector over merged patches."""
    vision = config.section("vision_config")
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    merge = vision.integer("spatial_merge_size", 2) ** 2
    layers = vision.integer("num_hidden_layers")
    return Vision(
        parts=(
            *siglip("visual.vision_model", vision, layers, post_norm=True),
            plain("mlp_AR.pre_norm", 2 * hidden),
            linear("mlp_AR.linear_1", hidden * merge, hidden * merge, bias=True),
            linear("mlp_AR.linear_2", text.integer("hidden_size"), hidden * merge, bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=vision.integer("intermediate_size"),
        layers=layers,
        max_item_tokens=_PIXEL_TOKENS // merge,
        patches_per_token=merge,
        patch_values=3 * patch * patch,
    )


def _path(part: Part) -> str:
    columns = getattr(part, "columns", None)
    return columns[0].path if columns else getattr(part, "path", "")
