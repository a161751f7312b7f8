"""Ladders: which values of an open setting are tried. Between two rungs nothing is lost but a part of a step."""

from planner.engine import EngineProfile
from planner.flags import ServeFlags

_SMALLEST_BATCH = 512
_BAND = 4


def contexts(least: int, wish: int, limit: int) -> tuple[int, ...]:
    """Return the contexts to try, ascending: the least, the powers of two above it, the wish, all within ``limit``.

    Empty when ``limit``, the model's longest context, is below the least.
    """
    top = min(wish, limit)
    if top < least:
        return ()
    powers = [1 << exponent for exponent in range(least.bit_length(), top.bit_length())]
    return tuple(sorted({least, top, *(power for power in powers if least < power < top)}))


def batches(flags: ServeFlags, profile: EngineProfile, *, whole_prompts: bool) -> tuple[int, ...]:
    """Return the batch sizes to try, descending: the engine's default (that of ``flags``) and its halves.

    An engine that cannot cut prompts into chunks needs a batch of at least ``max_model_len`` tokens.
    """
    default = flags.max_num_batched_tokens
    least = flags.max_model_len if whole_prompts or profile.whole_prompt_batches else _SMALLEST_BATCH
    if default <= least:
        return (max(default, least) if whole_prompts or profile.whole_prompt_batches else default,)
    halves = [default >> shift for shift in range(default.bit_length()) if default >> shift >= least]
    return tuple(halves)


def sequence_limits(least: int, target: int) -> tuple[int, ...]:
    """Return the upper limits of sequences to try, descending: the target, its quarter, and so on down to ``least``.

    CUDA graphs and margins are counted for the limit, so a plan that ends with few sequences needs a low one.
    """
    limits = [target]
    while limits[-1] // _BAND >= max(least, 1):
        limits.append(limits[-1] // _BAND)
    return tuple(limits)
