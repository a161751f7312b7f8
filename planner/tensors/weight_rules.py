"""What of loading weights depends on the engine version and the GPU, as data."""

from dataclasses import dataclass, replace

from planner.engine import EngineProfile
from planner.gpu import GPU
from planner.quantization import Storage
from planner.units import MIB, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRules:
    """How one engine version lays weights out on one GPU. Defaults are those of 0.33 on SM90.

    ``split_limit`` is the allocator's largest block that may be split while loading (0: no limit).
    ``multimodal_rope_factor`` multiplies the positions of a multimodal rotary table that newer versions keep short;
    ``latent_rope_bytes`` is the width of a yarn table of latent attention. ``without_rotary`` lists classes that run
    through the Transformers backend, which keeps no table. ``capability`` is the compute capability, 90 for SM90 (0:
    unknown).
    """

    split_limit: int = 20 * MIB
    multimodal_rope_factor: int = 1
    latent_rope_bytes: int | None = 4
    without_rotary: tuple[str, ...] = ()
    capability: int = 90


NEWEST = WeightRules()
# FP8 tensor cores appear with SM89; older GPUs run FP8 weights through the Marlin kernel.
_FP8_CAPABILITY = 89
_TRITON_CAPABILITY = 90


def on_device(storage: Storage, rules: WeightRules) -> Storage:
    """Return how a format lies in the memory of this GPU.

    Without FP8 hardware the Marlin kernel takes FP8 weights, with scales in the model's dtype: one per output, or one
    per output and input group where the checkpoint has blocks (quantization/utils/marlin_utils_fp8.py, vLLM 0.33.0).
    """
    if storage.name.startswith("fp8") and 0 < rules.capability < _FP8_CAPABILITY:
        return replace(storage, row_group=1, scale_bytes=None, fixed_bytes=0)
    return storage


def expert_sizes(storage: Storage | None, hidden: int, inner: int, rules: WeightRules) -> tuple[int, int]:
    """Return the hidden and inner size of expert matrices after the padding a kernel asks for.

    Source: ``fused_moe/oracle/mxfp4.py:mxfp4_round_up_hidden_size_and_intermediate_size`` of vLLM 0.33.0 and
    ``quantization/mxfp4.py`` of 0.10.2 to 0.16.0: Triton on SM90 pads the inner size to 64, TensorRT-LLM on SM100 and
    Marlin elsewhere pad it to 128 and the hidden size to 256. Shards of block-wise FP8 are padded to whole blocks.
    """
    if storage and storage.name == "mxfp4":
        if rules.capability == _TRITON_CAPABILITY:
            return hidden, _up(inner, 64)
        return _up(hidden, 256), _up(inner, 128)
    if storage and storage.name == "fp8-block":
        return hidden, _up(inner, storage.row_group)
    return hidden, inner


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
    )
