"""The activation peak: what the engine's profile run holds at its worst moment, besides weights.

The profile runs ``max_num_batched_tokens`` tokens through the model and then samples for
``min(max_num_seqs, max_num_batched_tokens)`` sequences. The two peaks do not add: the larger one counts, plus buffers
that stay allocated from their first use on. docs/accuracy-of-estimates.md derives the temporaries.
"""

import functools

from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.speculation import Speculation, second_runner_takes
from planner.facts.gpu import GPU
from planner.memory.drafting import drafting
from planner.memory.expert_workspace import gathered_bytes, workspace_bytes
from planner.memory.forward import Forward
from planner.memory.recurrent import unprofiled_bytes
from planner.memory.sparse_latent import NOT_SPARSE, SparseLatent
from planner.memory.tuning import NO_TUNING, tuning
from planner.memory.vision import encoder_peak
from planner.tensors.identity import Same
from planner.units import MIB, ceil_div

_FLOAT = 4

# torch.sort of a float matrix along its rows (ATen/native/cuda/Sort.cpp): sorted values 4, their int64 positions 8,
# the positions before sorting 8, and the double buffers of keys and positions 4 + 8.
_SORT_BYTES = 32

# Without a sort: probabilities, and random numbers or masked logits.
_FILTER_BYTES = 2 * _FLOAT

# The caching allocator leaves up to 1 MiB of a large block unsplit (c10/cuda/CUDACachingAllocator.cpp, kSmallSize).
_BLOCK_TAIL_BYTES = MIB

# at::cuda getChosenWorkspaceSize: 32 MiB from compute capability 9.0, else 4096 KiB × 2 + 16 KiB × 8.
_BLAS_WORKSPACE_BYTES = 32 * MIB
_BLAS_WORKSPACE_SMALL_BYTES = 8 * MIB + 128 * 1024


class Activation(Struct, frozen=True, kw_only=True):
    """The activation peak in bytes per GPU: ``transient_bytes`` freed afterwards, ``persistent_bytes`` kept."""

    transient_bytes: int
    persistent_bytes: int

    @property
    def total_bytes(self) -> int:
        """The peak above the loaded weights."""
        return self.transient_bytes + self.persistent_bytes


class ActivationLine(Struct, frozen=True, kw_only=True):
    """The activation peak as a function of the sequences sampled for, everything else fixed.

    The transient part is ``max(floor_bytes, base_bytes + bytes_per_sequence × sequences)``: the layers' peak, or the
    sampler's. ``kept_bytes`` and ``kept_bytes_per_sequence`` stay allocated. The least the peak may be: a later start
    finds its kernels compiled (``warm_floor_bytes``), and a leaner sampler may be installed
    (``least_bytes_per_sequence``). Of what tuning them took, ``stranded_bytes`` may stay with the allocator. While
    serving the layers may take ``unprofiled_bytes`` more than the profile of compiled kernels shows, and the sampler
    ``verifying_bytes_per_sequence`` where every sequence has drafts to verify.
    """

    floor_bytes: int
    base_bytes: int
    bytes_per_sequence: int
    kept_bytes: int
    kept_bytes_per_sequence: int
    warm_floor_bytes: int
    least_bytes_per_sequence: int
    stranded_bytes: int
    unprofiled_bytes: int
    verifying_bytes_per_sequence: int = 0

    @property
    def serving_bytes_per_sequence(self) -> int:
        """What the sampler takes per sequence on the way up, or while serving where that is more."""
        return max(self.bytes_per_sequence, self.verifying_bytes_per_sequence)

    @property
    def serving_floor_bytes(self) -> int:
        """The most the layers take on the way up or while serving."""
        return max(self.floor_bytes, self.warm_floor_bytes + self.unprofiled_bytes)

    def at(self, sequences: int, *, warm: bool = False) -> Activation:
        """Return the peak for a number of sequences, of a start that finds its kernels compiled or does not."""
        floor = self.warm_floor_bytes if warm else self.floor_bytes
        return Activation(
            transient_bytes=max(floor, self.sampler_at(sequences)),
            persistent_bytes=self.kept_bytes + self.kept_bytes_per_sequence * sequences,
        )

    def sampler_at(self, sequences: int) -> int:
        """Return the sampler's peak, 0 where a rank does not sample."""
        return self.base_bytes + self.bytes_per_sequence * sequences

    def least_at(self, sequences: int) -> int:
        """Return the least transient peak: compiled kernels found, the leanest sampler installed."""
        return max(self.warm_floor_bytes, self.base_bytes + self.least_bytes_per_sequence * sequences)


def activation_line(
    architecture: Architecture,
    flags: ServeFlags,
    profile: EngineProfile,
    gpu: GPU,
    *,
    dtype_bytes: int,
    quantized: bool,
    pipeline_rank: int = 0,
    sparse: SparseLatent = NOT_SPARSE,
) -> ActivationLine:
    """Return the activation peak of one rank in the engine's memory profile, for up to ``max_num_seqs`` sequences.

    A line rather than a number, because the solver chooses the sequences: only the sampler grows with them, so the peak
    is flat (the layers') up to some number of sequences and rises from there. Every rank has layers; the last one has
    the sampler too, the first one the encoder of images, and all but the first a buffer for what the one before sends.
    """
    last_stage = pipeline_rank == flags.pipeline_parallel_size - 1
    second = second_runner(architecture, profile, quantized=quantized, speculation=flags.speculative)
    experts = workspace_bytes(architecture, flags, profile, dtype_bytes)
    layers = Forward(architecture, flags, profile, gpu, dtype_bytes=dtype_bytes)
    # Attention and experts of a layer run one after the other, and so does what each takes beside the rest.
    beside = max(gathered_bytes(architecture, flags, dtype_bytes), sparse.profiled_bytes)
    warm = layers.peak_bytes() + beside + _BLOCK_TAIL_BYTES
    kept = blas_workspace_bytes(gpu) if profile.blas_handles_in_budget else 0
    tuned = NO_TUNING if pipeline_rank else tuning(architecture, flags, profile, dtype_bytes)
    # cuBLAS takes its workspace with the first product, after the kernels were tuned.
    floor = max(layers.first_peak_bytes() + beside, tuned.peak_bytes - kept) + _BLOCK_TAIL_BYTES
    # The experts' workspace is either there for good, and then beside the sampler as well, or only while layers run.
    if profile.moe_workspace_persistent:
        kept += sparse.with_experts(experts)
    else:
        kept += sparse.workspace_bytes
        floor += experts
        warm += experts
    sampling = _NOT_SAMPLING
    if last_stage and architecture.has_head and not architecture.is_pooling:
        sampling = _sampling(architecture, flags, dtype_bytes, profile, gpu, second=second)
    ahead = drafting(architecture, flags, dtype_bytes, second=second)
    floor, warm, kept = floor + ahead.transient_bytes, warm + ahead.transient_bytes, kept + ahead.kept_bytes
    base, per_row = sampling.base_bytes, sampling.row_bytes
    verifying = per_row * flags.query_tokens if flags.speculative else 0
    per_row += ahead.row_bytes if per_row else 0
    if architecture.vision and pipeline_rank == 0:
        encoder = encoder_peak(architecture.vision, architecture.hidden_size, flags, profile, gpu, dtype_bytes)
        # The encoder runs before the layers, and what it makes of the images waits for them and for the sampler.
        floor, warm = (max(peak + encoder.kept_bytes, encoder.peak_bytes) for peak in (floor, warm))
        base += encoder.kept_bytes if base else 0
    # What the stage before sends: hidden states and residual of a whole pass, allocated once.
    if pipeline_rank > 0:
        kept += 2 * flags.max_num_batched_tokens * architecture.hidden_size * dtype_bytes
    return ActivationLine(
        floor_bytes=floor,
        base_bytes=base,
        bytes_per_sequence=per_row,
        kept_bytes=kept,
        kept_bytes_per_sequence=sampling.kept_bytes_per_sequence + ahead.kept_bytes_per_sequence,
        warm_floor_bytes=warm,
        least_bytes_per_sequence=per_row - sampling.leaner_bytes,
        stranded_bytes=tuned.copy_bytes if profile.budget == "consumed" else 0,
        unprofiled_bytes=max(unprofiled_bytes(architecture, flags, dtype_bytes), sparse.serving_bytes - beside),
        verifying_bytes_per_sequence=verifying,
    )


def second_runner(
    architecture: Architecture, profile: EngineProfile, *, quantized: bool, speculation: Speculation | None = None
) -> bool:
    """Whether this engine version runs the model with its second model runner ("Using V2 Model Runner")."""
    if not second_runner_takes(speculation, profile.version):
        return False
    mixture, recurrent = _kinds(Same(architecture))
    listed = architecture.name in profile.second_runner_architectures
    if profile.second_runner == "always":
        return True
    if profile.second_runner == "listed":
        return listed and not architecture.is_pooling
    if profile.second_runner == "dense":
        return not architecture.is_pooling and (listed or not (mixture or recurrent))
    return profile.second_runner == "listed-plain" and listed and not (mixture or quantized)


@functools.lru_cache(maxsize=4096)
def _kinds(of: Same[Architecture]) -> tuple[bool, bool]:
    """Return whether any layer is a mixture of experts, and whether any is recurrent."""
    layers = of.value.layers
    return any(layer.mixture for layer in layers), any(layer.state for layer in layers)


def penalty_bytes(architecture: Architecture, max_num_seqs: int) -> int:
    """Return the second runner's penalty state: a count per token of the vocabulary and sequence, and a bit mask.

    Source: ``v1/worker/gpu/sample/penalties.py:PenaltiesState`` 0.33.0.
    """
    return max_num_seqs * (architecture.vocab_size * 4 + ceil_div(architecture.vocab_size, 32) * 4)


def blas_workspace_bytes(gpu: GPU) -> int:
    """Return the workspace cuBLAS gets from PyTorch on this GPU."""
    modern = gpu.compute_capability is None or gpu.compute_capability >= (9, 0)
    return _BLAS_WORKSPACE_BYTES if modern else _BLAS_WORKSPACE_SMALL_BYTES


def _runs_flashinfer(gpu: GPU) -> bool:
    return gpu.compute_capability is None or gpu.compute_capability >= (8, 0)


class _Sampling(Struct, frozen=True, kw_only=True):
    """What sampling takes on one rank: whatever it samples, for each row, and for good for each sequence.

    A row takes ``leaner_bytes`` less where a sampler is installed that need not be.
    """

    base_bytes: int = 0
    row_bytes: int = 0
    kept_bytes_per_sequence: int = 0
    leaner_bytes: int = 0


_NOT_SAMPLING = _Sampling()


def _sampling(
    architecture: Architecture, flags: ServeFlags, dtype_bytes: int, profile: EngineProfile, gpu: GPU, *, second: bool
) -> _Sampling:
    """Return what the rank that samples takes for it.

    The sampler runs while the hidden states of the whole pass are still held; of these it takes one row for each
    sequence, which the first runner copies once more.
    """
    row_bytes, buffers = _sampler(architecture, flags.sampled_rows, dtype_bytes, profile, gpu, second=second)
    hidden_bytes = architecture.hidden_size * dtype_bytes
    leaner = profile.flashinfer_if_installed and _runs_flashinfer(gpu)
    return _Sampling(
        base_bytes=flags.max_num_batched_tokens * hidden_bytes + buffers + _BLOCK_TAIL_BYTES,
        row_bytes=row_bytes + (1 if second else 2) * hidden_bytes,
        kept_bytes_per_sequence=penalty_bytes(architecture, 1) if second else 0,
        leaner_bytes=architecture.vocab_size * (_SORT_BYTES - _FILTER_BYTES) if leaner else 0,
    )


def _sampler(
    architecture: Architecture, rows: int, dtype_bytes: int, profile: EngineProfile, gpu: GPU, *, second: bool
) -> tuple[int, int]:
    """Return the sampler's bytes per row, and its buffers.

    Logits in the model's dtype, a float copy (none if they are floats already), and what filtering by top-k and
    top-p takes: a sort over the vocabulary, or probabilities and random numbers, or masked logits and probabilities.
    """
    vocabulary = architecture.vocab_size
    logits, copy = dtype_bytes, 0 if dtype_bytes == _FLOAT else _FLOAT
    has_flashinfer = _runs_flashinfer(gpu)
    filtered, scratch = _FILTER_BYTES, 0
    if second:
        if profile.second_sampler == "in-place":
            return vocabulary * logits, 0
        if profile.second_sampler == "float-copy" or not has_flashinfer:
            return vocabulary * (logits + _FLOAT), 0
        copy = _FLOAT
    elif profile.sampler == "sort":
        filtered = _SORT_BYTES
    elif profile.sampler == "triton" or not has_flashinfer:
        processors = profile.device(gpu).multiprocessors
        buffers = min(1 << (min(processors, rows) - 1).bit_length(), processors)
        scratch = buffers * vocabulary * _FLOAT
    return vocabulary * (logits + copy + filtered), scratch
