"""Asleep: what a server of the engine keeps of its GPUs and of the machine's memory between its turns.

The sleep mode frees what the engine allocated for weights and KV cache, and PyTorch's cache with them. What is outside
stays: the CUDA context, communicators, kernels, CUDA graphs and the buffers of the model runner
(``v1/worker/gpu_worker.py:sleep``, ``device_allocator/cumem.py``, 0.10.2 to 0.33.0). On level 1 the weights are copied
into pinned memory of the machine; on level 2 they are forgotten, and read again when the server wakes.
"""

import functools

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.overhead import baseline_bytes
from planner.memory.terms import Server, Terms, backup_bytes, terms
from planner.memory.uncertainty import stage_margin
from planner.tensors.identity import Same


class Residue(Struct, frozen=True, kw_only=True):
    """What one sleeping server keeps: ``gpu_bytes`` of each of its GPUs, ``host_bytes`` of the machine's memory."""

    gpu_bytes: int = 0
    host_bytes: int = 0


STOPPED = Residue()
"""What a server keeps that is stopped between its turns."""


def residue(server: Server, gpu: GPU, profile: EngineProfile, level: int) -> Residue:
    """Return what a server keeps asleep on a level of 1 or 2, where the whole margin stays with it; nothing on 0."""
    if not level:
        return STOPPED
    made_of = Same(server.architecture), Same(server.quantization)
    return _residue(*made_of, server.flags, Same(gpu), Same(profile), level)


@functools.lru_cache(maxsize=1 << 14)
def _residue(
    architecture: Same[Architecture],
    quantization: Same[Quantization],
    flags: ServeFlags,
    on: Same[GPU],
    of: Same[EngineProfile],
    level: int,
) -> Residue:
    """Return it once for servers alike: an option, and whatever may beat it, ask for it again and again."""
    server = Server(architecture=architecture.value, quantization=quantization.value, flags=flags)
    gpu, profile = on.value, of.value
    ranks = range(server.flags.pipeline_parallel_size)
    kept = max(_kept(terms(server, gpu, profile, rank), server, gpu, profile) for rank in ranks)
    copied = sum(backup_bytes(server, gpu, profile, rank) for rank in ranks) if level == 1 else 0
    return Residue(
        gpu_bytes=baseline_bytes(server.flags, profile, gpu) + kept,
        host_bytes=copied * (server.flags.ranks // len(ranks)),
    )


def _kept(stage: Terms, server: Server, gpu: GPU, profile: EngineProfile) -> int:
    margin = stage_margin(server, gpu, profile, stage, with_graphs=True).low_bytes
    return stage.non_torch_bytes + stage.cuda_graph_bytes + stage.activation.persistent_bytes + margin
