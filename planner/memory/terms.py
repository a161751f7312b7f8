"""The terms of one server's memory on one GPU: weights, activation, overheads, graphs, and how its cache is cut."""

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.activation import Activation, ActivationLine, activation_line, second_runner
from planner.memory.context_parallel import context_buffer_bytes
from planner.memory.cuda_graphs import cuda_graph_bytes
from planner.memory.lora import lora_tensors
from planner.memory.overhead import non_torch_bytes
from planner.memory.sparse_latent import sparse_latent
from planner.memory.workspace import attention_workspace_bytes
from planner.tensors.allocator import allocated_bytes, pinned_bytes
from planner.tensors.kv_cache import KVLayout, layout
from planner.tensors.kv_pages import state_dtypes
from planner.tensors.kv_rules import kv_rules
from planner.tensors.weight_rules import weight_rules
from planner.tensors.weights import layers_bytes, weights_bytes

_DTYPE_BYTES = {"float32": 4, "float": 4}


class Server(Struct, frozen=True, kw_only=True):
    """One server: a model as stored, and the flags it is started with."""

    architecture: Architecture
    quantization: Quantization
    flags: ServeFlags

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one activation or unquantized weight."""
        return 4 if self.flags.dtype in _DTYPE_BYTES else 2

    @property
    def kv_cache_dtype(self) -> str:
        """The KV cache's dtype: as asked for, else as the checkpoint says, else the engine's choice."""
        asked = self.flags.kv_cache_dtype
        return (self.quantization.kv_cache_dtype if asked == "auto" else asked) or "auto"

    @property
    def quantized(self) -> bool:
        """Whether the checkpoint is quantized."""
        return self.quantization.method is not None


class Terms(Struct, frozen=True, kw_only=True):
    """The memory of one pipeline stage on one GPU, in bytes, as the engine accounts it.

    ``assumed_bytes`` is by how much the weights may be larger because part of the checkpoint's config was not seen.
    """

    weights_bytes: int
    assumed_bytes: int
    line: ActivationLine
    activation: Activation
    non_torch_bytes: int
    cuda_graph_bytes: int
    layout: KVLayout


def terms(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int = 0) -> Terms:
    """Return the memory of one pipeline stage, without any budget."""
    flags, architecture = server.flags, server.architecture
    line = activation_line(
        architecture,
        flags,
        profile,
        gpu,
        dtype_bytes=server.dtype_bytes,
        quantized=server.quantized,
        pipeline_rank=pipeline_rank,
        sparse=sparse_latent(architecture, server.quantization, flags, profile, gpu),
    )
    weights = loaded(server, gpu, profile, pipeline_rank)
    widest = server.quantization.widest
    largest = _loaded(server, widest, gpu, profile, pipeline_rank) if widest else weights
    adapters = lora_tensors(architecture, flags, server.dtype_bytes, profile, pipeline_rank)
    split_limit = weight_rules(profile, gpu).split_limit
    return Terms(
        weights_bytes=weights
        - offloaded(server, gpu, profile, pipeline_rank)
        + allocated_bytes((adapters,), split_limit),
        assumed_bytes=max(0, largest - weights),
        line=line,
        activation=line.at(flags.sampled_rows, warm=flags.compile_cache == "warm"),
        non_torch_bytes=non_torch_bytes(
            flags, profile, gpu, vocabulary=architecture.vocab_size, second=runs_second(server, profile)
        )
        + context_buffer_bytes(architecture, flags, server.dtype_bytes),
        cuda_graph_bytes=_captured(server, gpu, profile, pipeline_rank),
        layout=_layout(server, gpu, profile, pipeline_rank),
    )


def offloaded(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int = 0) -> int:
    """Return the bytes of the weights of one pipeline stage that are kept in host memory.

    Layers are moved there parameter by parameter until the flag's size is reached; embeddings and the output head are
    no layers and stay (``make_layers`` in ``model_executor/models/utils.py``, 0.10.2 to 0.33.0).
    """
    asked = server.flags.cpu_offload_bytes
    if not asked:
        return 0
    flags = server.flags
    movable = layers_bytes(
        server.architecture,
        server.quantization,
        dtype_bytes=server.dtype_bytes,
        tensor_parallel_size=flags.tensor_parallel_size,
        pipeline_parallel_size=flags.pipeline_parallel_size,
        pipeline_rank=pipeline_rank,
        data_parallel_size=flags.data_parallel_size,
        expert_parallel=flags.expert_parallel,
        rules=weight_rules(profile, gpu),
    )
    return min(asked, movable)


def loaded(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int = 0) -> int:
    """Return the bytes of the weights of one pipeline stage, wherever they are kept."""
    return _loaded(server, server.quantization, gpu, profile, pipeline_rank)


def backup_bytes(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int = 0) -> int:
    """Return what a copy of the weights of one rank takes of the machine's memory, adapters included."""
    adapters = lora_tensors(server.architecture, server.flags, server.dtype_bytes, profile, pipeline_rank)
    weights = _loaded(server, server.quantization, gpu, profile, pipeline_rank, backed_up=True)
    return weights + pinned_bytes((adapters,), weight_rules(profile, gpu).split_limit)


def _captured(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int) -> int:
    """Return what capturing takes: the graphs, and what the attention sets aside when it is first planned."""
    flags, architecture = server.flags, server.architecture
    graphs = cuda_graph_bytes(architecture, flags, profile, gpu, pipeline_rank=pipeline_rank)
    if not graphs:
        return 0
    return graphs + attention_workspace_bytes(architecture, server.quantization, flags, profile, gpu)


def _loaded(
    server: Server,
    quantization: Quantization,
    gpu: GPU,
    profile: EngineProfile,
    pipeline_rank: int,
    *,
    backed_up: bool = False,
) -> int:
    """Return the weights of one pipeline stage, stored as ``quantization`` says, or what a copy of them takes."""
    flags = server.flags
    return weights_bytes(
        server.architecture,
        quantization,
        dtype_bytes=server.dtype_bytes,
        tensor_parallel_size=flags.tensor_parallel_size,
        pipeline_parallel_size=flags.pipeline_parallel_size,
        pipeline_rank=pipeline_rank,
        data_parallel_size=flags.data_parallel_size,
        expert_parallel=flags.expert_parallel,
        max_num_batched_tokens=flags.max_num_batched_tokens,
        rules=weight_rules(profile, gpu),
        backed_up=backed_up,
    )


def _layout(server: Server, gpu: GPU, profile: EngineProfile, pipeline_rank: int) -> KVLayout:
    flags = server.flags
    return layout(
        server.architecture,
        rules=kv_rules(profile, flags.prefix_caching, gpu),
        kv_cache_dtype=server.kv_cache_dtype,
        dtype_bytes=server.dtype_bytes,
        block_size=flags.block_size or profile.block_size,
        tensor_parallel_size=flags.tensor_parallel_size,
        pipeline_parallel_size=flags.pipeline_parallel_size,
        pipeline_rank=pipeline_rank,
        context_parallel_size=flags.context_parallel_size,
        state_dtypes=state_dtypes(flags.mamba_cache_dtype, flags.mamba_ssm_cache_dtype),
    )


def graphs_in_budget(server: Server, profile: EngineProfile) -> bool:
    """Whether the engine sets aside memory for CUDA graphs before it sizes the KV cache."""
    if runs_second(server, profile):
        return profile.second_runner_graphs_in_budget
    return profile.graphs_in_budget


def runs_second(server: Server, profile: EngineProfile) -> bool:
    """Whether the engine version runs a server with its second model runner."""
    return second_runner(server.architecture, profile, quantized=server.quantized, speculation=server.flags.speculative)
