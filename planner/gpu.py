"""GPU: frozen facts about one device type."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """One device type, as the catalog describes it.

    ``memory_bytes`` is the total an engine sees (``cudaMemGetInfo``, ``torch.cuda.mem_get_info``), which is less than
    what ``nvidia-smi`` prints (``driver_memory_bytes``) and much less than the marketing figure. Where sources
    disagree it is the smallest, so that a plan fits every card of that name. ``compute_capability`` is ``(9, 0)`` for
    SM90; ``product`` is the name NVML prints. ``refusal`` says why no plan is made for this device, or is empty.
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
