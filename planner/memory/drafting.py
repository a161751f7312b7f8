"""What drafting tokens ahead takes beside the layers that draft: buffers, and room while the profile runs."""

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags

_POSITION_BYTES = 4
# While a head drafts: the hidden states it starts from, those of the tokens, and both side by side.
_HIDDEN_VECTORS = 3
# Where an EAGLE-3 head drafts, beside these: what the model's layers hand over, one by one and side by side.
_HANDED_OVER = 6
# The first runner's profile makes logits of two rows per sequence, and picks the rows to verify out of them.
_PROFILED_ROWS = 3


class Drafting(Struct, frozen=True, kw_only=True):
    """Bytes beside the layers: while they run, for good, for good per sequence, and per row of the sampler."""

    transient_bytes: int = 0
    kept_bytes: int = 0
    kept_bytes_per_sequence: int = 0
    row_bytes: int = 0


def drafting(architecture: Architecture, flags: ServeFlags, dtype_bytes: int, *, second: bool) -> Drafting:
    """Return what drafting takes; nothing where nothing is drafted.

    Source: ``v1/spec_decode/eagle.py`` (a buffer of hidden states for a whole batch), ``v1/worker/gpu/states.py`` (all
    tokens of all sequences on the GPU where the prompt is searched there) and
    ``v1/worker/gpu_model_runner.py:_dummy_sampler_run``, 0.19.0 to 0.33.0.
    """
    if flags.speculative is None:
        return Drafting()
    vector = flags.max_num_batched_tokens * architecture.hidden_size * dtype_bytes
    hidden = flags.speculative.method != "ngram"
    vectors = _HIDDEN_VECTORS + (_HANDED_OVER if flags.speculative.method == "eagle3" else 0)
    searched = second and not hidden
    return Drafting(
        transient_bytes=vectors * vector if hidden else 0,
        kept_bytes=vector if hidden else 0,
        kept_bytes_per_sequence=flags.max_model_len * _POSITION_BYTES if searched else 0,
        row_bytes=0 if second else _PROFILED_ROWS * architecture.vocab_size * dtype_bytes,
    )
