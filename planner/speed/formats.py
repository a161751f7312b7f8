"""The kernels that run a storage format, under the names ``catalog/speed`` has them by."""

from planner.facts.gpu import FP8_CAPABILITY
from planner.facts.quantization import Storage

KERNELS = ("bf16", "fp8", "fp8-block", "int8", "weight-only-8", "int4", "mxfp4", "nvfp4")
"""Every kind of kernel a device states."""
_FOUR_BITS = 4


def kernel(storage: Storage | None, capability: int) -> str:
    """Return the kind of kernel that multiplies a matrix so stored on a compute capability (90: SM90)."""
    if storage is None or storage.bits > 2 * _FOUR_BITS:
        return "bf16"
    if storage.name in ("nvfp4", "mxfp4"):
        return storage.name
    if storage.bits <= _FOUR_BITS:
        return "int4"
    if storage.name == "w8a8-int8":
        return "int8"
    # Without FP8 tensor cores a GPU runs FP8 weights through the Marlin kernel, in 16 bits.
    if not storage.name.startswith(("fp8", "mxfp8")) or capability < FP8_CAPABILITY:
        return "weight-only-8"
    return "fp8-block" if storage.name in ("fp8-block", "mxfp8") else "fp8"
