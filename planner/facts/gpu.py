"""GPU: frozen facts about one device type."""

from msgspec import Struct
from msgspec.structs import replace

from planner.facts.paced import Paced
from planner.facts.seen import Seen

BF16_CAPABILITY, FP8_CAPABILITY = 80, 89
"""Compute capabilities (89 for 8.9) from which on a device computes in bf16 and in FP8."""


class GPU(Struct, frozen=True, kw_only=True):
    """One device type, as the catalog describes it.

    ``memory_bytes`` is the total an engine sees (``cudaMemGetInfo``, ``torch.cuda.mem_get_info``), which is less than
    what ``nvidia-smi`` prints (``driver_memory_bytes``) and much less than the marketing figure. Where sources
    disagree it is the smallest, so that a plan fits every card of that name, and ``memory_spread_bytes`` is by how much
    the largest exceeds it. ``compute_capability`` is ``(9, 0)`` for SM90; ``product`` is the name NVML prints.
    ``refusal`` says why no plan is made for this device, or is empty.

    ``memory_assumed`` says how the total was derived when nobody published it, or is empty. Dense rates are per second
    without sparsity; those named in ``derived_rates`` come from clocks and core counts, not from a data sheet. A MIG
    instance is a GPU of its own whose ``parent`` names the whole card; ``instances`` is how many fit on that card.

    ``seen`` are the user's own start-ups on such devices, ``paced`` the load tests.

    An ``integrated`` device shares its memory with the operating system, which after boot holds up to
    ``system_memory_bytes`` of it (0: not known) according to ``system_memory_source``.
    """

    name: str
    product: str
    aliases: tuple[str, ...]
    vendor: str
    generation: str
    compute_capability: tuple[int, int] | None
    memory_bytes: int
    driver_memory_bytes: int | None
    bandwidth_bytes_per_second: int | None
    interconnect: str
    integrated: bool = False
    refusal: str = ""
    sources: tuple[str, ...] = ()
    memory_assumed: str = ""
    system_memory_bytes: int = 0
    system_memory_source: str = ""
    memory_spread_bytes: int = 0
    fp16_dense_flops: int | None = None
    fp8_dense_flops: int | None = None
    int8_dense_ops: int | None = None
    fp4_dense_flops: int | None = None
    derived_rates: tuple[str, ...] = ()
    board_watts: int | None = None
    released: str = ""
    parent: str = ""
    instances: int = 1
    note: str = ""
    seen: tuple[Seen, ...] = ()
    paced: tuple[Paced, ...] = ()

    @property
    def capability(self) -> int | None:
        """The compute capability of an NVIDIA GPU as engines write it, 89 for 8.9; None where it is not known."""
        if self.vendor != "nvidia" or self.compute_capability is None:
            return None
        major, minor = self.compute_capability
        return 10 * major + minor


def dotted(capability: int) -> str:
    """Write a compute capability as it is spoken of: 8.9 for 89."""
    return f"{capability // 10}.{capability % 10}"


def unknown_gpu(name: str, memory_bytes: int) -> GPU:
    """Return a device of which only the name and the memory an engine sees are known."""
    return GPU(
        name=name,
        product=name,
        aliases=(),
        vendor="unknown",
        generation="",
        compute_capability=None,
        memory_bytes=memory_bytes,
        driver_memory_bytes=None,
        bandwidth_bytes_per_second=None,
        interconnect="",
        note="not in the catalog",
    )


def with_memory(gpu: GPU, memory_bytes: int) -> GPU:
    """Return the device with the total an engine was seen to report."""
    return replace(gpu, memory_bytes=memory_bytes, memory_spread_bytes=0, memory_assumed="")


class CloudPrice(Struct, frozen=True, kw_only=True):
    """A list price: one instance type with ``gpu_count`` GPUs for ``microdollars_per_hour`` (10**-6 US dollars).

    ``market`` is ``on-demand``, ``spot`` or ``reserved``. ``date`` is when the price was listed, or empty when the
    source does not say; ``host_memory_bytes`` is 0 where that is not known. Nobody sells at a ``reference``.
    """

    provider: str
    instance: str
    gpu: str
    gpu_count: int
    microdollars_per_hour: int
    market: str = "on-demand"
    region: str
    date: str
    host_memory_bytes: int = 0
    reference: bool = False
    source: str

    @property
    def basis(self) -> str:
        """What stands behind the price: ``aws g6e.12xlarge, on demand in us-east-1, listed 2026-10-10``."""
        if self.reference:
            return f"{self.instance}, a figure that nobody sells at"
        where = f" in {self.region}" if self.region else ""
        listed = f"listed {self.date}" if self.date else "undated"
        return f"{self.provider} {self.instance}, {self.market.replace('-', ' ')}{where}, {listed}"
