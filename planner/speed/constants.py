"""What one type of GPU and one era of the engine make of bytes and operations, as ``catalog/speed`` states it."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Grade = Literal["measured", "class", "analogy"]
GRADES: tuple[Grade, ...] = ("measured", "class", "analogy")
"""How far a constant's evidence is from the GPU asked about, nearest first."""

Evidence = Literal["measured here", "measured", "class", "analogy"]
"""How far what is said rests on evidence: the user's own load tests of that very server, or the worst constant."""


def worst(*grades: Grade) -> Grade:
    """Return the grade of what rests on several constants."""
    return max(grades, key=GRADES.index)


class MatrixKernel(Struct, frozen=True, kw_only=True):
    """Matrices of one storage format.

    ``bandwidth_share`` of the device's bandwidth is reached while few tokens share a matrix, ``flops_share`` of its
    16-bit dense rate (more than 1 for faster formats) while many do; ``launch_us`` is what a product costs beside that.
    """

    bandwidth_share: float
    flops_share: float
    launch_us: float
    grade: Grade


class ExpertKernel(Struct, frozen=True, kw_only=True):
    """The routed experts of one layer in one storage format.

    As for matrices; ``expert_us`` is what each expert hit costs beside its bytes, ``padding_tokens`` by how much the
    kernel's tiles make an expert's share of the tokens larger.
    """

    bandwidth_share: float
    flops_share: float
    launch_us: float
    expert_us: float
    padding_tokens: float
    grade: Grade


class AllReduce(Struct, frozen=True, kw_only=True):
    """Summing over the GPUs of a server: a latency, and the bytes per second of large messages."""

    latency_us: float
    bytes_per_second: float


class Device(Struct, frozen=True, kw_only=True):
    """One type of GPU: the shares of its own bandwidth and 16-bit rate that kernels reach, and what they cost beside.

    ``cache_bandwidth_share`` is that of reading keys and values, ``latent_bandwidth_share`` of latent vectors. A prompt
    of ``attention_half_tokens`` reaches half of ``attention_flops_share``. ``all_reduce`` is by number of GPUs; none
    where they are not linked. ``largest_batch`` is the most running sequences a serving measurement of its class had.
    """

    grade: Grade
    bandwidth_bytes_per_second: float
    flops_per_second: float
    matrices: Mapping[str, MatrixKernel]
    experts: Mapping[str, ExpertKernel]
    cache_bandwidth_share: float
    latent_bandwidth_share: float
    attention_launch_us: float
    attention_flops_share: float
    attention_half_tokens: float
    all_reduce: Mapping[int, AllReduce]
    largest_batch: int

    def summing(self, ranks: int) -> AllReduce | None:
        """Return what summing over so many GPUs costs, as over the next larger number known; None beyond all."""
        known = min((size for size in self.all_reduce if size >= ranks), default=None)
        return None if known is None else self.all_reduce[known]


class Era(Struct, frozen=True, kw_only=True):
    """What the engine from version ``since`` on multiplies the host's part of a step by."""

    since: tuple[int, int, int]
    host_factor: float


class Spread(Struct, frozen=True, kw_only=True):
    """The 80 % range of measured over predicted: ``low`` and ``high`` factors of what is printed."""

    low: float
    high: float


class Spreads(Struct, frozen=True, kw_only=True):
    """The ranges where prompts take up to ``prefill_share`` of a server's time and constants have ``grade``."""

    prefill_share: float
    grade: Grade
    tpot: Spread
    ttft: Spread
    throughput: Spread


class Percentile(Struct, frozen=True, kw_only=True):
    """How much longer so many of a hundred requests take at most than the middle one."""

    percentile: int
    tpot: float
    ttft: float


class Engine(Struct, frozen=True, kw_only=True):
    """What holds on all devices.

    ``step_us`` is the host's part of a step, ``sequence_us`` that of each running sequence, ``small_us`` one small
    kernel (norms, rotary embedding, cache writes, activations). ``routing_share``: experts are chosen so unevenly that
    the tokens of a step hit as many as this share of them would, chosen evenly. ``prompt_flops_share`` is what is left
    of the rates of products measured alone. ``first_token_us`` is what a request waits beside its prompt, and prompts
    that come together make one wait ``sequences ** burst_exponent`` times its own.
    """

    eras: tuple[Era, ...]
    spreads: tuple[Spreads, ...]
    percentiles: tuple[Percentile, ...]
    step_us: float
    sequence_us: float
    small_us: float
    routing_share: float
    prompt_flops_share: float
    first_token_us: float
    burst_exponent: float

    def percentile(self, wanted: int) -> Percentile:
        """Return the factors of one of the percentiles that are known."""
        return next(own for own in self.percentiles if own.percentile == wanted)

    def host_factor(self, version: tuple[int, int, int]) -> float:
        """Return the factor of an engine version's host part."""
        return max((era for era in self.eras if era.since <= version), key=lambda era: era.since).host_factor

    def spreads_at(self, prefill_share: float, grade: Grade) -> Spreads | None:
        """Return the ranges there, or None where prompts take more of the time than any range is known for."""
        fitting = (own for own in self.spreads if own.grade == grade and prefill_share <= own.prefill_share)
        return min(fitting, key=lambda own: own.prefill_share, default=None)
