"""Plain rooflines on the same rows: what most calculators print."""

from dataclasses import dataclass

from benchmarks.speed_fidelity.predict import Asked
from planner.speed.serving import Requests
from planner.speed.step import expected_hits
from planner.speed.work import Work, work


@dataclass(frozen=True, slots=True)
class Roofline:
    """A step takes the bytes it reads at a share of the bandwidth, or its operations at a share of the 16-bit rate."""

    name: str
    bandwidth_share: float
    flops_share: float

    def tpot_ms(self, own: Asked) -> float | None:
        """Return the time per output token of a row in milliseconds, without prompts, None where it cannot be said."""
        gpu = own.gpu
        if not gpu.bandwidth_bytes_per_second or not gpu.fp16_dense_flops or own.row.stages > 1:
            return None
        major, minor = gpu.compute_capability or (0, 0)
        bytes_read, operations = _needs(work(own.server, 10 * major + minor), own.load.requests, own.row.concurrency)
        reading = bytes_read / (gpu.bandwidth_bytes_per_second * self.bandwidth_share)
        return 1000 * max(reading, operations / (gpu.fp16_dense_flops * self.flops_share))


ROOFLINES = (Roofline("roofline at 100 %", 1.0, 1.0), Roofline("roofline at 70 % / 50 %", 0.7, 0.5))


def _needs(own: Work, requests: Requests, sequences: int) -> tuple[float, float]:
    """Return the bytes a rank reads in a step, only the experts that are hit, and its operations."""
    context = requests.input_tokens + requests.output_tokens / 2
    dense = [*own.matrices, own.head]
    bytes_read = float(sum(matrices.stored_bytes for matrices in dense))
    operations = 2.0 * sequences * sum(matrices.parameters for matrices in dense)
    for layers in own.experts:
        bytes_read += layers.layers * expected_hits(layers, sequences) * layers.expert_bytes
        chosen = sequences * layers.active * layers.local_experts / layers.experts
        operations += 2 * layers.layers * chosen * layers.expert_parameters
    for caches in own.caches:
        seen = min(context, caches.reach_tokens or context, caches.chosen_tokens or context)
        bytes_read += caches.layers * sequences * seen * caches.token_bytes
    return bytes_read + sequences * own.state_bytes, operations
