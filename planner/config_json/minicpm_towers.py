"""MiniCPM-V and MiniCPM-o. Source: minicpmv.py, minicpmo.py and minicpmv4_6.py, vLLM 0.32.0."""

from msgspec.structs import replace

from planner.architecture import Part, Tensor, Vision
from planner.architecture.parts import linear
from planner.config_json.audio_towers import whisper_part
from planner.config_json.fields import Fields
from planner.config_json.plain_towers import described, siglip
from planner.config_json.transformer import blocks, plain
from planner.errors import UnsupportedModel

# The language model of each version (minicpmv.py:init_llm); 2.0 has a tower of another library.
_TEXTS = {"2.5": "LlamaForCausalLM", "2.6": "Qwen2ForCausalLM", "4.0": "LlamaForCausalLM", "4.5": "Qwen3ForCausalLM"}
_SLICES = 9
_SIDE = 70  # of the resampler's table of positions


def language_model(config: Fields) -> str:
    """Return the class of the language model, which the version says.

    Raises:
        UnsupportedModel: the version is none of those that have a SigLIP encoder.
    """
    version = config.get("version")
    stated = 2.6 if config.text("model_type") == "minicpmo" else 1.0
    name = version if isinstance(version, str) else f"{config.number('version', stated):.1f}"
    if name not in _TEXTS:
        raise UnsupportedModel(config.where, f"MiniCPM-V of version {name}")
    return _TEXTS[name]


def minicpmv_tower(config: Fields, text: Fields) -> Vision:
    """MiniCPM-V 2.5 to 4.5: SigLIP, and queries that attend to a slice's patches."""
    vision = config.section("vision_config")
    layers = vision.integer("num_hidden_layers") - config.flag("drop_vision_last_layer", True)
    queries = config.integer("query_num", 64)
    parts = (
        *siglip("vpm", vision, layers, post_norm=True),
        *_resampler(text.integer("hidden_size"), vision.integer("hidden_size"), queries),
    )
    shrink = max(1, (vision.integer("image_size") // vision.integer("patch_size")) ** 2 // queries)
    return described(vision, parts, (_SLICES + 1) * (queries + 2), shrink)


def _resampler(width: int, inputs: int, queries: int) -> tuple[Part, ...]:
    narrow = (linear("resampler.kv_proj", width, inputs),) if inputs != width else ()
    return (
        plain("resampler.query", queries * width),
        *narrow,
        plain("resampler.attn", 3 * width * width + 3 * width, width * width + width),
        plain("resampler.norms", 6 * width),
        plain("resampler.proj", width * width),
        Tensor(path="resampler.pos_embed_buffer", elements=_SIDE * _SIDE * width, dtype_bytes=4),
    )


def minicpmo_tower(config: Fields, text: Fields) -> Vision:
    """MiniCPM-o: the same, and Whisper's encoder with two layers beside it."""
    found = minicpmv_tower(config, text)
    audio, out = whisper_part(config), text.integer("hidden_size")
    width = audio[0].integer("intermediate_size") // 4
    projector = (
        linear("audio_projection_layer.linear1", out, width, bias=True),
        linear("audio_projection_layer.linear2", out, out, bias=True),
    )
    return replace(found, parts=(*found.parts, *audio[1], *projector))


def minicpm46_tower(config: Fields, text: Fields) -> Vision:
    """MiniCPM-V 4.6: windows of patches attend to each other, then mergers, whole on every rank, shrink them."""
    vision = config.section("vision_config")
    hidden, inner, out = vision.integer("hidden_size"), vision.integer("intermediate_size"), text.integer("hidden_size")
    window, merge = _area(vision, "window_kernel_size"), _area(config, "merge_kernel_size")
    layers = vision.integer("num_hidden_layers") - config.flag("drop_vision_last_layer")
    times = config.integer("merger_times", 1, maximum=64)
    mergers: list[Part] = []
    for index in range(times):
        path = f"merger.mlp.{index}"
        mergers += [
            plain(f"{path}.pre_norm", 2 * merge * hidden),
            linear(f"{path}.linear_1", merge * hidden, merge * hidden, bias=True),
            linear(f"{path}.linear_2", out if index == times - 1 else hidden, merge * hidden, bias=True),
        ]
    parts = (
        *siglip("vpm", vision, layers, post_norm=True),
        *blocks("vit_merger", 1, hidden, inner)[:2],
        plain("vit_merger.norms", 2 * hidden, 2 * window * hidden),
        linear("vit_merger.linear_1", window * inner, window * hidden, bias=True),
        linear("vit_merger.linear_2", hidden, window * inner, bias=True),
        *mergers,
    )
    patches = (config.integer("image_size", 448) // vision.integer("patch_size")) ** 2
    return described(vision, parts, (_SLICES + 1) * patches // (window * merge), window * merge)


def _area(fields: Fields, name: str) -> int:
    sides = fields.sequence(name) or (2, 2)
    if len(sides) != 2 or not all(isinstance(side, int) and 0 < side <= 64 for side in sides):
        raise fields.error(name, f"expected two sides, not {sides!r}")
    return int(sides[0] * sides[1])
