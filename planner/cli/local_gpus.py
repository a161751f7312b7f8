"""Which NVIDIA GPUs this machine has, asked of the driver through NVML."""

from collections.abc import Iterator
from types import ModuleType

from msgspec import Struct

from planner.errors import PlannerError
from planner.inventory.nvidia_smi import rounded


class NoLocalGPU(PlannerError):
    """NVML has no answer; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        hint = "name the GPU you plan for: planner init --gpu NAME, as nvidia-smi prints it or as in the catalog"
        return f"{self.reason}\n  hint: {hint}"


class LocalGPU(Struct, frozen=True, kw_only=True):
    """One device: its number, its name as nvidia-smi prints it, and the memory others hold, rounded up."""

    index: int
    product: str
    memory_in_use_bytes: int


def local_gpus() -> tuple[LocalGPU, ...]:
    """Ask the driver for its GPUs.

    Raises:
        NoLocalGPU: no driver, no device, or a device split into MIG instances, which have to be chosen by hand.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            found = tuple(_devices(pynvml))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NoLocalGPU(f"no NVIDIA driver answers here ({error})") from None
    if not found:
        raise NoLocalGPU("the NVIDIA driver knows no GPU here")
    return found


def _devices(nvml: ModuleType) -> Iterator[LocalGPU]:
    for index in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        if _is_split(nvml, device):
            raise NoLocalGPU(f"GPU {index} is split into MIG instances")
        name = nvml.nvmlDeviceGetName(device)
        product = name.decode() if isinstance(name, bytes) else str(name)
        yield LocalGPU(index=index, product=product, memory_in_use_bytes=_in_use(nvml, device))


def _is_split(nvml: ModuleType, device: object) -> bool:
    """Whether MIG is on; GPUs without MIG answer with an error."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(device)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    except nvml.NVMLError:
        return False


def _in_use(nvml: ModuleType, device: object) -> int:
    """Bytes others hold, rounded up. Version 2 of the call leaves out what the driver keeps for itself."""
    try:
        return rounded(nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2).used)
    except nvml.NVMLError:
        return 0
