"""Forecast: what is said of one server's speed under one load, each figure with its range, or why nothing is."""

import math

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.profile import EngineProfile
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.memory.estimate import estimate
from planner.memory.terms import Server, terms
from planner.speed.constants import Device, Engine, Evidence, Grade, Spread, worst
from planner.speed.learnt import Factors, learnt
from planner.speed.refusals import refusal
from planner.speed.serving import Requests, Serving, at_concurrency, at_rate, running_state
from planner.speed.site import Site
from planner.speed.step import Rates
from planner.speed.work import Work, work

_OLDEST = (0, 0, 0)


class Range(Struct, frozen=True, kw_only=True):
    """A figure and the ends of its 80 % range, as integers in the unit its name states."""

    value: int
    low: int
    high: int


class Load(Struct, frozen=True, kw_only=True):
    """What is asked of a server: alike requests, either ``concurrency`` at once or ``rate_per_second``."""

    requests: Requests
    concurrency: int | None = None
    rate_per_second: float | None = None


class Forecast(Struct, frozen=True, kw_only=True):
    """The speed of a server: time per output token, time to first token, output of the whole server.

    ``reason`` says why nothing is said; the figures are then None. ``notes`` say what a reader must know beside them.
    """

    reason: str | None = None
    grade: Evidence | None = None
    tpot_us: Range | None = None
    ttft_us: Range | None = None
    output_millitokens_per_second: Range | None = None
    running_sequences: float = 0.0
    prefill_share: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, str | float | None]:
        """Return the forecast under the keys ``planner estimate --json`` prints."""
        found: dict[str, str | float | None] = {}
        for name, own in (
            ("tpot_ms", self.tpot_us),
            ("ttft_ms", self.ttft_us),
            ("output_tokens_per_s", self.output_millitokens_per_second),
        ):
            found[name] = own.value / 1000 if own else None
            found[f"{name}_low"] = own.low / 1000 if own else None
            found[f"{name}_high"] = own.high / 1000 if own else None
        return {**found, "speed_grade": self.grade, "speed_reason": self.reason}


class Served(Struct, frozen=True, kw_only=True):
    """A server ready to be asked how fast it is: what its steps depend on, and the requests that run at once at most.

    ``notes`` say what a reader must know beside any figure.
    """

    rates: Rates
    batched_tokens: int
    most_sequences: float
    notes: tuple[str, ...] = ()


def forecast(server: Server, site: Site, load: Load, in_use_bytes: int = 0) -> Forecast:
    """Return the speed of a server under a load, on a GPU of which others use ``in_use_bytes``."""
    ready = served(server, site, load.requests, in_use_bytes)
    return Forecast(reason=ready) if isinstance(ready, str) else under(ready, load)


def served(server: Server, site: Site, requests: Requests, in_use_bytes: int = 0) -> Served | str:
    """Return a server ready to be asked about requests of a length, or why nothing is said of it.

    A server that only its ``max_model_len`` keeps from starting is taken to have a shorter one. One whose flags the
    engine refuses is as fast as its tensors say, and the note says that it does not start.
    """
    gpu, profile, device = site.gpu, site.profile, site.device
    reason = refusal(server, gpu, device)
    length = requests.input_tokens + requests.output_tokens
    if reason is None and length > server.flags.max_model_len:
        reason = f"requests of {length} tokens are longer than max_model_len {server.flags.max_model_len}"
    if reason is not None or device is None:
        return reason or ""
    notes: tuple[str, ...] = ()
    result = estimate(server, gpu, profile, in_use_bytes)
    if not result.starts:
        server = replace(server, flags=replace(server.flags, max_model_len=length))
        result = estimate(server, gpu, profile, in_use_bytes)
        notes = (f"with --max-model-len {length}, without which it does not start",)
    if not result.starts:
        notes = (f"as if it started: {result.reason}",)
    most = running_limit(server, gpu, profile, result.kv_cache_bytes, requests)
    if most < 1:
        return f"the KV cache does not hold one request of {length} tokens"
    rates = rates_of(server, gpu, profile, device, site.engine)
    return Served(rates=rates, batched_tokens=server.flags.max_num_batched_tokens, most_sequences=most, notes=notes)


def under(ready: Served, load: Load) -> Forecast:
    """Return the speed of a server under a load."""
    rates, batched, most = ready.rates, ready.batched_tokens, ready.most_sequences
    if load.rate_per_second is not None:
        found = at_rate(rates, load.requests, batched, most, load.rate_per_second)
        if found is None:
            best = running_state(rates, load.requests, batched, most).requests_per_second
            return Forecast(reason=f"{load.rate_per_second:g} requests/s outrun the server, which does {best:.3g}")
        return said(rates, found, load.requests, ready.notes)
    concurrency, notes = float(load.concurrency or 1), ready.notes
    if concurrency > most:
        wait = "the time to first token is from not waiting for a place to waiting in full"
        notes = (*notes, f"{most:.0f} requests run at once; {wait}")
    state = at_concurrency(rates, load.requests, batched, most, concurrency)
    return said(rates, state, load.requests, notes)


def running_limit(server: Server, gpu: GPU, profile: EngineProfile, kv_cache_bytes: int, requests: Requests) -> float:
    """Return how many requests, half answered, run at once on a server without pipeline stages."""
    flags, layout = server.flags, terms(server, gpu, profile).layout
    held = math.inf
    if layout.groups:
        tokens = requests.input_tokens + requests.output_tokens // 2
        blocks = layout.blocks(kv_cache_bytes)
        held = layout.max_concurrency(blocks, tokens, flags.max_num_batched_tokens)
    return min(held, flags.max_num_seqs) * flags.data_parallel_size


def rates_of(server: Server, gpu: GPU, profile: EngineProfile, device: Device, engine: Engine) -> Rates:
    """Return what the steps of a server depend on."""
    major, minor = gpu.compute_capability or (0, 0)
    own = work(server, 10 * major + minor, profile.whole_shared_experts)
    factor = engine.host_factor(version_of(profile))
    return Rates(work=own, device=device, engine=engine, host_factor=factor, learnt=learnt(server, gpu, factor))


def version_of(profile: EngineProfile) -> tuple[int, int, int]:
    """Return the version whose era a server's host part belongs to; the older engine core is older than all."""
    return _OLDEST if profile.runner == "v0" else parse_version(profile.version)


def grade_of(own: Work, device: Device) -> Grade:
    """Return how far the evidence is from a server's work: the worst of its device's and its kernels'."""
    dense = [device.matrices[matrices.kernel].grade for matrices in own.matrices]
    return worst(device.grade, *dense, *(device.experts[layers.kernel].grade for layers in own.experts))


def said(rates: Rates, state: Serving, requests: Requests, notes: tuple[str, ...] = ()) -> Forecast:
    """Return a steady state with its ranges, or why nothing is said of it."""
    grade = grade_of(rates.work, rates.device)
    largest = rates.device.largest_batch * rates.work.data_ranks
    if state.sequences > largest:
        reason = f"{state.sequences:.0f} running requests: no GPU of this class was measured with more than {largest}"
        return Forecast(reason=reason)
    captured = rates.work.captured_sequences
    if captured is not None and state.sequences > captured * rates.work.data_ranks:
        reason = f"{state.sequences:.0f} running requests are more than CUDA graphs are captured for ({captured})"
        return Forecast(reason=f"{reason}: without them nothing has been measured")
    spreads = rates.engine.spreads_at(state.prefill_share, grade)
    if spreads is None:
        share = round(100 * state.prefill_share)
        return Forecast(reason=f"bound by prompts, which take {share} % of the time: tokens come in bursts")
    output = state.requests_per_second * requests.output_tokens
    own = rates.learnt
    tpot = own.tpot.of_a_time(spreads.tpot) if own else _stated(spreads.tpot)
    ttft = own.ttft.of_a_time(spreads.ttft) if own else _stated(spreads.ttft)
    rate = own.output.of_a_rate(spreads.throughput) if own else _stated(spreads.throughput)
    return Forecast(
        grade="measured here" if own else grade,
        tpot_us=_range(state.tpot_seconds, 10**6, tpot),
        ttft_us=replace(
            _range(state.ttft_seconds, 10**6, ttft),
            low=round(state.unqueued_seconds * 10**6 * ttft.low),
        ),
        output_millitokens_per_second=_range(output, 10**3, rate),
        running_sequences=state.sequences,
        prefill_share=state.prefill_share,
        notes=notes,
    )


def _stated(spread: Spread) -> Factors:
    return Factors(low=spread.low, middle=1.0, high=spread.high)


def _range(value: float, scale: int, factors: Factors) -> Range:
    low, middle, high = (round(value * scale * factor) for factor in (factors.low, factors.middle, factors.high))
    return Range(value=middle, low=low, high=high)
