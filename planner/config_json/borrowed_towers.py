"""Encoders with facts fixed in the engine's model files, and SigLIP under further projectors.

Source per function: the model file named, vLLM 0.32.0.
"""

from planner.architecture import Part, Vision, Vocabulary
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.plain_towers import described, feature_layers, siglip
from planner.config_json.transformer import blocks, plain

_PACKED_POSITIONS = 32768
# CLIP ViT-L/14 at 336 and 224 pixels: hidden and inner size, positions, layers.
_CLIP_HIDDEN, _CLIP_INNER, _CLIP_LAYERS, _CLIP_PATCH = 1024, 4096, 24, 14
_CLIP_336, _CLIP_224 = 577, 257
# SAM ViT-B at 1024 pixels (deepencoder.py:build_sam_vit_b).
_SAM_HIDDEN, _SAM_LAYERS, _SAM_HEAD, _SAM_SIDE, _SAM_WINDOW, _SAM_OUT = 768, 12, 64, 64, 14, 256
_SAM_GLOBAL = 4


def eagle_tower(config: Fields, text: Fields) -> Vision:
    """Eagle 2.5 (eagle2_5_vl.py): SigLIP, pixel shuffle, a norm and two layers, the projector whole on every rank."""
    vision = config.section("vision_config")
    hidden, out = vision.integer("hidden_size"), text.integer("hidden_size")
    shrink = int(1 / config.number("downsample_ratio", 0.5, minimum=1 / 64, maximum=1.0)) ** 2
    layers = feature_layers(config.renamed({"vision_feature_layer": "select_layer"}, {}), vision)
    parts = (
        *siglip("vision_model.vision_model", vision, layers, post_norm=layers == vision.integer("num_hidden_layers")),
        plain("mlp1.0", 2 * hidden * shrink),
        linear("mlp1.1", out, hidden * shrink, bias=True),
        linear("mlp1.3", out, out, bias=True),
    )
    patches = (vision.integer("image_size") // vision.integer("patch_size")) ** 2
    return described(vision, parts, 13 * patches // shrink, shrink)


def bee_tower(config: Fields, text: Fields) -> Vision:
    """Bee (bee.py): SigLIP, a norm and two layers four times as wide as the language model, tiles and a newline."""
    vision = config.section("vision_config")
    hidden, out = vision.integer("hidden_size"), text.integer("hidden_size")
    parts = (
        plain("image_newline", out),
        *siglip("vision_tower.vision_model", vision, feature_layers(config, vision), post_norm=False),
        plain("multi_modal_projector.pre_norm", 2 * hidden),
        linear("multi_modal_projector.linear_1", 4 * out, hidden, bias=True),
        linear("multi_modal_projector.linear_2", out, 4 * out, bias=True),
    )
    return described(vision, parts, 10 * (vision.integer("image_size") // vision.integer("patch_size")) ** 2)


def keye_tower(config: Fields, text: Fields) -> Vision:
    """Keye-VL (keye.py): SigLIP with a second table of positions, and a projector over merged patches."""
    return _keye(config, text, 1)


def keye15_tower(config: Fields, text: Fields) -> Vision:
    """Keye-VL 1.5 (keye_vl1_5.py): the same; its norm covers the merged patches."""
    vision = config.section("vision_config")
    return _keye(config, text, vision.integer("spatial_merge_size", 2) ** 2)


def _keye(config: Fields, text: Fields, normed: int) -> Vision:
    vision = config.section("vision_config")
    hidden, merge = vision.integer("hidden_size"), vision.integer("spatial_merge_size", 2) ** 2
    parts = (
        *siglip("visual.vision_model", vision, vision.integer("num_hidden_layers"), post_norm=True),
        plain("visual.vision_model.embeddings.packing_position_embedding", _PACKED_POSITIONS * hidden),
        plain("mlp_AR.pre_norm", 2 * hidden * normed),
        linear("mlp_AR.linear_1", hidden * merge, hidden * merge, "column", bias=True),
        linear("mlp_AR.linear_2", text.integer("hidden_size"), hidden * merge, "row", bias=True),
    )
    return described(vision, parts, 16384, merge)


def dots_tower(config: Fields, text: Fields) -> Vision:
    """dots.ocr (dots_ocr.py): gated blocks without biases and a merger of patches."""
    vision = config.section("vision_config", {"num_channels": 3, "spatial_merge_size": 2})
    hidden, inner, patch = (
        vision.integer("embed_dim"),
        vision.integer("intermediate_size"),
        vision.integer("patch_size"),
    )
    merge, layers, bias = (
        vision.integer("spatial_merge_size") ** 2,
        vision.integer("num_hidden_layers"),
        vision.flag("use_bias"),
    )
    out = vision.integer("hidden_size", text.integer("hidden_size"))
    return Vision(
        parts=(
            plain("vision_tower.patch_embed", vision.integer("num_channels") * hidden * patch * patch, hidden, hidden),
            *blocks("vision_tower.blocks", layers, hidden, inner, bias=bias, gated=True, norm_bias=False),
            plain("vision_tower.post_trunk_norm", hidden * vision.flag("post_norm", True)),
            plain("vision_tower.merger.ln_q", 2 * hidden),
            linear("vision_tower.merger.mlp.0", hidden * merge, hidden * merge, "column", bias=True),
            linear("vision_tower.merger.mlp.2", out, hidden * merge, "row", bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        max_item_tokens=16384,
        patches_per_token=merge,
        patch_values=3 * patch * patch,
        gated=True,
    )


def _clip(path: str, layers: int, positions: int, *, patches: bool = True) -> tuple[Part, ...]:
    hidden = _CLIP_HIDDEN
    pixels = 3 * hidden * _CLIP_PATCH**2 * patches
    return (
        plain(f"{path}.embeddings", hidden, pixels, positions * hidden, 2 * hidden),
        *blocks(f"{path}.encoder.layers", layers, hidden, _CLIP_INNER),
    )


def phi3v_tower(config: Fields, text: Fields) -> Vision:
    """Phi-3-Vision (phi3v.py): CLIP up to the last layer but one, two layers, and token embeddings of its own."""
    out = text.integer("hidden_size")
    processor = config.section("img_processor")
    merged = 4 * processor.integer("image_dim_out", _CLIP_HIDDEN)
    wanted = processor.integer("layer_idx", -2, minimum=-_CLIP_LAYERS, maximum=_CLIP_LAYERS)
    layers = _CLIP_LAYERS + wanted + 1 if wanted < 0 else wanted + 1
    path = "vision_embed_tokens"
    return Vision(
        parts=(
            Vocabulary(path="embed_tokens", rows=text.integer("vocab_size"), width=out),
            *_clip(f"{path}.img_processor.vision_model", layers, _CLIP_336),
            plain(f"{path}.newlines", 2 * merged),
            linear(f"{path}.img_projection.0", out, merged, bias=True),
            linear(f"{path}.img_projection.2", out, out, bias=True),
        ),
        hidden_size=_CLIP_HIDDEN,
        intermediate_size=_CLIP_INNER,
        layers=layers,
        max_item_tokens=17 * 144 + 1 + 17 * 12,
        patches_per_token=4,
        patch_values=3 * _CLIP_PATCH**2,
    )


def deepseek_ocr_tower(config: Fields, text: Fields) -> Vision:
    """DeepSeek-OCR (deepseek_ocr.py, deepencoder.py): SAM and CLIP one after the other, and one matrix."""
    projector = config.section("projector_config")
    inputs, out = projector.integer("input_dim", 2048), projector.integer("n_embed", 1280)
    return Vision(
        parts=(
            *_sam(),
            *_clip("vision_model", _CLIP_LAYERS, _CLIP_224),
            linear("projector.layers", out, inputs, bias=True),
            plain("image_newline", 2 * out),
        ),
        hidden_size=_CLIP_HIDDEN,
        intermediate_size=_CLIP_INNER,
        layers=_SAM_LAYERS + _CLIP_LAYERS,
        max_item_tokens=1156,
        patches_per_token=16,
        patch_values=3 * 16 * 16,
    )


def _sam() -> tuple[Part, ...]:
    """Return SAM: positions relative to a window in all layers but four, and a neck that shrinks sixteenfold."""
    hidden, out = _SAM_HIDDEN, _SAM_OUT
    windows = (_SAM_LAYERS - _SAM_GLOBAL) * 2 * (2 * _SAM_WINDOW - 1)
    whole = _SAM_GLOBAL * 2 * (2 * _SAM_SIDE - 1)
    return (
        plain("sam_model.embed", 3 * hidden * 256, hidden, _SAM_SIDE**2 * hidden, (windows + whole) * _SAM_HEAD),
        *blocks("sam_model.blocks", _SAM_LAYERS, hidden, 4 * hidden, sharded=False),
        plain("sam_model.neck", hidden * out, 9 * out * out, 4 * out, 9 * out * 512, 9 * 512 * 1024),
    )
