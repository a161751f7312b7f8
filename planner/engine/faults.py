"""Known faults: what is known to go wrong with a server on an engine version and a GPU, from known-faults.yaml.

``catalog/engines/known-faults.yaml`` holds them with sources; docs/known-faults.md lists them. A fault has a range of
versions and predicates over the GPU, the model and the settings; a predicate that is absent holds for everything.
"""

import functools
import operator
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from planner.architecture import Architecture
from planner.engine.data_file import read_data_file
from planner.engine.flags import ServeFlags
from planner.engine.profile import linked
from planner.engine.versions import parse_version
from planner.errors import InvalidConfig
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.resources import data_folder

if TYPE_CHECKING:
    from packaging.version import Version

Effect = Literal["start-up error", "crash under load", "wrong output", "memory leak", "slow"]

_FILE = Path("engines", "known-faults.yaml")
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_CLAUSE = re.compile(r"(==|!=|>=|<=|>|<)(\d+)\.(\d+)\.(\d+)(?:rc(\d+))?")
_COMPARED = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NO_CANDIDATE = 1 << 31
"""The number of a release itself, which comes after all its candidates."""

_SERIOUS = ("start-up error", "crash under load", "wrong output")


class Case(Struct, frozen=True, kw_only=True):
    """A server as the predicates see it; ``nodes`` is how many machines it is on.

    ``asked`` are the variables (``NAME=value``) and further options that its role asks for.
    """

    version: str
    gpu: GPU
    architecture: Architecture
    quantization: Quantization
    flags: ServeFlags
    nodes: int = 1
    asked: tuple[str, ...] = ()


class GPUs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which GPUs: of a compute capability (``12``, ``8.9``), a product named so, or linked by NVLink or not."""

    capability: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    linked: bool | None = None

    def hold(self, gpu: GPU, ranks: int) -> bool:
        """Whether a server on so many GPUs is on such ones; of an unknown device nothing is known."""
        major, minor = gpu.compute_capability or (0, 0)
        return (
            (not self.capability or str(major) in self.capability or f"{major}.{minor}" in self.capability)
            and (not self.names or any(name.lower() in gpu.product.lower() for name in self.names))
            and (self.linked is None or self.linked == linked(gpu, ranks))
        )


class Models(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models: by class name (shell patterns), kinds of layers, and formats of stored weights."""

    architectures: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    state: bool | None = None
    mixture: bool | None = None
    latent: bool | None = None
    windows: bool | None = None

    def hold(self, model: Architecture, quantization: Quantization) -> bool:
        """Whether a server has such a model."""
        return (
            (not self.architectures or any(fnmatchcase(model.name, pattern) for pattern in self.architectures))
            and (not self.formats or not set(self.formats).isdisjoint(_formats(quantization)))
            and (self.state is None or self.state == model.has_state)
            and (self.mixture is None or self.mixture == (model.mixture is not None))
            and (self.latent is None or self.latent == model.is_latent)
            and (self.windows is None or self.windows == _has_windows(model))
        )


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With which settings; ``kv_cache`` are patterns for its dtype, ``open_kv_cache`` says its size is not given.

    ``adapters`` says that some are kept, ``drafts`` by which methods tokens are drafted ahead. ``unless`` are variables
    and options that together keep the fault away.
    """

    kv_cache: tuple[str, ...] = ()
    tensor_parallel: tuple[int, ...] = ()
    graphs: bool | None = None
    open_kv_cache: bool | None = None
    prefix_caching: bool | None = None
    adapters: bool | None = None
    drafts: tuple[str, ...] = ()
    several_nodes: bool | None = None
    unless: tuple[str, ...] = ()
    context_at_least: int = 0
    sequences_above: int = 0
    utilization_at_least: float = 0

    def hold(self, case: Case) -> bool:
        """Whether the server has such settings. Prefix caching that is left to the engine counts as on."""
        flags = case.flags
        automatic = flags.kv_cache_dtype == "auto"
        cache = (case.quantization.kv_cache_dtype or "auto") if automatic else flags.kv_cache_dtype
        return (
            (not self.kv_cache or any(fnmatchcase(cache, pattern) for pattern in self.kv_cache))
            and (not self.tensor_parallel or flags.tensor_parallel_size in self.tensor_parallel)
            and self.graphs in (None, not flags.enforce_eager)
            and self.open_kv_cache in (None, flags.kv_cache_memory_bytes is None)
            and self.prefix_caching in (None, flags.prefix_caching is not False)
            and self.adapters in (None, flags.max_loras > 0)
            and (not self.drafts or (flags.speculative is not None and flags.speculative.method in self.drafts))
            and self.several_nodes in (None, case.nodes > 1)
            and not (self.unless and set(self.unless) <= set(case.asked))
            and flags.max_model_len >= self.context_at_least
            and flags.max_num_seqs > self.sequences_above
            and flags.gpu_memory_utilization >= self.utilization_at_least
        )


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault: on which ``versions`` (PEP 440), what happens, what helps, and who says so.

    ``grade`` is ``confirmed`` when ``checked`` names the code that fails in the sources of those versions. A
    ``condition`` is something that no plan can see, such as how the engine was installed.
    """

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
    gpu: GPUs = GPUs()
    model: Models = Models()
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        """Refuse what was not found where it is said to be.

        Raises:
            ValueError: it is confirmed, and does not say by what.
        """
        if self.grade == "confirmed" and not self.checked:
            raise ValueError("a confirmed fault says under checked where it was found")

    @property
    def serious(self) -> bool:
        """Whether a plan avoids it: the server fails or answers wrongly, as far as a plan can see and reports go."""
        return self.effect in _SERIOUS and self.confidence != "low" and not self.condition

    @property
    def refuses(self) -> bool:
        """Whether the engine does not start, confirmed in its sources and whatever the machine."""
        return self.serious and self.effect == "start-up error" and self.grade == "confirmed"

    @property
    def account(self) -> str:
        """What happens, how certain it is, and what helps, in one line."""
        when = f" {self.condition}" if self.condition else ""
        grade = self.grade if self.grade == "confirmed" else f"reported, {self.confidence} confidence"
        return f"{self.id}: {self.effect}{when}: {self.symptom} ({grade}; {self.source}); what helps: {self.workaround}"


def known_faults(case: Case, directory: Path | None = None) -> tuple[Fault, ...]:
    """Return the faults that a server meets, in the order of the file.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    found = possible_faults(case.version, case.gpu, case.architecture, case.quantization, case.flags.ranks, directory)
    return tuple(fault for fault in found if fault.settings.hold(case))


def possible_faults(
    version: str,
    gpu: GPU,
    architecture: Architecture,
    quantization: Quantization,
    ranks: int,
    directory: Path | None = None,
) -> tuple[Fault, ...]:
    """Return the faults that a server on so many GPUs meets with one setting or another, in the order of the file.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    faults = _at(version, directory or data_folder("catalog"))
    return tuple(
        fault for fault in faults if fault.gpu.hold(gpu, ranks) and fault.model.hold(architecture, quantization)
    )


def all_faults(directory: Path | None = None) -> tuple[Fault, ...]:
    """Return every fault of the file, in its order.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _read(directory or data_folder("catalog"))


@functools.lru_cache(maxsize=256)
def _at(version: str, directory: Path) -> tuple[Fault, ...]:
    """Return the faults of an engine version."""
    try:
        return tuple(fault for fault in _read(directory) if within(version, fault.versions))
    except ValueError as error:
        raise _unreadable(directory, error) from error


@functools.cache
def _read(directory: Path) -> tuple[Fault, ...]:
    stated = read_data_file(directory / _FILE, frozenset({"faults"}))["faults"]
    try:
        return tuple(fault(entry) for entry in stated)
    except ValueError as error:
        raise _unreadable(directory, error) from error


def _unreadable(directory: Path, error: Exception) -> InvalidConfig:
    return InvalidConfig(str(directory / _FILE), "faults", f"cannot be read, see `planner catalog check`: {error}")


def within(version: str, versions: str) -> bool:
    """Whether an engine version is in a range as PEP 440 has it, pre-releases too.

    A release is compared by its numbers, which is the same and saves loading ``packaging`` for it.

    Raises:
        ValueError: ``versions`` is no such range.
    """
    clauses = [_CLAUSE.fullmatch(one) for one in versions.split(",")]
    if _RELEASE.fullmatch(version) and None not in clauses:
        wanted = (*parse_version(version), _NO_CANDIDATE)
        return all(_COMPARED[one[1]](wanted, _numbers(one)) for one in clauses if one)
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(versions).contains(_release(version), prereleases=True)


def _numbers(clause: re.Match[str]) -> tuple[int, int, int, int]:
    """Return the numbers of a release, the last that of its candidate."""
    return int(clause[2]), int(clause[3]), int(clause[4]), int(clause[5] or _NO_CANDIDATE)


def fault(entry: Mapping[str, Any]) -> Fault:
    """Return a fault as an entry of the file states it.

    Raises:
        ValueError: it is none.
    """
    return msgspec.convert(entry, Fault)


def _release(version: str) -> "Version":
    """Return a version as PEP 440 reads it; of one that it does not know, the three numbers."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version)
    except InvalidVersion:
        return Version(".".join(str(part) for part in parse_version(version)))


def _has_windows(architecture: Architecture) -> bool:
    return any(layer.attention and layer.attention.window for layer in architecture.layers)


def _formats(quantization: Quantization) -> Iterator[str]:
    """Yield what a checkpoint's formats are called: that of the whole, and those of its matrices."""
    yield quantization.scheme
    for storage in (quantization.linear, quantization.experts):
        if storage:
            yield storage.name
