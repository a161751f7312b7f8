"""The shape of the catalog's file of known faults; `planner.engine.faults` says what each key means."""

from typing import Literal

from packaging.specifiers import SpecifierSet
from pydantic import BaseModel, ConfigDict, model_validator

from planner.engine.faults import Effect, fault


class _Map(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GPUsMap(_Map):
    """On which GPUs."""

    capability: list[str] = []
    names: list[str] = []
    linked: bool | None = None


class ModelsMap(_Map):
    """With which models."""

    architectures: list[str] = []
    formats: list[str] = []
    state: bool | None = None
    mixture: bool | None = None
    latent: bool | None = None
    windows: bool | None = None


class SettingsMap(_Map):
    """With which settings."""

    kv_cache: list[str] = []
    tensor_parallel: list[int] = []
    graphs: bool | None = None
    open_kv_cache: bool | None = None
    prefix_caching: bool | None = None
    adapters: bool | None = None
    drafts: list[str] = []
    several_nodes: bool | None = None
    unless: list[str] = []
    context_at_least: int = 0
    sequences_above: int = 0
    utilization_at_least: float = 0


class FaultMap(_Map):
    """One fault."""

    id: str
    versions: str
    effect: Effect
    symptom: str
    workaround: str
    grade: Literal["confirmed", "reported"]
    confidence: Literal["high", "medium", "low"]
    source: str
    checked: str = ""
    condition: str = ""
    gpu: GPUsMap = GPUsMap()
    model: ModelsMap = ModelsMap()
    settings: SettingsMap = SettingsMap()

    @model_validator(mode="after")
    def _fits(self) -> "FaultMap":
        """Refuse versions that are no range, and what no fault can be made of."""
        SpecifierSet(self.versions)
        fault(self.model_dump())
        return self


class FaultFile(_Map):
    """catalog/engines/known-faults.yaml."""

    engine: Literal["vllm"]
    faults: list[FaultMap]
