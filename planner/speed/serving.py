"""Serving: what users wait for while a server works on many alike requests at once."""

from msgspec import Struct
from msgspec.structs import replace

from planner.speed.step import Batch, Rates, step

_US = 1e-6
# No queue is planned fuller than this: waits grow without bound as a server nears its rate.
_FULL = 0.95
_PRECISION = 1e-3


class Requests(Struct, frozen=True, kw_only=True):
    """Alike requests: tokens of the prompt, of which the prefix cache has ``cached_tokens``, and of the answer."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


class Serving(Struct, frozen=True, kw_only=True):
    """A server with so many ``sequences`` running, in seconds, at the centre of the range.

    ``unqueued_seconds`` is the time to first token without waiting for a place. ``prompt_seconds`` is by how much one
    prompt lengthens the steps it rides in, ``prefill_share`` the part of the server's time that prompts take,
    ``requests_per_second`` what it completes.
    """

    sequences: float
    step_seconds: float
    prompt_seconds: float
    tpot_seconds: float
    ttft_seconds: float
    unqueued_seconds: float
    requests_per_second: float
    prefill_share: float


def at_concurrency(rates: Rates, requests: Requests, batched_tokens: int, most: float, concurrency: float) -> Serving:
    """Return the steady state of ``concurrency`` users who each send their next request as the last one ends.

    At most ``most`` requests run; the others wait, by Little's law, for what these take. Requests that run in step
    begin together: how long one prompt waits for others is measured to grow with the root of their number.
    """
    running = min(concurrency, most)
    state = running_state(rates, requests, batched_tokens, running)
    together = max(1.0, running) ** rates.engine.burst_exponent
    first = state.ttft_seconds + (together - 1) * state.prompt_seconds
    queued = concurrency / state.requests_per_second - requests.output_tokens * state.tpot_seconds
    ttft = max(first, queued) if concurrency > running else first
    return replace(state, ttft_seconds=ttft, unqueued_seconds=first)


def at_rate(rates: Rates, requests: Requests, batched_tokens: int, most: float, rate: float) -> Serving | None:
    """Return the steady state of requests that come independently, ``rate`` per second; None if they outrun it.

    Prompts queue for one another: the wait of an M/D/1 queue with the prompt's time as service.
    """
    if running_state(rates, requests, batched_tokens, most).requests_per_second * _FULL < rate:
        return None
    low, high = 0.0, most
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        done = running_state(rates, requests, batched_tokens, middle).requests_per_second
        low, high = (middle, high) if done < rate else (low, middle)
    state = running_state(rates, requests, batched_tokens, high)
    share = min(_FULL, state.prefill_share)
    ttft = state.ttft_seconds + state.prompt_seconds * share / (2 * (1 - share))
    return replace(state, ttft_seconds=ttft, unqueued_seconds=ttft)


def running_state(rates: Rates, requests: Requests, batched_tokens: int, sequences: float) -> Serving:
    """Return the steady state of so many running requests: as one ends, the next begins, and no prompt waits.

    Over one request's life the server does its prompt, and for each of its tokens a step; the prompts of the others
    ride in those steps. Of a prompt in several pieces the last alone gives a token: each other one is a step more.
    Less than one running request is one, part of the time.
    """
    busy = max(1.0, sequences)
    context = requests.input_tokens + requests.output_tokens / 2
    decode = step(rates, Batch(sequences=busy, context_tokens=context)).seconds
    own_steps = _prompt_steps(rates, requests, batched_tokens, busy)
    extra = sum(max(0.0, seconds - decode) for seconds in own_steps)
    tpot = decode + (busy - 1) / rates.work.data_ranks / requests.output_tokens * extra
    done = sequences / (extra + max(0, len(own_steps) - 1) * decode + requests.output_tokens * tpot)
    first = rates.engine.first_token_us * _US + tpot / 2 + sum(own_steps)
    return Serving(
        sequences=sequences,
        step_seconds=decode,
        prompt_seconds=extra,
        tpot_seconds=tpot,
        ttft_seconds=first,
        unqueued_seconds=first,
        requests_per_second=done,
        prefill_share=min(1.0, done * extra / rates.work.data_ranks),
    )


def _prompt_steps(rates: Rates, requests: Requests, batched_tokens: int, busy: float) -> list[float]:
    """Return the seconds of the steps a prompt is computed in, the other sequences' tokens included."""
    context = requests.input_tokens + requests.output_tokens / 2
    left, done = float(requests.input_tokens - requests.cached_tokens), float(requests.cached_tokens)
    piece = max(1.0, batched_tokens - busy)
    times = []
    while left > 0:
        tokens = min(left, piece)
        batch = Batch(sequences=busy - 1, context_tokens=context, prompt_tokens=tokens, done_tokens=done)
        times.append(step(rates, batch).seconds)
        left, done = left - tokens, done + tokens
    return times
