"""Vision encoders and their projectors. Source per function: the model file named, vLLM 0.32.0 and 0.33.0."""

from planner.architecture import Part, Tensor, Vision
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.gemma4_audio import gemma4_audio
from planner.config_json.transformer import blocks, plain

# Pixels the published image processors cut an image down to: 12845056 at 28 × 28 (Qwen2-VL), 16777216 at 32 × 32.
_QWEN_TOKENS = 16384
# Fourteen frames, two to a patch, each as large as an image (qwen2_vl.py:_MAX_FRAMES_PER_VIDEO).
_QWEN_VIDEO_IMAGES = 7
# A video of 32 frames, 70 tokens each and 8 more to tell them apart (gemma4_mm.py:get_mm_max_tokens_per_item).
_GEMMA4_VIDEO_TOKENS = 32 * 78
_ROTARY_POSITIONS = 8192
_CONVERTED = ("compressed-tensors", "awq", "gptq", "bitsandbytes")


def qwen2_tower(config: Fields, text: Fields) -> Vision:
    """Qwen2-VL (qwen2_vl.py:Qwen2VisionTransformer)."""
    vision = config.section("vision_config", {"in_channels": 3, "temporal_patch_size": 2})
    hidden, depth, merge = vision.integer("embed_dim"), vision.integer("depth"), vision.integer("spatial_merge_size")
    inner = int(hidden * vision.number("mlp_ratio", 4.0))
    merged = hidden * merge * merge
    return Vision(
        parts=(
            *_patches(vision, hidden, bias=False),
            rotary_table(hidden // vision.integer("num_heads")),
            *blocks("visual.blocks", depth, hidden, inner),
            plain("visual.merger.ln_q", 2 * hidden),
            linear("visual.merger.mlp.0", merged, merged, "column", bias=True),
            linear("visual.merger.mlp.2", vision.integer("hidden_size"), merged, "row", bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        sharded_heads=vision.integer("num_heads"),
        layers=depth,
        max_item_tokens=_QWEN_TOKENS,
        patches_per_token=merge * merge,
        patch_values=_patch_values(vision),
        images_per_video=_QWEN_VIDEO_IMAGES,
        takes_video=True,
    )


def qwen2_5_tower(config: Fields, text: Fields) -> Vision:
    """Qwen2.5-VL (qwen2_5_vl.py:Qwen2_5_VisionTransformer)."""
    vision = config.section("vision_config", {"in_channels": 3, "temporal_patch_size": 2})
    hidden, depth, merge = vision.integer("hidden_size"), vision.integer("depth"), vision.integer("spatial_merge_size")
    inner = vision.integer("intermediate_size")
    merged = hidden * merge * merge
    return Vision(
        parts=(
            *_patches(vision, hidden, bias=False),
            rotary_table(hidden // vision.integer("num_heads")),
            *blocks("visual.blocks", depth, hidden, inner, gated=True, norm_bias=False),
            plain("visual.merger.ln_q", hidden),
            linear("visual.merger.mlp.0", merged, merged, "column", bias=True),
            linear("visual.merger.mlp.2", vision.integer("out_hidden_size"), merged, "row", bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        sharded_heads=vision.integer("num_heads"),
        layers=depth,
        max_item_tokens=_QWEN_TOKENS,
        patches_per_token=merge * merge,
        patch_values=_patch_values(vision),
        gated=True,
        images_per_video=_QWEN_VIDEO_IMAGES,
        takes_video=True,
    )


def qwen3_tower(config: Fields, text: Fields) -> Vision:
    """Qwen3-VL and Qwen3.5 (qwen3_vl.py:Qwen3_VisionTransformer); deepstack mergers feed further layers."""
    defaults = {"in_channels": 3, "temporal_patch_size": 2, "spatial_merge_size": 2, "num_position_embeddings": 2304}
    vision = config.section("vision_config", defaults)
    hidden, depth, merge = vision.integer("hidden_size"), vision.integer("depth"), vision.integer("spatial_merge_size")
    inner, out = vision.integer("intermediate_size"), vision.integer("out_hidden_size")
    levels = len(vision.sequence("deepstack_visual_indexes"))
    merged = hidden * merge * merge
    mergers: list[Part] = []
    for index in range(levels + 1):
        path = f"visual.deepstack_merger_list.{index - 1}" if index else "visual.merger"
        mergers += [
            plain(f"{path}.norm", 2 * (merged if index else hidden)),
            linear(f"{path}.linear_fc1", merged, merged, "column", bias=True),
            linear(f"{path}.linear_fc2", out, merged, "row", bias=True),
        ]
    return Vision(
        parts=(
            *_patches(vision, hidden, bias=True),
            rotary_table(hidden // vision.integer("num_heads")),
            plain("visual.pos_embed", vision.integer("num_position_embeddings") * hidden),
            *mergers,
            *blocks("visual.blocks", depth, hidden, inner),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        sharded_heads=vision.integer("num_heads"),
        layers=depth,
        max_item_tokens=_QWEN_TOKENS,
        patches_per_token=merge * merge,
        patch_values=_patch_values(vision),
        stacked_levels=levels,
        takes_video=True,
    )


def gemma3_tower(config: Fields, text: Fields) -> Vision:
    """Gemma 3: SigLIP and a projection (gemma3_mm.py, siglip.py)."""
    vision = config.section("vision_config")
    hidden = vision.integer("hidden_size")
    return Vision(
        parts=(
            *_siglip("vision_tower.vision_model", vision),
            plain("vision_tower.vision_model.post_layernorm", 2 * hidden),
            plain("multi_modal_projector", hidden * text.integer("hidden_size"), hidden),
        ),
        hidden_size=hidden,
        intermediate_size=vision.integer("intermediate_size"),
        layers=vision.integer("num_hidden_layers"),
        max_item_tokens=config.integer("mm_tokens_per_image", 256),
        patches_per_token=(vision.integer("image_size") // vision.integer("patch_size")) ** 2
        // config.integer("mm_tokens_per_image", 256),
        patch_values=3 * vision.integer("patch_size") ** 2,
        both_ways=True,
    )


def llava_tower(config: Fields, text: Fields) -> Vision:
    """LLaVA: CLIP or Pixtral up to the feature layer, then two linear layers (llava.py, clip.py)."""
    vision = config.section("vision_config", {"num_hidden_layers": 24, "intermediate_size": 4096})
    if vision.text("model_type") == "pixtral":
        return _pixtral(config, text, merged=False)
    hidden, layers = vision.integer("hidden_size"), _feature_layers(config, vision)
    out = text.integer("hidden_size")
    patches = (vision.integer("image_size") // vision.integer("patch_size")) ** 2
    newline = (plain("image_newline", out),) if config.text("model_type") == "llava_next" else ()
    return Vision(
        parts=(
            *newline,
            plain(
                "vision_tower.vision_model.embeddings",
                hidden,
                3 * hidden * vision.integer("patch_size") ** 2,
                (patches + 1) * hidden,
                2 * hidden,
            ),
            *blocks("vision_tower.vision_model.encoder.layers", layers, hidden, vision.integer("intermediate_size")),
            linear("multi_modal_projector.linear_1", out, hidden, "column", bias=True),
            linear("multi_modal_projector.linear_2", out, out, "row", bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=vision.integer("intermediate_size"),
        layers=layers,
        # LLaVA-NeXT cuts an image into up to four tiles beside the whole, with a newline per row.
        max_item_tokens=5 * patches + 48 if newline else patches,
        patch_values=3 * vision.integer("patch_size") ** 2,
    )


def mistral3_tower(config: Fields, text: Fields) -> Vision:
    """Mistral 3: Pixtral and a patch merger (mistral3.py, pixtral.py).

    The publisher's own repositories carry weights in Mistral's format too, which the engine prefers; its encoder is
    whole on every rank. Checkpoints others have quantized come in the transformers format, whose encoder is sharded.
    """
    converted = config.section("quantization_config").text("quant_method") in _CONVERTED
    return _pixtral(config, text, merged=True, sharded=converted)


def _pixtral(config: Fields, text: Fields, *, merged: bool, sharded: bool = True) -> Vision:
    defaults = {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "num_channels": 3, "image_size": 1024, "patch_size": 16,
    }  # fmt: skip
    vision = config.section("vision_config", defaults)
    hidden, out, merge = vision.integer("hidden_size"), text.integer("hidden_size"), 1
    patch = vision.integer("patch_size")
    bias = config.flag("multimodal_projector_bias", not merged)
    projector: list[Part] = []
    if merged:
        merge = config.integer("spatial_merge_size", 2)
        projector = [
            plain("multi_modal_projector.norm", hidden),
            linear("multi_modal_projector.patch_merger.merging_layer", hidden, hidden * merge * merge),
        ]
    side = vision.integer("image_size") // (patch * merge)
    return Vision(
        parts=(
            plain("vision_tower.patch_conv", vision.integer("num_channels") * hidden * patch * patch, hidden),
            *blocks(
                "vision_tower.transformer.layers", _feature_layers(config, vision), hidden,
                vision.integer("intermediate_size"), bias=False, gated=True, norm_bias=False, sharded=sharded,
            ),
            *projector,
            linear("multi_modal_projector.linear_1", out, hidden, "column", bias=bias),
            linear("multi_modal_projector.linear_2", out, out, "row", bias=bias),
        ),
        hidden_size=hidden,
        intermediate_size=vision.integer("intermediate_size"),
        layers=_feature_layers(config, vision),
        max_item_tokens=side * (side + 1),
        patches_per_token=merge * merge,
        patch_values=3 * patch * patch,
        gated=True,
    )  # fmt: skip


def llama4_tower(config: Fields, text: Fields) -> Vision:
    """Llama 4 (mllama4.py:Llama4VisionModel); up to sixteen tiles and the whole image."""
    vision = config.section("vision_config")
    hidden, inner = vision.integer("hidden_size"), vision.integer("intermediate_size")
    size, patch = vision.integer("image_size"), vision.integer("patch_size")
    patches = (size // patch) ** 2
    shrink = _shrink(vision, "pixel_shuffle_ratio")
    return Vision(
        parts=(
            plain(
                "vision_model.embeddings", hidden, (patches + 1) * hidden, 4 * hidden
            ),
            Tensor(
                path="vision_model.rotary_table",
                elements=(patches + 1) * (hidden // vision.integer("num_attention_heads")),
                dtype_bytes=4,
            ),
            linear("vision_model.patch_embedding.linear", hidden, 3 * patch * patch, "column"),
            *blocks("vision_model.model.layers", vision.integer("num_hidden_layers"), hidden, inner),
            linear("vision_model.vision_adapter.mlp.fc1", vision.integer("projector_input_dim"), inner, "column"),
            linear(
                "vision_model.vision_adapter.mlp.fc2", vision.integer("projector_output_dim"),
                vision.integer("projector_input_dim"), "row",
            ),
            linear(
                "multi_modal_projector.linear_1", text.integer("hidden_size"), vision.integer("vision_output_dim"),
                "column",
            ),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=vision.integer("num_hidden_layers"),
        max_item_tokens=17 * (patches // shrink),
        patches_per_token=shrink,
        patch_values=3 * patch * patch,
    )  # fmt: skip


def internvl_tower(config: Fields, text: Fields) -> Vision:
    """InternVL in the transformers format (interns1_vit.py); up to twelve tiles and the whole image."""
    vision = config.section("vision_config")
    hidden, inner = vision.integer("hidden_size"), vision.integer("intermediate_size")
    patches = _side(vision, "image_size") // _side(vision, "patch_size")
    shrink = _shrink(config, "downsample_ratio")
    out = text.integer("hidden_size")
    extra = (2 * hidden if vision.flag("use_qk_norm") else 0) + 2 * hidden
    return Vision(
        parts=(
            plain(
                "vision_tower.embeddings", hidden, (patches * patches + 1) * hidden,
                3 * hidden * _side(vision, "patch_size") ** 2 + hidden,
            ),
            *blocks(
                "vision_tower.encoder.layer", vision.integer("num_hidden_layers"), hidden, inner,
                qkv_bias=vision.flag("attention_bias", True), norm_bias=vision.text("norm_type") != "rms_norm",
                attention_sharded=False,
                extra=extra,
            ),
            plain("multi_modal_projector.layer_norm", 2 * hidden * shrink),
            linear("multi_modal_projector.linear_1", out, hidden * shrink, bias=True),
            linear("multi_modal_projector.linear_2", out, out, bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=vision.integer("num_hidden_layers"),
        max_item_tokens=13 * config.integer("image_seq_length", 256),
        patches_per_token=shrink,
        patch_values=3 * _side(vision, "patch_size") ** 2,
        takes_video=True,
    )  # fmt: skip


def glm4v_tower(config: Fields, text: Fields) -> Vision:
    """GLM-4.1V and GLM-4.5V (glm4_1v.py:Glm4vVisionTransformer)."""
    vision = config.section("vision_config", {"in_channels": 3, "temporal_patch_size": 2, "spatial_merge_size": 2})
    hidden, out, depth = vision.integer("hidden_size"), vision.integer("out_hidden_size"), vision.integer("depth")
    merge, inner = vision.integer("spatial_merge_size"), vision.integer("intermediate_size")
    positions = (vision.integer("image_size") // vision.integer("patch_size")) ** 2
    return Vision(
        parts=(
            *_patches(vision, hidden, bias=True),
            rotary_table(hidden // vision.integer("num_heads")),
            *blocks("visual.blocks", depth, hidden, out, bias=vision.flag("attention_bias"), gated=True,
                    norm_bias=False),
            linear("visual.merger.proj", out, out, "column"),
            plain("visual.merger.post_projection_norm", 2 * out),
            linear("visual.merger.gate_up_proj", 2 * inner, out, "column"),
            linear("visual.merger.down_proj", out, inner, "row"),
            plain("visual.embeddings", positions * hidden, 2 * hidden),
            plain("visual.downsample", out * hidden * merge * merge, out),
        ),
        hidden_size=hidden,
        intermediate_size=out,
        sharded_heads=vision.integer("num_heads"),
        layers=depth,
        max_item_tokens=_QWEN_TOKENS,
        patches_per_token=merge * merge,
        patch_values=_patch_values(vision),
        gated=True,
        takes_video=True,
    )  # fmt: skip


def gemma4_tower(config: Fields, text: Fields) -> Vision | None:
    """Gemma 4: an encoder of the transformers library, the same on every rank (gemma4_mm.py)."""
    if not config.has("vision_config"):
        return None
    vision = config.section("vision_config")
    hidden, layers = vision.integer("hidden_size"), vision.integer("num_hidden_layers")
    inner, patch = vision.integer("intermediate_size"), vision.integer("patch_size", 16)
    heads = vision.integer("num_attention_heads")
    width = vision.integer("head_dim", hidden // heads)
    positions = vision.integer("position_embedding_size", 10240)
    image = vision.integer("default_output_length", 280)
    return Vision(
        parts=(
            plain("vision_tower.patch_embedder", 2 * positions * hidden, 3 * patch * patch * hidden),
            *blocks(
                "vision_tower.encoder.layers", layers, hidden, inner, bias=False, gated=True, norm_bias=False, norms=4,
                attention_width=heads * width, sharded=False, extra=2 * width,
            ),
            plain("embed_vision.embedding_projection", hidden * text.integer("hidden_size")),
            *gemma4_audio(config, text),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        max_item_tokens=max(image, _GEMMA4_VIDEO_TOKENS),
        image_tokens=image,
        takes_video=True,
        # Four 64-bit one-hot rows of positions (gemma4_mm.py:_encoder_chunk).
        chunk_patch_bytes=4 * 8 * positions,
        patches_per_token=vision.integer("pooling_kernel_size", 3) ** 2,
        patch_values=3 * patch * patch,
        gated=True,
        both_ways=text.get("use_bidirectional_attention") == "vision",
    )  # fmt: skip


def _shrink(fields: Fields, name: str) -> int:
    """Return how many patches become one token, from the ratio of the sides."""
    return int(1 / fields.number(name, 0.5, minimum=1 / 64, maximum=1.0)) ** 2


def _patches(vision: Fields, hidden: int, *, bias: bool) -> tuple[Tensor, ...]:
    """Return the convolution that turns pixels into patches."""
    return (plain("visual.patch_embed", _patch_values(vision) * hidden, hidden if bias else 0),)


def _patch_values(vision: Fields) -> int:
    """Return the values of one patch: its pixels in all channels, of as many frames as are taken together."""
    channels = vision.integer("in_channels") if vision.has("in_channels") else vision.integer("in_chans", 3)
    return channels * vision.integer("temporal_patch_size", 2) * vision.integer("patch_size") ** 2


def rotary_table(head_dim: int) -> Tensor:
    """Return the tower's own rotary table: 8192 positions over half a head (get_rope in qwen2_vl.py and kin)."""
    return plain("visual.rotary_table", _ROTARY_POSITIONS * (head_dim // 2))


def _siglip(path: str, vision: Fields) -> tuple[Part, ...]:
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    positions = (vision.integer("image_size") // patch) ** 2
    layers, inner = vision.integer("num_hidden_layers"), vision.integer("intermediate_size")
    return (
        plain(f"{path}.embeddings", 3 * hidden * patch * patch, hidden, positions * hidden),
        *blocks(f"{path}.encoder.layers", layers, hidden, inner),
    )


def _feature_layers(config: Fields, vision: Fields) -> int:
    """Return how many layers run: a negative feature layer counts from the end."""
    layers = vision.integer("num_hidden_layers")
    wanted = config.integer("vision_feature_layer", -1, minimum=-layers, maximum=layers)
    return layers + wanted + 1 if wanted < 0 else wanted


def _side(vision: Fields, name: str) -> int:
    """Return one side of a size that may be given as a pair."""
    value = vision.get(name)
    if isinstance(value, list | tuple) and value and all(isinstance(side, int) for side in value):
        return max(int(side) for side in value)
    return vision.integer(name)
