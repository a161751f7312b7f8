"""Parts: where the time of a token goes, and that to the first one."""

from msgspec import Struct

from planner.speed.serving import Requests, at_concurrency
from planner.speed.step import Batch, Rates, step

_US = 10**6


class Parts(Struct, frozen=True, kw_only=True):
    """Microseconds of a server alone on its GPUs, at the centre of the range.

    A token: ``weights_us`` and ``cache_us`` are for reading, ``computing_us`` what products take longer than that,
    ``all_reduce_us`` summing over GPUs, ``engine_us`` launches and the host, ``prompts_us`` the prompts of others that
    ride along. The first token: ``own_prompt_us`` with what the engine adds, ``waiting_us`` for other prompts.
    """

    weights_us: int
    cache_us: int
    computing_us: int
    all_reduce_us: int
    engine_us: int
    prompts_us: int
    own_prompt_us: int
    waiting_us: int

    @property
    def token_us(self) -> int:
        """The time of a token after the first."""
        reading = self.weights_us + self.cache_us
        return reading + self.computing_us + self.all_reduce_us + self.engine_us + self.prompts_us

    @property
    def binds(self) -> str:
        """What most of the time of a token goes to: bandwidth, compute, all-reduce or the engine."""
        found = {
            "bandwidth": self.weights_us + self.cache_us,
            "compute": self.computing_us + self.prompts_us,
            "all-reduce": self.all_reduce_us,
            "the engine": self.engine_us,
        }
        return max(found, key=lambda name: found[name])

    @property
    def first_binds(self) -> str:
        """What most of the time to the first token goes to: the prompt, or the queue of other prompts."""
        return "the queue" if self.waiting_us > self.own_prompt_us else "its own prompt"


def parts(rates: Rates, requests: Requests, batched_tokens: int, sequences: int) -> Parts:
    """Return where the time goes with so many requests running."""
    context = requests.input_tokens + requests.output_tokens / 2
    terms = step(rates, Batch(sequences=float(sequences), context_tokens=context))
    state = at_concurrency(rates, requests, batched_tokens, float(sequences), float(sequences))
    alone = at_concurrency(rates, requests, batched_tokens, 1.0, 1.0)
    own = min(state.ttft_seconds, alone.ttft_seconds)
    return Parts(
        weights_us=round((terms.matrices + terms.experts - terms.computing) * _US),
        cache_us=round(terms.cache * _US),
        computing_us=round(terms.computing * _US),
        all_reduce_us=round(terms.all_reduce * _US),
        engine_us=round((terms.attention + terms.host) * _US),
        prompts_us=round((state.tpot_seconds - state.step_seconds) * _US),
        own_prompt_us=round(own * _US),
        waiting_us=round((state.ttft_seconds - own) * _US),
    )
