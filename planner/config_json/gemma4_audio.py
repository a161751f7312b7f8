"""The audio encoder of the smaller Gemma 4 models: a conformer of the transformers library, whole on every rank."""

from planner.architecture import Part
from planner.architecture.parts import linear
from planner.config_json.fields import Fields
from planner.config_json.transformer import plain

_PIXELS = 9  # a 3 × 3 convolution
_DEFAULTS = {
    "hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8, "conv_kernel_size": 5,
    "output_proj_dims": 1536, "subsampling_conv_channels": [128, 32],
}  # fmt: skip


def gemma4_audio(config: Fields, text: Fields) -> tuple[Part, ...]:
    """Return the audio encoder and its projection; nothing without an ``audio_config``.

    Source: ``gemma4/modeling_gemma4.py:Gemma4AudioModel`` of transformers 5 and ``gemma4_mm.py`` of vLLM 0.32.0.
    """
    if not config.has("audio_config"):
        return ()
    audio = config.section("audio_config", _DEFAULTS)
    hidden, out = audio.integer("hidden_size"), audio.integer("output_proj_dims")
    first, second = _channels(audio)
    parts: list[Part] = [
        plain("audio_tower.subsample", _PIXELS * first * (1 + second), first + second, first // 4 * second * hidden)
    ]
    for index in range(audio.integer("num_hidden_layers")):
        parts += _block(f"audio_tower.layers.{index}", audio, hidden)
    parts.append(linear("audio_tower.output_proj", out, hidden, bias=True))
    parts.append(plain("embed_audio.embedding_projection", out * text.integer("hidden_size")))
    return tuple(parts)


def _channels(audio: Fields) -> tuple[int, int]:
    found = audio.sequence("subsampling_conv_channels")
    if len(found) != 2 or not all(isinstance(size, int) and 0 < size <= 65536 for size in found):
        raise audio.error("subsampling_conv_channels", "expected two channel counts")
    return found[0], found[1]


def _block(path: str, audio: Fields, hidden: int) -> tuple[Part, ...]:
    """Return one conformer block: two MLPs, attention, a convolution, and nine norms."""
    kernel, head = audio.integer("conv_kernel_size"), hidden // audio.integer("num_attention_heads")
    mlps = [
        part
        for name in ("feed_forward1", "feed_forward2")
        for part in (
            linear(f"{path}.{name}.ffw_layer_1", 4 * hidden, hidden),
            linear(f"{path}.{name}.ffw_layer_2", hidden, 4 * hidden),
        )
    ]
    attention = [
        linear(f"{path}.self_attn.{name}", hidden, hidden)
        for name in ("q_proj", "k_proj", "v_proj", "post", "relative_k_proj")
    ]
    return (
        *mlps,
        *attention,
        linear(f"{path}.lconv1d.linear_start", 2 * hidden, hidden),
        linear(f"{path}.lconv1d.linear_end", hidden, hidden),
        plain(f"{path}.norms", 9 * hidden, kernel * hidden, head),
    )
