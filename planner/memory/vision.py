"""What the encoder of images adds to the activation peak."""

from dataclasses import dataclass

from planner.architecture import Vision
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.units import ceil_div

# Tenths of the encoder's hidden size alive besides its MLP; it runs uncompiled. Measured 5.3 for Qwen2.5-VL (114,688
# tokens, vLLM 0.23; 16,384 tokens, 0.9.0), whose MLP is gated, and less than 2.5 for a plain one (0.26, public logs).
_GATED_HIDDEN_TENTHS = 53
_PLAIN_HIDDEN_TENTHS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPeak:
    """The encoder in the engine's memory profile: its own peak, and what stays while the language model runs."""

    peak_bytes: int
    kept_bytes: int


def encoder_peak(
    vision: Vision, hidden_size: int, flags: ServeFlags, profile: EngineProfile, dtype_bytes: int
) -> EncoderPeak:
    """Return what profiling the encoder takes.

    The engine encodes as many items of the largest kind as its budget holds (``max_num_batched_tokens``, or one item
    if that is larger), and keeps inputs and outputs while it profiles the language model. Source:
    ``v1/worker/gpu_model_runner.py:profile_run`` 0.19.0, ``multimodal/encoder_budget.py`` 0.33.0; measured 0.18 GiB
    kept for Gemma 3 4B and 0.08 for Mistral Small 3.1 at 8192 tokens (llm-d-planner#205).
    """
    item = vision.max_item_tokens * max(1, min(vision.images_per_video, flags.max_model_len // vision.max_item_tokens))
    budget = max(flags.max_num_batched_tokens, item)
    items = max(1, min(budget // item, flags.max_num_seqs))
    patches = items * item * vision.patches_per_token
    inputs = patches * vision.patch_values * dtype_bytes
    kept = budget if profile.encoder_outputs_padded else item
    outputs = items * kept * hidden_size * (1 + vision.stacked_levels) * dtype_bytes
    mlp = (3 if vision.gated else 2) * vision.intermediate_size
    tenths = _GATED_HIDDEN_TENTHS if vision.gated else _PLAIN_HIDDEN_TENTHS
    width = mlp + ceil_div(tenths * vision.hidden_size, 10)
    return EncoderPeak(peak_bytes=inputs + patches * width * dtype_bytes, kept_bytes=inputs + outputs)
