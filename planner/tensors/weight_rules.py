"""What of loading weights depends on the engine version and the GPU, as data."""

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.profile import EngineProfile
from planner.facts.gpu import FP8_CAPABILITY, GPU
from planner.facts.quantization import Storage
from planner.units import MIB, ceil_div


class WeightRules(Struct, frozen=True, kw_only=True):
    """How one engine version lays weights out on one GPU. Defaults are those of 0.33 on SM90.

    ``split_limit`` is the allocator's largest block that may be split while loading (0: no limit).
    ``multimodal_rope_factor`` multiplies the positions of a multimodal rotary table that newer versions keep short;
    ``latent_rope_bytes`` is the width of a yarn table of latent attention. ``without_rotary`` lists classes that run
    through the Transformers backend, which keeps no table. ``capability`` is the compute capability, 90 for SM90 (0:
    unknown). ``mxfp4_hopper`` is the kernel of MXFP4 experts on SM90. ``block_fp8_marlin_below`` is the capability from
    which linear layers in block-wise FP8 do without the Marlin kernel. ``whole_shared`` lists classes whose shared
    expert every rank has whole where ranks of data and tensor parallelism share out experts.
    """

    split_limit: int = 20 * MIB
    multimodal_rope_factor: int = 1
    latent_rope_bytes: int | None = 4
    without_rotary: tuple[str, ...] = ()
    capability: int = 90
    mxfp4_hopper: str = "triton"
    block_fp8_marlin_below: int = 90
    whole_shared: tuple[str, ...] = ()


NEWEST = WeightRules()
_TRITON_CAPABILITY = 90
_TRITON_TILE = 64
_TRITON_SCALE_ROWS = 256
_FLOAT = 4


def on_device(storage: Storage, rules: WeightRules, *, expert: bool = False) -> Storage:
    """Return how a format of linear layers, or of experts, lies in the memory of this GPU.

    Without FP8 hardware the Marlin kernel takes FP8 weights, with scales in the model's dtype: one per output, or one
    per output and input group where the checkpoint has blocks (quantization/utils/marlin_utils_fp8.py, vLLM 0.33.0).
    Newer versions take Marlin for linear layers in blocks on 8.9 too, where the CUTLASS kernel does not run; experts
    have Triton's there (kernels/linear/__init__.py:_POSSIBLE_FP8_BLOCK_KERNELS, fused_moe/oracle/fp8.py).
    """
    blocks = storage.name == "fp8-block" and not expert
    below = rules.block_fp8_marlin_below if blocks else FP8_CAPABILITY
    if storage.name.startswith("fp8") and 0 < rules.capability < below:
        return replace(storage, row_group=1, scale_bytes=None, fixed_bytes=0)
    return storage


def expert_sizes(
    storage: Storage | None, hidden: int, inner: int, rules: WeightRules, *, bias: bool
) -> tuple[int, int]:
    """Return the hidden and inner size of expert matrices after the padding a kernel asks for.

    Source: ``fused_moe/oracle/mxfp4.py:mxfp4_round_up_hidden_size_and_intermediate_size`` of vLLM 0.33.0 and
    ``quantization/mxfp4.py`` of 0.10.2 to 0.16.0: Triton on SM90 pads the inner size to 64, TensorRT-LLM on SM100 and
    Marlin elsewhere pad it to 128 and the hidden size to 256. Shards of block-wise FP8 are padded to whole blocks.
    """
    if storage and storage.name == "mxfp4":
        if _triton(storage, rules, bias=bias):
            return hidden, _up(inner, 64)
        return _up(hidden, 256), _up(inner, 128)
    if storage and storage.name == "fp8-block":
        return hidden, _up(inner, storage.row_group)
    return hidden, inner


def expert_tensors(
    storage: Storage | None, rows: int, columns: int, rules: WeightRules, dtype_bytes: int, *, bias: bool
) -> tuple[int, ...]:
    """Return the bytes of the tensors of one matrix of one expert.

    Triton's layout for Hopper pads codes to tiles of 64 x 64 bytes and scales to 256 rows, and takes biases in fp32.
    Source: ``HopperMXValueLayout.swizzle_data`` and ``HopperMXScaleLayout.swizzle_data`` of triton_kernels as vLLM
    0.18.1 to 0.30.0 ship it; ``fused_moe/oracle/mxfp4.py:convert_weight_to_mxfp4_moe_kernel_format``.
    """
    if storage and _triton(storage, rules, bias=bias):
        groups = ceil_div(columns, storage.group_size or columns)
        codes = _up(rows, _TRITON_TILE) * _up(ceil_div(columns * storage.bits, 8), _TRITON_TILE)
        loaded = rows * groups if rules.mxfp4_hopper == "triton-two-scales" else 0
        return codes, _up(rows, _TRITON_SCALE_ROWS) * _up(groups, 2), loaded, rows * _FLOAT
    matrix = storage.tensors(rows, columns, dtype_bytes) if storage else (rows * columns * dtype_bytes,)
    return (*matrix, rows * dtype_bytes) if bias else matrix


def _triton(storage: Storage, rules: WeightRules, *, bias: bool) -> bool:
    """Whether Triton runs these experts: those of gpt-oss alone, which have biases, on SM90."""
    return (
        storage.name == "mxfp4" and bias and rules.capability == _TRITON_CAPABILITY and rules.mxfp4_hopper != "marlin"
    )


def _up(size: int, step: int) -> int:
    return ceil_div(size, step) * step


def weight_rules(profile: EngineProfile, gpu: GPU | None) -> WeightRules:
    """Return the rules of an engine version on a GPU."""
    major, minor = (gpu.compute_capability if gpu else None) or (0, 0)
    return WeightRules(
        split_limit=profile.load_split_limit_mib * MIB,
        multimodal_rope_factor=profile.multimodal_rope_factor,
        latent_rope_bytes=4 if profile.latent_rope_single_precision else None,
        without_rotary=profile.transformers_classes,
        capability=10 * major + minor,
        mxfp4_hopper=profile.mxfp4_hopper,
        block_fp8_marlin_below=profile.block_fp8_marlin_below,
        whole_shared=profile.whole_shared_experts,
    )
