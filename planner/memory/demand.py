"""Demand: the memory of one server on one GPU as a function of its sequences, and the exact ledger of a chosen one.

Everything is an integer number of bytes rounded against the planner, so that what a plan promises fits.
"""

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory.learnt import learnt
from planner.memory.overhead import baseline_bytes
from planner.memory.terms import Server, Terms, loaded, offloaded, terms
from planner.memory.uncertainty import stage_margin
from planner.tensors.kv_cache import KVLayout


class Demand(Struct, frozen=True, kw_only=True):
    """The memory of one server on one GPU, linear in its sequences but for two floors.

    ``fixed_bytes``: driver context, weights, memory outside PyTorch, CUDA graphs, buffers that stay, the null block,
    and the safety margin. The KV cache must hold one request of ``max_model_len`` (``kv_floor_bytes``) and every
    sequence's request (``kv_bytes_per_sequence``), or where requests pass, what all hold together, a floor too. The
    activation peak is the layers' (``activation_floor_bytes``, serving included) or the sampler's, whichever is larger.
    """

    fixed_bytes: int
    null_block_bytes: int
    state_bytes_per_sequence: int
    kv_floor_bytes: int
    kv_bytes_per_sequence: int
    activation_floor_bytes: int
    activation_base_bytes: int
    activation_bytes_per_sequence: int
    sequences_max: int

    def kv_cache_bytes(self, sequences: int) -> int:
        """Return the KV cache that holds so many requests, the engine's null block included."""
        return self.null_block_bytes + max(self.kv_floor_bytes, self.kv_bytes_per_sequence * sequences)

    def footprint(self, sequences: int) -> int:
        """Return the bytes the server takes with ``max_num_seqs`` = ``sequences``, at most ``sequences_max``."""
        activation = self.activation_base_bytes + self.activation_bytes_per_sequence * sequences
        return (
            self.fixed_bytes
            + self.state_bytes_per_sequence * sequences
            + max(self.kv_floor_bytes, self.kv_bytes_per_sequence * sequences)
            + max(self.activation_floor_bytes, activation)
        )


class Ledger(Struct, frozen=True, kw_only=True):
    """What one server takes on one GPU, term by term, in bytes."""

    baseline_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    margin_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum of all terms."""
        return (
            self.baseline_bytes
            + self.weights_bytes
            + self.kv_cache_bytes
            + self.activation_bytes
            + self.non_torch_bytes
            + self.cuda_graph_bytes
            + self.margin_bytes
        )


def demand(server: Server, gpu: GPU, profile: EngineProfile, request_tokens: int) -> Demand:
    """Return the memory of a server per GPU for any number of sequences up to its flags' ``max_num_seqs``.

    CUDA graphs, sampler buffers and the margin are those of ``max_num_seqs``; a plan that wants few sequences asks
    again with a lower bound. With pipeline stages each term is that of the stage where it is largest.
    ``request_tokens`` is the length at which concurrency is counted.
    """
    flags = server.flags
    stages = _stages(server, gpu, profile)
    baseline = baseline_bytes(flags, profile, gpu)

    def blocks_bytes(stage: Terms, tokens: int, requests: int = 1) -> int:
        blocks = stage.layout.blocks_at_once(requests, tokens, flags.max_num_batched_tokens)
        return blocks * stage.layout.bytes_per_block

    fixed = max(
        stage.weights_bytes
        + stage.non_torch_bytes
        + stage.cuda_graph_bytes
        + stage.line.kept_bytes
        + _margin(stage, server, gpu, profile)
        for stage in stages
    )
    null_block = max(stage.layout.bytes_per_block for stage in stages)
    longest = max(blocks_bytes(stage, flags.max_model_len) for stage in stages)
    passing = any(stage.layout.passing for stage in stages)
    held = flags.reserved_tokens(request_tokens)
    together = max(blocks_bytes(stage, held, flags.max_num_seqs) for stage in stages) if passing else 0
    return Demand(
        fixed_bytes=baseline + fixed + null_block,
        null_block_bytes=null_block,
        state_bytes_per_sequence=max(stage.line.kept_bytes_per_sequence for stage in stages),
        kv_floor_bytes=max(longest, together),
        kv_bytes_per_sequence=0 if passing else max(blocks_bytes(stage, held) for stage in stages),
        activation_floor_bytes=max(stage.line.serving_floor_bytes for stage in stages),
        activation_base_bytes=max(stage.line.base_bytes for stage in stages),
        activation_bytes_per_sequence=max(stage.line.serving_bytes_per_sequence for stage in stages),
        sequences_max=flags.max_num_seqs,
    )


def loaded_bytes(server: Server, gpu: GPU, profile: EngineProfile) -> int:
    """Return what a server takes of a GPU whatever it serves, with no margin: a demand never has less."""
    ranks = range(server.flags.pipeline_parallel_size)
    kept = max(loaded(server, gpu, profile, rank) - offloaded(server, gpu, profile, rank) for rank in ranks)
    return baseline_bytes(server.flags, profile, gpu) + kept


def ledger(server: Server, gpu: GPU, profile: EngineProfile) -> Ledger:
    """Return the terms of a server whose flags fix ``max_num_seqs`` and ``kv_cache_memory_bytes``.

    With pipeline stages they are those of the stage that takes the most in all.

    Raises:
        ValueError: the flags leave the size of the KV cache open.
    """
    if server.flags.kv_cache_memory_bytes is None:
        raise ValueError("a ledger needs kv_cache_memory_bytes")
    ledgers = [
        Ledger(
            baseline_bytes=baseline_bytes(server.flags, profile, gpu),
            weights_bytes=stage.weights_bytes,
            kv_cache_bytes=server.flags.kv_cache_memory_bytes,
            activation_bytes=_activation_bytes(stage, server.flags.sampled_rows),
            non_torch_bytes=stage.non_torch_bytes,
            cuda_graph_bytes=stage.cuda_graph_bytes,
            margin_bytes=_margin(stage, server, gpu, profile),
        )
        for stage in _stages(server, gpu, profile)
    ]
    return max(ledgers, key=lambda own: own.total_bytes)


def _activation_bytes(stage: Terms, sequences: int) -> int:
    """Return the activation peak on the way up, or while serving where that takes more."""
    peak = max(stage.activation.transient_bytes, stage.line.serving_floor_bytes)
    if stage.line.verifying_bytes_per_sequence:
        peak = max(peak, stage.line.base_bytes + stage.line.serving_bytes_per_sequence * sequences)
    return peak + stage.activation.persistent_bytes


def scarcest_layout(server: Server, gpu: GPU, profile: EngineProfile) -> KVLayout:
    """Return the KV cache layout of the pipeline stage whose blocks cost most.

    All stages have the same block tables and as many blocks as the one with the fewest (``get_kv_cache_configs`` in
    ``v1/core/kv_cache_utils.py``, 0.8.5 to 0.33.0), which with equal caches is this one.
    """
    layouts = [stage.layout for stage in _stages(server, gpu, profile)]
    return max(layouts, key=lambda own: own.bytes_per_block)


def _stages(server: Server, gpu: GPU, profile: EngineProfile) -> list[Terms]:
    """Return the terms of every pipeline stage."""
    return [terms(server, gpu, profile, rank) for rank in range(server.flags.pipeline_parallel_size)]


def with_sequences(server: Server, sequences: int, kv_cache_memory_bytes: int) -> Server:
    """Return the server with its sequences and KV cache decided."""
    flags = replace(server.flags, max_num_seqs=sequences, kv_cache_memory_bytes=kv_cache_memory_bytes)
    return replace(server, flags=flags)


def _margin(stage: Terms, server: Server, gpu: GPU, profile: EngineProfile) -> int:
    """Return what is set aside for what an estimate may be off by; what start-ups taught moves it, never below zero.

    A plan promises no more than is expected without them: a log's own headroom may have been that of a start that found
    its kernels compiled.
    """
    stated = stage_margin(server, gpu, profile, stage, with_graphs=True).low_bytes
    known = learnt(server, gpu, profile)
    return max(0, known.low_bytes(stated) - known.more_bytes) if known else stated
