"""What an engine process takes of its machine's own memory: what it should be sure of, and where it is ended."""

from planner.artifacts.nodes import Part
from planner.units import GIB, ceil_div

_ENGINE_BYTES, _WORKER_BYTES, _SHARED_BYTES, _FILE_BYTES = 4 * GIB, 2 * GIB, 8 * GIB, 5 * GIB
_SLACK_BYTES = 32 * GIB
"""What may come on top for a time: compilers of kernels, of which there are many at once, and images and prompts that
wait. An estimate, and a generous one: a limit is for a process that leaks and must never end one that does not."""


def host_memory_bytes(part: Part) -> int:
    """Return what a process and its workers should be sure of in the host's memory.

    An engine and its API are given 4 GiB, each further worker 2 GiB: estimates, for no source says what they take
    beside a GPU. On a CPU an API server holds 0.5 GiB and the core of an engine as much while it loads (resident,
    0.32.0), to which CUDA's libraries come. Workers exchange data through 8 GiB of shared memory, which counts as
    theirs. Weights go through the host file by file: published checkpoints have files of up to 5 GB, or are smaller.
    What is kept in host memory on purpose comes on top, and what a sleeping server keeps there.
    """
    gpus = len(part.gpu_indices)
    weights = min(part.server.ledger.weights_bytes * gpus, _FILE_BYTES)
    workers = _ENGINE_BYTES + _WORKER_BYTES * (gpus - 1) + (_SHARED_BYTES if gpus > 1 else 0)
    server = part.server
    engines = max(1, server.data_parallel_size // len(server.nodes))
    asleep = server.asleep.host_bytes if server.asleep else 0
    return workers + weights + server.settings.host_bytes(gpus, engines) + asleep


def memory_limit_gib(part: Part, unified_bytes: int) -> int:
    """Return beyond how many GiB a process and its workers are ended: twice what they should be sure of, and slack.

    Where a GPU has no memory of its own, ``unified_bytes`` of the machine's on each GPU may count as the process's.
    """
    return ceil_div(2 * host_memory_bytes(part) + _SLACK_BYTES + unified_bytes * len(part.gpu_indices), GIB)
