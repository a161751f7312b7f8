"""Demands: the memory of servers of options, found once for all that are alike."""

import functools

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.demand import Demand, demand
from planner.memory.terms import Server
from planner.options.option import Option
from planner.options.prune import never_larger
from planner.tensors.identity import Same


@functools.lru_cache(maxsize=1 << 16)
def demand_of(
    architecture: Same[Architecture],
    quantization: Same[Quantization],
    flags: ServeFlags,
    gpu: Same[GPU],
    profile: Same[EngineProfile],
    request_tokens: int,
) -> Demand:
    """Return the memory of a server; roles alike, checkpoints stored alike and scenarios ask for the same ones."""
    server = Server(architecture=architecture.value, quantization=quantization.value, flags=flags)
    return demand(server, gpu.value, profile.value, request_tokens)


def same_memory(larger: Option, smaller: Option) -> bool:
    """Whether the option with the smaller batch takes no less memory at any number of sequences, awake or asleep."""
    if larger.asleep.gpu_bytes > smaller.asleep.gpu_bytes or larger.asleep.host_bytes > smaller.asleep.host_bytes:
        return False
    return never_larger(larger.demand, smaller.demand, smaller.sequences_min, smaller.sequences_max)
