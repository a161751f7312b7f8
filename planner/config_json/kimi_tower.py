"""The vision encoder of Kimi K2.5 (models/kimi_k25_vit.py, vLLM 0.32.0)."""

from planner.architecture import Vision
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.transformer import blocks, plain

# Patches of one image the published processor allows.
MAX_PATCHES = 16384


def kimi_tower(config: Fields, text: Fields) -> Vision:
    """Return MoonViT and the projector; older configs prefix the encoder's fields with ``vt_``."""
    vision = config.section("vision_config", {"patch_size": 14})
    prefix = "vt_" if vision.has("vt_hidden_size") else ""
    hidden, inner = vision.integer(f"{prefix}hidden_size"), vision.integer(f"{prefix}intermediate_size")
    layers, patch = vision.integer(f"{prefix}num_hidden_layers"), vision.integer("patch_size")
    height = vision.integer("init_pos_emb_height", vision.integer("pos_emb_height", 64))
    width = vision.integer("init_pos_emb_width", vision.integer("pos_emb_width", 64))
    sides = vision.sequence("merge_kernel_size") or (2, 2)
    if len(sides) != 2 or not all(isinstance(side, int) and 0 < side <= 64 for side in sides):
        raise vision.error("merge_kernel_size", f"expected two sides, not {sides!r}")
    merge = int(sides[0] * sides[1])
    merged = hidden * merge
    return Vision(
        parts=(
            plain("vision_tower.patch_embed", 3 * hidden * patch * patch, hidden, height * width * hidden),
            *blocks("vision_tower.encoder.blocks", layers, hidden, inner),
            plain("vision_tower.encoder.final_layernorm", 2 * hidden),
            plain("mm_projector.pre_norm", 2 * hidden),
            linear("mm_projector.linear_1", merged, merged, bias=True),
            linear("mm_projector.linear_2", text.integer("hidden_size"), merged, bias=True),
        ),
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        max_item_tokens=MAX_PATCHES // merge,
        patches_per_token=merge,
    )
