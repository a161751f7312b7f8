"""The shape of every catalog file, one pydantic model per map; used to check files, not to read the shipped ones."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

from planner.catalog.fault_schema import FaultFile
from planner.catalog.speed_schema import SpeedFile

_Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
_Local = Annotated[str, StringConstraints(pattern=r"^[~./]")]
_Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
_Text = Annotated[str, StringConstraints(min_length=1)]
_Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Config = dict[str, Any]
_Flags = dict[str, int | float | str | bool | dict[str, int] | list[int] | list[str]]
_Sources = Annotated[list[_Text], Field(min_length=1)]


class _Map(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class VariantMap(_Map):
    """A published checkpoint of a model."""

    repository: _Repository | _Local
    aliases: list[_Repository] = []
    scheme: _Text
    quantization_config: _Config | None = None
    config: _Config = {}
    revision: str = ""
    revision_date: _Date | None = None
    released: _Date | None = None
    engine_minimum: str = ""
    published_gb: _Positive | None = None
    published_source: str = ""
    assumed: list[_Text] = []
    conflicts: list[_Text] = []
    source: _Sources


class ModelMap(_Map):
    """A base model and its checkpoints."""

    repository: _Repository | _Local
    aliases: list[_Repository] = []
    licence: _Text
    non_commercial: bool = False
    gated: bool = False
    pretrained: bool = False
    released: _Date | None = None
    tasks: Annotated[list[_Text], Field(min_length=1)]
    parameters: _Count
    parameters_grade: Literal["verified", "computed", "reported", "rounded"]
    active_parameters: _Count | None = None
    mixture: bool = False
    context_limit: _Count | None = None
    engine_minimum: str = ""
    tool_parser: str = ""
    reasoning_parser: str = ""
    hf_overrides: _Config | None = None
    base: str = ""
    scheme: str = ""
    quantization_config: _Config | None = None
    revision: str = ""
    revision_date: _Date | None = None
    published_gb: _Positive | None = None
    published_source: str = ""
    cache_refusals: dict[str, _Text] = {}
    assumed: list[_Text] = []
    conflicts: list[_Text] = []
    note: str = ""
    source: _Sources
    config: _Config
    variants: list[VariantMap] = []


class FamilyFile(_Map):
    """catalog/models/<family>.yaml."""

    family: _Text
    sources: dict[str, _Text] = {}
    models: list[ModelMap]


class SchemeMap(_Map):
    """What checkpoints of one quantization scheme have in their config.json."""

    scheme: _Text
    class_: str = Field(default="", alias="class")
    quantization_config: _Config | None = None
    config: _Config = {}
    source: str = ""


class SchemesFile(_Map):
    """catalog/schemes.yaml."""

    schemes: dict[str, SchemeMap]


class PublisherMap(_Map):
    """One publisher of quantized checkpoints, and why people trust it."""

    name: _Text
    why: _Text


class PublishersFile(_Map):
    """catalog/publishers.yaml."""

    publishers: list[PublisherMap]


class MemoryMap(_Map):
    """A device's memory: as sold, as the driver and as torch report it."""

    marketing_gb: _Count
    driver_mib: _Count | None = None
    torch_mib: Annotated[list[_Count], Field(min_length=1)]
    assumed: str = ""
    system_gib: _Positive | None = None
    system_source: str = ""


class DenseMap(_Map):
    """Dense rates; those in ``derived`` come from clocks and core counts."""

    fp16_tflops: _Positive | None = None
    fp8_tflops: _Positive | None = None
    int8_tops: _Positive | None = None
    fp4_tflops: _Positive | None = None
    derived: list[Literal["fp16_tflops", "fp8_tflops", "int8_tops", "fp4_tflops"]] = []


class MigMap(_Map):
    """One MIG profile of a device."""

    profile: Annotated[str, StringConstraints(pattern=r"^\d+g\.\d+gb$")]
    instances: _Count
    memory_gib: _Positive
    assumed: str = ""


class GPUMap(_Map):
    """One device."""

    name: _Text
    product: _Text
    aliases: list[_Text] = []
    generation: _Text
    compute_capability: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")] | None = None
    memory: MemoryMap
    bandwidth_gb_s: _Positive | None = None
    dense: DenseMap = DenseMap()
    interconnect: _Text
    integrated: bool = False
    tdp_w: _Count | None = None
    released: _Date | None = None
    refusal: str = ""
    mig: list[MigMap] = []
    note: str = ""
    source: _Sources


class GPUFile(_Map):
    """catalog/gpus/<vendor>.yaml."""

    vendor: _Text
    sources: dict[str, _Text] = {}
    gpus: list[GPUMap]


class ProviderMap(_Map):
    """A provider; nobody sells at the prices of one that is a ``reference``."""

    reference: bool = False


class InstanceMap(_Map):
    """One instance type of a provider."""

    provider: _Text
    instance: _Text
    gpu: _Text
    gpus: _Count
    usd_per_hour: _Positive
    market: Literal["on-demand", "spot", "reserved"] = "on-demand"
    region: str = ""
    date: _Date | None = None
    host_memory_gib: _Positive | None = None
    vcpus: _Count | None = None
    source: _Text


class StartMap(_Map):
    """One start-up of the user's own, as its log says."""

    gpu: _Text
    engine_version: _Text
    model: _Text
    source: _Text
    flags: _Flags = {}
    compiled: Literal["", "cold", "warm", "eager"] = ""
    kv_cache_gib: float | None = None
    kv_cache_tokens: _Count | None = None
    weights_gib: _Positive | None = None
    activation_gib: float | None = None
    cuda_graph_gib: float | None = None


class LoadTestMap(_Map):
    """One load test of a server of the user's own, as its result says."""

    gpu: _Text
    engine_version: _Text
    model: _Text
    source: _Text
    flags: _Flags = {}
    input_tokens: _Count
    output_tokens: _Count
    concurrency: _Count | None = None
    requests_per_second: _Positive | None = None
    tpot_ms: _Positive
    ttft_ms: _Positive
    output_tokens_per_s: _Positive


class MeasuredFile(_Map):
    """catalog/measured/*.yaml."""

    starts: list[StartMap] = []
    load_tests: list[LoadTestMap] = []


class PriceFile(_Map):
    """catalog/prices/*.yaml."""

    providers: dict[str, ProviderMap]
    sources: dict[str, _Text] = {}
    instances: list[InstanceMap]


class ScaleMap(_Map):
    """One benchmark run by one harness."""

    name: _Text
    limits: _Text
    questions: int | None = None


class TaskMap(_Map):
    """The scales a task is judged on."""

    scales: list[_Text]


class DefaultMap(_Map):
    """What a scheme class keeps by default."""

    class_: _Text = Field(alias="class")
    kind: Literal["short", "reasoning", "mid", "long"]
    above: float = 0
    below: float | None = None
    mixture: bool | None = None
    median: _Percent
    floor: _Percent
    evidence: _Text


class ScoreMap(_Map):
    """Scores of one base model from one source."""

    model: _Repository
    mode: Literal["", "thinking", "plain"] = ""
    source: _Text
    scores: dict[str, _Percent]


_Row = Annotated[tuple[_Text, _Percent, _Percent], Strict(False)]
_Benchmarks = dict[str, _Row]


class MeasuredMap(_Map):
    """Benchmarks of one checkpoint beside its base."""

    checkpoint: _Repository
    source: _Text
    benchmarks: _Benchmarks


class TransferredMap(_Map):
    """Benchmarks of a quantization that was not published as a checkpoint."""

    model: _Repository
    class_: _Text = Field(alias="class")
    source: _Text
    benchmarks: _Benchmarks


class AccuracyFile(_Map):
    """catalog/accuracy/*.yaml; each file has some of the parts."""

    sources: dict[str, _Text] = {}
    scales: dict[str, ScaleMap] = {}
    tasks: dict[str, TaskMap] = {}
    defaults: list[DefaultMap] = []
    scores: list[ScoreMap] = []
    measured: list[MeasuredMap] = []
    transferred: list[TransferredMap] = []


FILES: dict[str, type[BaseModel]] = {
    "models": FamilyFile,
    "gpus": GPUFile,
    "prices": PriceFile,
    "measured": MeasuredFile,
    "accuracy": AccuracyFile,
    "schemes": SchemesFile,
    "publishers": PublishersFile,
    "speed": SpeedFile,
    "faults": FaultFile,
}
"""The shape of the files of each room."""
