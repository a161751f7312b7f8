"""Planned: the speed of a server of a plan with all its requests running, while others on its GPUs are busy too."""

from msgspec.structs import replace

from planner.memory.terms import Server
from planner.speed.forecast import Forecast, Range, rates_of, said
from planner.speed.refusals import refusal
from planner.speed.serving import Requests, at_concurrency
from planner.speed.site import Site

ALONE = 1000
"""The time of a GPU in thousandths that its servers want when one of them is busy and no other is there."""


def planned(server: Server, site: Site, requests: Requests, busy_permille: int = ALONE) -> Forecast:
    """Return the speed of a server with ``max_num_seqs`` requests running while its GPUs are asked for so much.

    Servers that share a GPU take turns, and nobody has published how fast that is. What is said is a bound: every
    step of the server waits for one of each other server that may be busy. At the fast end of the range they are idle.
    """
    reason = refusal(server, site.gpu, site.device)
    if reason is not None or site.device is None:
        return Forecast(reason=reason)
    flags = server.flags
    rates = rates_of(server, site.gpu, site.profile, site.device, site.engine)
    running = float(flags.max_num_seqs * flags.data_parallel_size)
    alone = said(rates, at_concurrency(rates, requests, flags.max_num_batched_tokens, running, running), requests)
    return shared(alone, busy_permille)


def shared(alone: Forecast, busy_permille: int) -> Forecast:
    """Return what is left of a speed where so many thousandths of a GPU's time are asked for."""
    return replace(
        alone,
        tpot_us=_longer(alone.tpot_us, busy_permille),
        ttft_us=_longer(alone.ttft_us, busy_permille),
        output_millitokens_per_second=_less(alone.output_millitokens_per_second, busy_permille),
    )


def _longer(own: Range | None, busy_permille: int) -> Range | None:
    if own is None:
        return None
    return replace(own, value=own.value * busy_permille // ALONE, high=own.high * busy_permille // ALONE)


def _less(own: Range | None, busy_permille: int) -> Range | None:
    if own is None:
        return None
    return replace(own, value=own.value * ALONE // busy_permille, low=own.low * ALONE // busy_permille)
