"""Encoders of sound: Whisper's and its kin. Source per function: the model file named, vLLM 0.32.0 and 0.33.0."""

from msgspec.structs import replace

from planner.architecture import Linear, Part, Tensor, Vision
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.plain_towers import two_layers
from planner.config_json.towers import qwen2_5_tower, qwen3_tower
from planner.config_json.transformer import blocks, plain

# Common names of Whisper's fields.
_NAMES = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "intermediate_size": "encoder_ffn_dim",
    "num_attention_heads": "encoder_attention_heads",
}
_POSITIONS = 1500


def whisper_encoder(
    path: str, audio: Fields, *, whole: bool, positions: bool = True, single_positions: bool = False
) -> tuple[Part, ...]:
    """Return Whisper's encoder: the engine's own, or the transformers library's, ``whole`` on every rank.

    The library's keys have no bias, whereas the engine's fused projection has one for all three. ``single_positions``
    are fp32.
    """
    hidden, mels = audio.integer("hidden_size"), audio.integer("num_mel_bins")
    layers, inner = audio.integer("num_hidden_layers"), audio.integer("intermediate_size")
    rows = audio.integer("max_source_positions", _POSITIONS) if positions else 0
    return (
        plain(f"{path}.conv", 3 * mels * hidden + hidden, 3 * hidden * hidden + hidden),
        Tensor(path=f"{path}.embed_positions", elements=rows * hidden, dtype_bytes=4 if single_positions else None),
        *blocks(
            f"{path}.layers", layers, hidden, inner, sharded=not whole, qkv_bias=not whole, extra=2 * hidden * whole
        ),
        plain(f"{path}.layer_norm", 2 * hidden),
    )


def _section(config: Fields) -> Fields:
    """Return the audio part under common names, which newer classes of it have themselves."""
    audio = config.section("audio_config")
    return audio.renamed(_NAMES if audio.get("encoder_layers") is not None else {}, {})


def _listens(audio: Fields, parts: tuple[Part, ...], tokens: int, frames_per_token: int) -> Vision:
    return Vision(
        parts=parts,
        hidden_size=audio.integer("hidden_size"),
        intermediate_size=audio.integer("intermediate_size"),
        layers=audio.integer("num_hidden_layers"),
        max_item_tokens=tokens,
        patches_per_token=frames_per_token,
        patch_values=2 * audio.integer("num_mel_bins"),
    )


def whisper_tower(config: Fields) -> Vision:
    """Whisper (whisper.py): the engine's own encoder; what it makes of half a minute is cached by the decoder."""
    audio = config.renamed(_NAMES, {})
    return _listens(
        audio, whisper_encoder("encoder", audio, whole=False), audio.integer("max_source_positions", _POSITIONS), 2
    )


def whisper_part(config: Fields) -> tuple[Fields, tuple[Part, ...]]:
    """Return the audio part of a config under common names, and the library's encoder it describes."""
    audio = _section(config)
    return audio, whisper_encoder("apm", audio, whole=True)


def qwen2_audio_tower(config: Fields, text: Fields) -> Vision:
    """Qwen2-Audio (qwen2_audio.py): Whisper's encoder of the transformers library and one matrix."""
    audio = _section(config)
    out = linear("multi_modal_projector.linear", text.integer("hidden_size"), audio.integer("hidden_size"), bias=True)
    return _listens(audio, (*whisper_encoder("audio_tower", audio, whole=True), out), 750, 2)


def flamingo_tower(config: Fields, text: Fields) -> Vision:
    """Audio Flamingo 3 (audioflamingo3.py): the same encoder and two layers; sound of up to ten minutes."""
    audio = _section(config)
    hidden, out = audio.integer("hidden_size"), text.integer("hidden_size")
    projector = (
        linear("multi_modal_projector.linear_1", out, hidden, bias=True),
        linear("multi_modal_projector.linear_2", out, out, bias=True),
    )
    return _listens(audio, (*whisper_encoder("audio_tower", audio, whole=True), *projector), 750 * 20, 2)


def voxtral_tower(config: Fields, text: Fields) -> Vision:
    """Voxtral (voxtral.py): the engine's Whisper encoder and two layers over four frames."""
    audio = _section(config)
    width, out = 4 * audio.integer("hidden_size"), text.integer("hidden_size")
    encoder = whisper_encoder("whisper_encoder", audio, whole=False, single_positions=True)
    projector = (linear("audio_language_adapter.w_in", out, width), linear("audio_language_adapter.w_out", out, out))
    return _listens(audio, (*encoder, *projector), 375, 4)


def omni2_5_tower(config: Fields, text: Fields) -> Vision:
    """Qwen2.5-Omni (qwen2_5_omni_thinker.py): the tower of Qwen2.5-VL and Whisper's encoder beside it."""
    audio = _section(config)
    hidden, out = audio.integer("hidden_size"), audio.integer("output_dim")
    parts = (
        *whisper_encoder("audio_tower", audio, whole=True, positions=False),
        plain("audio_tower.audio_bos_eos_token", 2 * out),
        linear("audio_tower.proj", out, hidden, bias=True),
    )
    return _beside(qwen2_5_tower(config, text), parts)


def omni3_audio(audio: Fields) -> tuple[Part, ...]:
    """Return the audio encoder of Qwen3-Omni and Qwen3-ASR (qwen3_omni_moe_thinker.py).

    Its blocks are whole on every rank where the ranks do not divide its heads (``disable_tp``, 0.30.0 to 0.33.0; 0.29
    shares out the MLP even then, and older versions do not start).
    """
    heads = audio.integer("num_attention_heads", 0)
    hidden, out, channels = audio.integer("hidden_size"), audio.integer("output_dim"), 480
    channels = audio.integer("downsample_hidden_size", channels)
    inner = audio.integer("intermediate_size")
    layers = blocks("audio_tower.layers", audio.integer("num_hidden_layers"), hidden, inner)
    bins = (((audio.integer("num_mel_bins") + 1) // 2 + 1) // 2 + 1) // 2
    return (
        plain("audio_tower.conv2d", 9 * channels + channels, 2 * (9 * channels * channels + channels)),
        linear("audio_tower.conv_out", hidden, channels * bins),
        *(replace(part, heads=heads) if isinstance(part, Linear) else part for part in layers),
        plain("audio_tower.ln_post", 2 * hidden),
        linear("audio_tower.proj1", hidden, hidden, bias=True),
        linear("audio_tower.proj2", out, hidden, bias=True),
    )


def omni3_tower(config: Fields, text: Fields) -> Vision:
    """Qwen3-Omni: the tower of Qwen3-VL and an audio encoder beside it."""
    return _beside(qwen3_tower(config, text), omni3_audio(_section(config)))


def asr3_tower(config: Fields, text: Fields) -> Vision:
    """Qwen3-ASR (qwen3_asr.py): the audio encoder alone; thirteen tokens a second."""
    audio = _section(config)
    return _listens(audio, omni3_audio(audio), 13 * 30, 8)


def ultravox_tower(config: Fields, text: Fields) -> Vision:
    """Ultravox (ultravox.py): the engine's Whisper encoder and a gated projector over stacked frames."""
    audio = _section(config)
    stacked = audio.integer("hidden_size") * config.integer("stack_factor", 8)
    inner, out = config.integer("hidden_size"), text.integer("hidden_size")
    middle = config.flag("projector_ln_mid")
    halved = inner // 2 if config.text("projector_act", "swiglu") == "swiglu" else inner
    parts = (
        *whisper_encoder("audio_tower", audio, whole=False),
        plain("multi_modal_projector.norms", stacked, halved if middle else out),
        linear("multi_modal_projector.linear_1", inner, stacked),
        linear("multi_modal_projector.linear_2", out, halved),
    )
    return _listens(audio, parts, 200, 16)


def glm_asr_tower(config: Fields, text: Fields) -> Vision:
    """GLM-ASR (glmasr.py): an encoder with rotary positions and grouped queries, and two layers over four frames."""
    audio = _section(config)
    hidden, inner, mels = (
        audio.integer("hidden_size"),
        audio.integer("intermediate_size"),
        audio.integer("num_mel_bins"),
    )
    parts = (
        plain("audio_tower.conv", 3 * mels * hidden + hidden, 3 * hidden * hidden + hidden),
        *blocks("audio_tower.layers", audio.integer("num_hidden_layers"), hidden, inner),
        plain("audio_tower.norm", 2 * hidden),
        *two_layers("multi_modal_projector", inner, 2 * text.integer("hidden_size"), text.integer("hidden_size")),
    )
    return _listens(audio, parts, 375, 4)


def _beside(vision: Vision, parts: tuple[Part, ...]) -> Vision:
    return Vision(
        parts=(*vision.parts, *parts),
        hidden_size=vision.hidden_size,
        intermediate_size=vision.intermediate_size,
        layers=vision.layers,
        max_item_tokens=vision.max_item_tokens,
        patches_per_token=vision.patches_per_token,
        patch_values=vision.patch_values,
        gated=vision.gated,
        stacked_levels=vision.stacked_levels,
        images_per_video=vision.images_per_video,
        sharded_heads=vision.sharded_heads,
    )
