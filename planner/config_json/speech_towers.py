"""Encoders of speech beside Whisper's own: Granite Speech's conformer, MOSS; and two more of images.

Source per function: the model file named, vLLM 0.32.0.
"""

from planner.architecture import Part, Vision
from planner.architecture.parts import linear
from planner.config_json.audio_towers import whisper_encoder
from planner.config_json.fields import Fields
from planner.config_json.plain_towers import described, siglip
from planner.config_json.transformer import plain
from planner.units import ceil_div


def granite_speech_tower(config: Fields, text: Fields) -> Vision:
    """Granite Speech (granite_speech.py, blip2.py): a conformer, and queries that attend to windows of its frames."""
    encoder, former = config.section("encoder_config"), config.section("projector_config")
    hidden, layers = encoder.integer("hidden_dim"), encoder.integer("num_layers")
    labels, queries = (
        encoder.integer("output_dim"),
        config.integer("window_size", 15) // config.integer("downsample_rate", 5),
    )
    parts: list[Part] = [plain("encoder.input_linear", encoder.integer("input_dim") * hidden, hidden)]
    for index in range(layers):
        parts += _conformer(f"encoder.layers.{index}", encoder, hidden)
    parts += [
        linear("encoder.out", labels, hidden, "column", bias=True),
        linear("encoder.out_mid", hidden, labels, "row", bias=True),
        plain("projector.query", queries * former.integer("hidden_size")),
        *_query_former(former),
        plain(
            "projector.linear", former.integer("hidden_size") * text.integer("hidden_size"), text.integer("hidden_size")
        ),
    ]
    return Vision(
        parts=tuple(parts),
        hidden_size=hidden,
        intermediate_size=hidden * encoder.integer("feedforward_mult", 4),
        layers=layers,
        max_item_tokens=queries * 1000,
        patches_per_token=5,
        patch_values=encoder.integer("input_dim"),
    )


def _conformer(path: str, encoder: Fields, hidden: int) -> tuple[Part, ...]:
    inner = hidden * encoder.integer("feedforward_mult", 4)
    width = encoder.integer("num_heads") * encoder.integer("dim_head")
    convolved = hidden * encoder.integer("conv_expansion_factor", 2)
    mlps = [
        part
        for name in ("ff1", "ff2")
        for part in (
            plain(f"{path}.{name}.pre_norm", 2 * hidden),
            linear(f"{path}.{name}.up_proj", inner, hidden, "column", bias=True),
            linear(f"{path}.{name}.down_proj", hidden, inner, "row", bias=True),
        )
    ]
    positions = (2 * encoder.integer("max_pos_emb", 512) + 1) * encoder.integer("dim_head")
    return (
        *mlps,
        plain(f"{path}.attn", 2 * hidden, 3 * width * hidden, width * hidden + hidden, positions),
        plain(
            f"{path}.conv", 2 * hidden, 2 * convolved * (hidden + 1), convolved * encoder.integer("conv_kernel_size"),
            2 * convolved, convolved * hidden + hidden,
        ),
        plain(f"{path}.post_norm", 2 * hidden),
    )  # fmt: skip


def _query_former(former: Fields) -> tuple[Part, ...]:
    """Return BLIP-2's query transformer: every so many layers attend to what is encoded."""
    hidden, inner = former.integer("hidden_size"), former.integer("intermediate_size")
    inputs, every = former.integer("encoder_hidden_size"), former.integer("cross_attention_frequency", 2)
    layers = former.integer("num_hidden_layers")
    attends = ceil_div(layers, every)
    itself, square = 4 * hidden * (hidden + 1) + 2 * hidden, hidden * (hidden + 1)
    across = 2 * square + 2 * hidden * (inputs + 1) + 2 * hidden
    mlp = inner * (hidden + 1) + hidden * (inner + 1) + 2 * hidden
    return (plain("projector.qformer", 2 * hidden, layers * (itself + mlp), attends * across),)


def moss_tower(config: Fields, text: Fields) -> Vision:
    """MOSS transcription (moss_transcribe_diarize.py): the engine's Whisper encoder, two layers over four frames."""
    audio = config.section("audio_config")
    hidden, out, layers = audio.integer("d_model"), text.integer("hidden_size"), audio.integer("encoder_layers")
    named = audio.renamed(
        {"hidden_size": "d_model", "num_hidden_layers": "encoder_layers", "intermediate_size": "encoder_ffn_dim"}, {}
    )
    return Vision(
        parts=(
            *whisper_encoder("whisper_encoder", named, whole=False),
            linear("vq_adaptor.layers.0", out, 4 * hidden, bias=True),
            linear("vq_adaptor.layers.3", out, out, bias=True),
            plain("vq_adaptor.norm", 2 * out),
        ),
        hidden_size=hidden,
        intermediate_size=audio.integer("encoder_ffn_dim"),
        layers=layers,
        max_item_tokens=375,
        patches_per_token=4,
        patch_values=2 * audio.integer("num_mel_bins"),
    )


def isaac_tower(config: Fields, text: Fields) -> Vision:
    """Isaac (isaac.py): SigLIP 2, pixel shuffle, two layers without biases."""
    vision = config.section("vision_config")
    shrink = vision.integer("pixel_shuffle_scale_factor", config.integer("pixel_shuffle_scale", 1)) ** 2
    width = vision.integer("hidden_size") * shrink
    patches = config.integer("vision_max_num_patches", vision.integer("num_patches", 256))
    parts = (
        *siglip("vision_embedding.transformer", vision, vision.integer("num_hidden_layers"), post_norm=True),
        linear("vision_embedding.linear_fc1", 4 * width, width, "column"),
        linear("vision_embedding.linear_fc2", text.integer("hidden_size"), 4 * width, "row"),
    )
    return described(vision, parts, max(1, patches // shrink), shrink)
