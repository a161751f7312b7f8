"""What the encoder of images adds to the activation peak."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from planner.architecture import Architecture, Vision
from planner.engine.flags import ServeFlags, whole_items
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.units import ceil_div

# Tenths of the encoder's hidden size alive besides its MLP; it runs uncompiled. Measured 5.3 for Qwen2.5-VL (114,688
# tokens, vLLM 0.23; 16,384 tokens, 0.9.0), whose MLP is gated, and less than 2.5 for a plain one (0.26, public logs).
_GATED_HIDDEN_TENTHS = 53
_PLAIN_HIDDEN_TENTHS = 25


class EncoderPeak(Struct, frozen=True, kw_only=True):
    """The encoder in the engine's memory profile: its own peak, and what stays while the language model runs."""

    peak_bytes: int
    kept_bytes: int


# Items per prompt where no limit is given (config/multimodal.py:get_limit_per_prompt).
_UNLIMITED = 999
# The share of a GPU's memory that encoders which run in chunks fill at most (gemma4_mm.py:_encoder_chunk 0.22.0).
_CHUNK_PARTS = 10


def without_encoder(architecture: Architecture, flags: Mapping[str, Any], profile: EngineProfile) -> bool:
    """Whether a model is built without its encoder because no item of any kind may come, for ``flags`` as given.

    Source: ``models/interfaces.py:_mark_tower_model`` 0.17.0 to 0.33.0: such a tower is not even built.
    """
    vision = architecture.vision
    if vision is None or not profile.towers_skipped:
        return False
    limits = flags.get("mm_limits") or {}
    kinds = ("image", "video") if vision.takes_video else ("image",)
    return bool(flags.get("language_model_only")) or not any(limits.get(kind, _UNLIMITED) for kind in kinds)


def encoder_peak(
    vision: Vision, hidden_size: int, flags: ServeFlags, profile: EngineProfile, gpu: GPU, dtype_bytes: int
) -> EncoderPeak:
    """Return what profiling the encoder takes.

    The engine encodes as many items of the largest kind as its budget holds (``max_num_batched_tokens``, or one item
    if that is larger) and prompts may bring, and keeps inputs and outputs while it profiles the language model. Source:
    ``v1/worker/gpu_model_runner.py:profile_run`` 0.19.0, ``multimodal/encoder_budget.py`` 0.33.0; measured 0.18 GiB
    kept for Gemma 3 4B and 0.08 for Mistral Small 3.1 at 8192 tokens (llm-d-planner#205).
    """
    item, limit = largest_item(vision, flags)
    budget = max(flags.max_num_batched_tokens, item)
    per_prompt = max(1, min(limit, flags.max_model_len // item))
    items = max(1, min(budget // item, flags.max_num_seqs * per_prompt))
    patches = items * item * vision.patches_per_token
    inputs = patches * vision.patch_values * dtype_bytes
    kept = budget if profile.encoder_outputs_padded else item
    outputs = items * kept * hidden_size * (1 + vision.stacked_levels) * dtype_bytes
    mlp = (3 if vision.gated else 2) * vision.intermediate_size
    tenths = _GATED_HIDDEN_TENTHS if vision.gated else _PLAIN_HIDDEN_TENTHS
    width = mlp + ceil_div(tenths * vision.hidden_size, 10)
    if vision.chunk_patch_bytes and profile.encoder_chunks:
        patches = min(patches, gpu.memory_bytes // _CHUNK_PARTS // vision.chunk_patch_bytes)
    return EncoderPeak(peak_bytes=inputs + patches * width * dtype_bytes, kept_bytes=inputs + outputs)


def largest_item(vision: Vision, flags: ServeFlags) -> tuple[int, int]:
    """Return the tokens of the largest item that prompts may bring, and how many of its kind one prompt may."""
    videos = flags.mm_limits.get("video", _UNLIMITED) if vision.takes_video else 0
    if not videos:
        tokens = vision.image_tokens or vision.max_item_tokens
        return tokens, flags.mm_limits.get("image", _UNLIMITED)
    tokens = vision.max_item_tokens
    return tokens * max(1, min(vision.images_per_video, flags.max_model_len // tokens)), videos


def whole_item(architecture: Architecture, flags: ServeFlags, profile: EngineProfile) -> int:
    """Return the tokens a batch must hold at least: one item of models that attend to it both ways, else 0.

    Source: ``platforms/cuda.py:check_and_update_config`` forbids to split such items, and
    ``v1/core/encoder_cache_manager.py:compute_mm_encoder_budget`` refuses smaller batches, 0.13.0 to 0.33.0.
    """
    vision = architecture.vision
    return largest_item(vision, flags)[0] if vision and whole_items(architecture, profile) else 0
