"""Encoders of images that are SigLIP, CLIP, InternViT or MoonViT with a projector of the model's own.

Source per function: the model file named, vLLM 0.32.0 and 0.33.0.
"""

from planner.architecture import Part, Vision
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.transformer import blocks, plain

# Tiles an image is cut into at most, beside the whole, where the processor's file decides (published settings).
_TILES = 12
_ONEVISION_TILES = 9


def siglip(path: str, vision: Fields, layers: int, *, post_norm: bool) -> tuple[Part, ...]:
    """Return a SigLIP encoder without its pooling head (siglip.py, idefics2_vision_model.py)."""
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    positions = vision.integer("num_patches", (vision.integer("image_size", 1) // patch) ** 2, minimum=0)
    return (
        plain(f"{path}.embeddings", vision.integer("num_channels", 3) * hidden * patch * patch, hidden,
              positions * hidden),
        *blocks(f"{path}.encoder.layers", layers, hidden, vision.integer("intermediate_size")),
        plain(f"{path}.post_layernorm", 2 * hidden * post_norm),
    )  # fmt: skip


def described(vision: Fields, parts: tuple[Part, ...], tokens: int, per_token: int = 1) -> Vision:
    """Return a tower of plain blocks with what sizes its cache and its activations."""
    patch = vision.integer("patch_size")
    return Vision(
        parts=parts,
        hidden_size=vision.integer("hidden_size"),
        intermediate_size=vision.integer("intermediate_size"),
        layers=vision.integer("num_hidden_layers"),
        max_item_tokens=tokens,
        patches_per_token=per_token,
        patch_values=3 * patch * patch,
    )


def feature_layers(config: Fields, vision: Fields, default: int = -1) -> int:
    """Return how many layers run: a negative feature layer counts from the end."""
    layers = vision.integer("num_hidden_layers")
    wanted = config.integer("vision_feature_layer", default, minimum=-layers, maximum=layers)
    return layers + wanted + 1 if wanted < 0 else wanted


def _patches(vision: Fields) -> int:
    return int((vision.integer("image_size") // vision.integer("patch_size")) ** 2)


def two_layers(path: str, inputs: int, inner: int, out: int, *, bias: bool = True) -> tuple[Part, ...]:
    """Return a projector of two linear layers, the first column- and the second row-parallel."""
    return linear(f"{path}.linear_1", inner, inputs, "column", bias=bias), linear(
        f"{path}.linear_2", out, inner, "row", bias=bias
    )


def onevision_tower(config: Fields, text: Fields) -> Vision:
    """LLaVA-OneVision (llava_onevision.py): SigLIP up to the feature layer, tiles and the whole, a newline."""
    vision = config.section("vision_config")
    hidden, out = vision.integer("hidden_size"), text.integer("hidden_size")
    layers, patches = feature_layers(config, vision), _patches(vision)
    side = vision.integer("image_size") // vision.integer("patch_size")
    bias = config.flag("multimodal_projector_bias", True)
    parts = (
        plain("image_newline", out),
        *siglip("vision_tower.vision_model", vision, layers, post_norm=False),
        linear("multi_modal_projector.linear_1", out, hidden, bias=bias),
        linear("multi_modal_projector.linear_2", out, out, bias=bias),
    )
    return described(vision, parts, (_ONEVISION_TILES + 1) * patches + _ONEVISION_TILES * side)


def idefics3_tower(config: Fields, text: Fields) -> Vision:
    """Idefics 3 and SmolVLM (idefics3.py): SigLIP, pixel shuffle and one matrix."""
    vision = config.section("vision_config")
    hidden, shrink = vision.integer("hidden_size"), config.integer("scale_factor", 2) ** 2
    layers = vision.integer("num_hidden_layers")
    parts = (
        *siglip("model.vision_model", vision, layers, post_norm=True),
        linear("model.connector.modality_projection.proj", text.integer("hidden_size"), hidden * shrink),
    )
    return described(vision, parts, (_TILES + 5) * _patches(vision) // shrink, shrink)


def cohere2_vision_tower(config: Fields, text: Fields) -> Vision:
    """Command A Vision (cohere2_vision.py): SigLIP, pixel shuffle and a gated projector."""
    vision = config.section("vision_config")
    hidden, shrink = vision.integer("hidden_size"), config.integer("downsample_factor", 2) ** 2
    inner = config.integer("alignment_intermediate_size", 36864)
    parts = (
        *siglip("vision_tower.vision_model", vision, vision.integer("num_hidden_layers"), post_norm=True),
        linear("multi_modal_projector.linear_1", inner, hidden * shrink, "column", bias=True),
        linear("multi_modal_projector.linear_2", text.integer("hidden_size"), inner // 2, "row", bias=True),
    )
    return described(vision, parts, (_TILES + 1) * _patches(vision) // shrink, shrink)


def paligemma_tower(config: Fields, text: Fields) -> Vision:
    """PaliGemma (paligemma.py): SigLIP and one matrix."""
    vision = config.section("vision_config")
    hidden, out = vision.integer("hidden_size"), vision.integer("projection_dim", text.integer("hidden_size"))
    parts = (
        *siglip("vision_tower.vision_model", vision, vision.integer("num_hidden_layers"), post_norm=True),
        linear("multi_modal_projector.linear", out, hidden, bias=True),
    )
    return described(vision, parts, _patches(vision))


def aria_tower(config: Fields, text: Fields) -> Vision:
    """Aria (aria.py): SigLIP, and queries that attend to its patches."""
    vision = config.section("vision_config")
    hidden, out = vision.integer("hidden_size"), text.integer("hidden_size")
    queries = config.section("projector_patch_to_query_dict").values
    counts = [count for count in queries.values() if isinstance(count, int)]
    most = config.integer("max_value_projector_patch_to_query_dict", max(counts, default=256))
    path, square = "multi_modal_projector.cross_attn", hidden * hidden
    parts = (
        *siglip("vision_tower", vision, feature_layers(config, vision), post_norm=False),
        plain(f"{path}.query", most * hidden),
        plain(path, 3 * square, 3 * square + 3 * hidden, square + hidden, square + hidden, 4 * hidden),
        plain("multi_modal_projector.layer_norm", 2 * hidden),
        linear("multi_modal_projector.feed_forward.linear_in", text.integer("intermediate_size"), hidden, "column"),
        linear("multi_modal_projector.feed_forward.linear_out", out, text.integer("intermediate_size"), "row"),
    )
    return described(vision, parts, most)


def lfm2_tower(config: Fields, text: Fields) -> Vision:
    """LFM2-VL (lfm2_vl.py): SigLIP 2 over patches of any number, pixel shuffle, a projector of two layers."""
    vision = config.section("vision_config")
    hidden, shrink = vision.integer("hidden_size"), config.integer("downsample_factor", 2) ** 2
    inner, bias = config.integer("projector_hidden_size"), config.flag("projector_bias", True)
    parts = (
        *siglip("vision_tower.vision_model", vision, feature_layers(config, vision), post_norm=True),
        plain("multi_modal_projector.layer_norm", 2 * hidden * shrink * config.flag("projector_use_layernorm", True)),
        linear("multi_modal_projector.linear_1", inner, hidden * shrink, bias=bias),
        linear("multi_modal_projector.linear_2", text.integer("hidden_size"), inner, bias=bias),
    )
    return described(vision, parts, 10 * 256 + 256, shrink)


def internvit_tower(config: Fields, text: Fields) -> Vision:
    """InternVL in its own format, and its kin (intern_vit.py, internvl.py); up to twelve tiles and the whole image."""
    vision = config.section("vision_config", {"num_channels": 3, "qkv_bias": True})
    hidden, patch, out = vision.integer("hidden_size"), vision.integer("patch_size"), text.integer("hidden_size")
    patches = _patches(vision)
    shrink = int(1 / config.number("downsample_ratio", 0.5, minimum=1 / 64, maximum=1.0)) ** 2
    layers = feature_layers(config.renamed({"vision_feature_layer": "select_layer"}, {}), vision)
    rms = vision.text("norm_type", "rms_norm") == "rms_norm"
    extra = 2 * hidden + (2 * hidden if vision.flag("qk_normalization") else 0)
    width = hidden // vision.integer("num_attention_heads") * vision.integer("num_dummy_heads", 0, minimum=0) + hidden
    extra += 2 * (width - hidden) if vision.flag("qk_normalization") else 0
    projector: tuple[Part, ...] = (
        linear("mlp1.1", out, hidden * shrink, bias=True),
        linear("mlp1.3", out, out, bias=True),
    )
    if config.text("model_type") == "NVLM_D":
        inner = text.integer("intermediate_size")
        projector = linear("mlp1.1", inner, hidden * shrink), linear("mlp1.3", out, inner)
    parts = (
        plain("vision_model.embeddings", hidden, (patches + 1) * hidden, 3 * hidden * patch * patch + hidden),
        *blocks(
            "vision_model.encoder.layers", layers, hidden, vision.integer("intermediate_size"),
            qkv_bias=vision.flag("qkv_bias", True), norm_bias=not rms, extra=extra, attention_width=width,
        ),
        plain("mlp1.0", 2 * hidden * shrink),
        *projector,
    )  # fmt: skip
    tiles = config.integer("max_dynamic_patch", _TILES) + config.flag("use_thumbnail", True)
    return described(vision, parts, tiles * (patches // shrink), shrink)


def kimi_vl_tower(config: Fields, text: Fields) -> Vision:
    """Kimi-VL (kimi_vl.py, moonvit.py): MoonViT and a projector of two layers, whole on every rank."""
    vision = config.section("vision_config")
    hidden, patch, out = vision.integer("hidden_size"), vision.integer("patch_size"), text.integer("hidden_size")
    height, width = vision.integer("init_pos_emb_height", 64), vision.integer("init_pos_emb_width", 64)
    sides = vision.sequence("merge_kernel_size") or (2, 2)
    if len(sides) != 2 or not all(isinstance(side, int) and 0 < side <= 64 for side in sides):
        raise vision.error("merge_kernel_size", f"expected two sides, not {sides!r}")
    merge = int(sides[0] * sides[1])
    merged = hidden * merge
    parts = (
        plain("vision_tower.patch_embed", 3 * hidden * patch * patch, hidden, height * width * hidden),
        *blocks("vision_tower.encoder.blocks", vision.integer("num_hidden_layers"), hidden,
                vision.integer("intermediate_size")),
        plain("vision_tower.encoder.final_layernorm", 2 * hidden),
        plain("multi_modal_projector.pre_norm", 2 * hidden),
        linear("multi_modal_projector.linear_1", merged, merged, bias=True),
        linear("multi_modal_projector.linear_2", out, merged, bias=True),
    )  # fmt: skip
    return described(vision, parts, height * width // merge, merge)
