"""Where the evidence does not reach: why nothing is said about a server's speed."""

from collections.abc import Iterator

from planner.config_json.hearing import HEARS_ALONE
from planner.engine.flags import ServeFlags
from planner.facts.gpu import GPU
from planner.memory.terms import Server
from planner.speed.constants import Device

_PAIR = 2
_SIXTEEN_BITS = ("auto", "half", "float16", "bfloat16")


def refusal(server: Server, gpu: GPU, device: Device | None) -> str | None:
    """Return why nothing is said about a server on a GPU whatever its load, or None.

    Each reason names a case that no public measurement covers, or in which those that do contradict each other.
    """
    reason = next(_reasons(server, gpu), None)
    if reason is not None:
        return reason
    if device is None:
        return f"no kernels of {gpu.name} or of a GPU of its class have been measured"
    ranks = server.flags.tensor_parallel_size
    if ranks > 1 and device.summing(ranks) is None:
        return f"summing over {ranks} GPUs of this class has not been measured"
    return None


def linked(gpu: GPU, ranks: int) -> bool:
    """Whether so many GPUs exchange data over NVLink; a bridge joins pairs."""
    joined = "NVLink" in gpu.interconnect and "C2C" not in gpu.interconnect
    return ranks == 1 or (joined and ("bridge" not in gpu.interconnect or ranks <= _PAIR))


def _reasons(server: Server, gpu: GPU) -> Iterator[str]:
    flags = server.flags
    if gpu.vendor == "unknown":
        yield f"no speed is known of {gpu.name}, which is not in the catalog"
    elif gpu.vendor != "nvidia":
        yield f"no speed is known of GPUs by {gpu.vendor}"
    if gpu.parent:
        yield "no speed is known of MIG instances"
    if not gpu.bandwidth_bytes_per_second:
        yield f"the memory bandwidth of {gpu.name} is not known"
    if not gpu.fp16_dense_flops:
        yield f"the dense 16-bit rate of {gpu.name} is not known"
    if server.architecture.is_pooling or not server.architecture.has_head:
        yield f"{server.architecture.name} generates no tokens"
    if any(layer.attention and layer.attention.compressed for layer in server.architecture.layers):
        yield f"the compressed attention of {server.architecture.name} has not been measured"
    if server.architecture.name in HEARS_ALONE:
        yield f"what the encoder of {server.architecture.name} takes has not been measured"
    yield from _flag_reasons(flags, gpu)


def _flag_reasons(flags: ServeFlags, gpu: GPU) -> Iterator[str]:
    if flags.pipeline_parallel_size > 1:
        yield "pipeline parallelism has not been measured"
    if flags.context_parallel_size > 1:
        yield "context parallelism has not been measured"
    if not linked(gpu, flags.tensor_parallel_size):
        yield f"tensor parallelism over {gpu.interconnect or 'an unknown link'} depends on peer-to-peer access"
    if flags.enforce_eager:
        yield "without CUDA graphs (enforce_eager) nothing has been measured"
    if flags.cpu_offload_bytes:
        yield "with weights in host memory nothing has been measured"
    if flags.max_loras:
        yield "with adapters (LoRA) nothing has been measured"
    if flags.speculative:
        yield f"how often drafts by {flags.speculative.method} are accepted has not been measured"
    if flags.dtype not in _SIXTEEN_BITS:
        yield f"only 16-bit activations have been measured, not {flags.dtype}"
