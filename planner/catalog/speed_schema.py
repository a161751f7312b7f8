"""The shape of ``catalog/speed/*.yaml``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_Text = Annotated[str, StringConstraints(min_length=1)]
_Capability = Annotated[str, StringConstraints(pattern=r"^\d+\.\d$")]
_Share = Annotated[float, Field(gt=0, strict=False)]
_Micro = Annotated[float, Field(ge=0, strict=False)]
_Factors = Annotated[list[_Share], Field(min_length=2, max_length=2)]
_Grade = Literal["measured", "class", "analogy"]
_Kernel = Literal["bf16", "fp8", "fp8-block", "int8", "weight-only-8", "int4", "mxfp4", "nvfp4"]


class _Map(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class MatrixMap(_Map):
    """What products with matrices of one storage format reach."""

    bandwidth: _Share
    flops: _Share
    launch_us: _Micro
    grade: _Grade
    source: _Text


class ExpertMap(MatrixMap):
    """What routed experts of one storage format reach."""

    expert_us: _Micro
    padding_tokens: _Micro


class AttentionMap(_Map):
    """What attention reaches."""

    cache_bandwidth: _Share
    latent_bandwidth: _Share
    launch_us: _Micro
    flops: _Share
    half_tokens: _Micro


class AllReduceMap(_Map):
    """What summing over so many GPUs costs."""

    gpus: Annotated[int, Field(gt=1)]
    latency_us: _Micro
    gb_s: _Share


class DeviceMap(_Map):
    """What kernels reach on one GPU, and on others of its class."""

    gpu: _Text
    also: list[_Text] = []
    capabilities: Annotated[list[_Capability], Field(min_length=1)]
    tables: str = ""
    grade: _Grade
    largest_batch: Annotated[int, Field(gt=0)]
    attention: AttentionMap
    all_reduce: list[AllReduceMap] = []
    matrices: dict[_Kernel, MatrixMap]
    experts: dict[_Kernel, ExpertMap]


class ValueMap(_Map):
    """A constant of the engine."""

    value: Annotated[float, Field(ge=0)]
    source: _Text


class EngineMap(_Map):
    """What holds on all devices."""

    step_us: ValueMap
    sequence_us: ValueMap
    small_us: ValueMap
    routing_share: ValueMap
    prompt_flops_share: ValueMap
    first_token_us: ValueMap
    burst_exponent: ValueMap


class EraMap(_Map):
    """What an era of the engine multiplies the host's part by."""

    since: _Text
    host_factor: _Share
    source: _Text


class RangeMap(_Map):
    """Factors of the 80 % ranges."""

    prefill_share: _Share
    grade: _Grade
    tpot: _Factors
    ttft: _Factors
    throughput: _Factors
    source: _Text


class PercentileMap(_Map):
    """How much longer so many of a hundred requests take at most than the middle one."""

    percentile: Literal[50, 90, 99]
    tpot: _Share
    ttft: _Share
    source: _Text


class SpeedFile(_Map):
    """catalog/speed/<name>.yaml."""

    sources: dict[str, _Text] = {}
    devices: list[DeviceMap] = []
    engine: EngineMap | None = None
    eras: list[EraMap] = []
    ranges: list[RangeMap] = []
    percentiles: list[PercentileMap] = []
