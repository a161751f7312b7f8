"""EngineProfile: what one version of the serving engine costs and assumes, read from ``catalog/engines/vllm.yaml``.

The data file lists every setting with the versions from which each value holds and where it was read or measured.
Adding an engine version is adding data: see docs/engine-profiles.md.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from planner.engine.data_file import read_data_file
from planner.engine.versions import Version, era_at, parse_version
from planner.errors import InvalidConfig, UnknownName
from planner.facts.gpu import GPU
from planner.resources import data_folder
from planner.units import GIB, MIB

_NODE_GPUS = 8
_PARTS = frozenset({"engine", "versions_read", "settings", "unknown_architectures", "dropped_architectures", "devices"})


class BatchDefaults(Struct, frozen=True, kw_only=True):
    """Limits ``vllm serve`` chooses on devices with at least ``min_memory_gib`` of driver memory.

    Devices whose lower-cased name contains none of ``names`` (if any), or one of ``except_names``, take the next entry.
    """

    min_memory_gib: int
    names: tuple[str, ...]
    except_names: tuple[str, ...]
    max_num_seqs: int
    max_num_batched_tokens: int


class Communicator(Struct, frozen=True, kw_only=True):
    """What talking to the other GPUs of a server takes, by how they are connected.

    ``linked`` GPUs have NVLink, the others share a bus. Each other GPU of the same node adds the ``peer`` figure.
    """

    linked_bytes: int
    linked_peer_bytes: int
    bus_bytes: int
    bus_peer_bytes: int

    def bytes_for(self, gpu: GPU, ranks: int) -> int:
        """Return the bytes per GPU when ``ranks`` GPUs work together."""
        if ranks == 1 or not linked(gpu, ranks):
            return self.apart_bytes(ranks)
        return self.linked_bytes + self.linked_peer_bytes * (min(ranks, _NODE_GPUS) - 1)

    def apart_bytes(self, ranks: int) -> int:
        """Return the bytes per GPU when ``ranks`` GPUs work together that share a bus."""
        return self.bus_bytes + self.bus_peer_bytes * (min(ranks, _NODE_GPUS) - 1) if ranks > 1 else 0


def linked(gpu: GPU, ranks: int) -> bool:
    """Whether so many GPUs reach each other over NVLink; a bridge joins but a few."""
    bridge = re.search(r"NVLink bridge \((\d+) GPUs\)", gpu.interconnect)
    return ranks <= int(bridge[1]) if bridge else "NVLink" in gpu.interconnect


class Device(Struct, frozen=True, kw_only=True):
    """What a process costs on one type of device, and the sizes that engine buffers follow.

    ``context_bytes`` is in use on an otherwise empty device when the engine takes its first snapshot;
    ``graph_base_bytes`` is what the first CUDA graph takes, whatever the model; ``extra_bytes`` what is outside PyTorch
    beyond the profile's figure for all devices; ``spread_bytes`` how far estimates were off on such devices. Where
    memory is shared with the host, ``host_bytes`` is what the host may take while the engine measures, which counts.
    """

    names: tuple[str, ...]
    capability: int
    multiprocessors: int
    l2_bytes: int
    context_bytes: int
    graph_base_bytes: int
    extra_bytes: int
    spread_bytes: int
    host_bytes: int


class EngineProfile(Struct, frozen=True, kw_only=True):
    """The constants of one engine version; docs/engine-profiles.md explains each and the data file holds sources.

    ``exact`` is false when neither the version's minor series was read nor two around it that agree, so that the
    profile is a neighbour's and estimates widen. All ``*_bytes`` are bytes per GPU.
    """

    name: str
    version: str
    exact: bool
    devices: tuple[Device, ...]
    unknown_architectures: tuple[str, ...]
    dropped_architectures: Mapping[str, str]

    # Flags and defaults
    gpu_memory_utilization: float
    batch_defaults: tuple[BatchDefaults, ...]
    block_size: int
    whole_prompt_batches: bool
    seqs_within_batch: bool
    batch_within_requests: bool
    whole_item_batches: bool
    prefix_classes: tuple[str, ...]
    has_kv_cache_memory_bytes: bool
    has_language_model_only: bool
    kv_cache_dtypes: tuple[str, ...]
    least_capability: int
    method_capability: Mapping[str, int]
    method_ceiling: Mapping[str, int]
    formats_since: Mapping[str, str]
    online_quantizations: tuple[str, ...]
    activation_order: bool

    # Loading weights (fields of planner.tensors.weight_rules.WeightRules)
    load_split_limit_mib: int
    multimodal_rope_factor: int
    latent_rope_single_precision: bool
    transformers_classes: tuple[str, ...]
    mxfp4_hopper: Literal["marlin", "triton-two-scales", "triton"]
    block_fp8_marlin_below: int

    # The budget: what gpu_memory_utilization covers
    runner: Literal["v0", "v1"]
    older_core: tuple[str, ...]
    budget: Literal["device", "instance", "consumed"]
    communicator_in_budget: bool
    free_memory_check: bool
    graphs_profiled: bool
    graphs_in_budget: bool
    second_runner: Literal["never", "listed-plain", "listed", "dense", "always"]
    second_runner_architectures: tuple[str, ...]
    second_runner_graphs_in_budget: bool

    # The activation peak
    sampler: Literal["sort", "triton", "flashinfer"]
    flashinfer_if_installed: bool
    second_sampler: Literal["none", "float-copy", "in-place", "warm-up"]
    encoder_outputs_padded: bool
    encoder_chunks: bool
    towers_skipped: bool
    moe_workspace_persistent: bool
    moe_chunk_tokens: int
    forward_hidden_vectors: int
    latent_chunk_tokens: int
    compile_flushes_l2: bool
    compile_copies_embedding: bool

    # Outside PyTorch
    blas_handles_in_budget: bool
    non_torch_bytes: int
    parallel_non_torch_bytes: int
    graph_profile_residue_bytes: int
    odd_vocabulary_bytes: int
    communicator: Communicator
    communicator_context: Communicator
    all_reduce_fusion_bytes: int

    # CUDA graphs
    full_graphs: bool
    capture_coarse_above: int
    capture_max_size: int
    capture_max_size_sm100: int
    capture_limit_by_seqs: bool
    capture_with_lora_apart: bool
    flashinfer_workspace_bytes_per_value: int
    graph_layer_bytes: int
    graph_mixture_layer_bytes: int
    graph_triton_layer_bytes: int

    # The KV cache (fields of planner.tensors.kv_rules.KVRules)
    hybrid_groups: bool
    in_flight_batches: int
    batches_grow_with_stages: bool
    pad_groups_percent: int
    packed_groups: bool
    null_block_in_check: bool
    tokens_from_concurrency: bool
    state_blocks: int
    state_blocks_aligned: int
    state_blocks_checked: bool
    state_checkpoints: tuple[str, ...]
    chunked_groups: bool
    uneven_expert_blocks: bool
    whole_shared_experts: tuple[str, ...]

    # How far estimates were off (see planner.memory.uncertainty)
    spread_bytes: int
    peer_spread_bytes: int
    graph_spread_percent: int
    unknown_spread_bytes: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def device(self, gpu: GPU) -> Device:
        """Return what is known of a GPU: by product name, else by compute capability, else the widest values."""
        key = id(self.devices), gpu.product, gpu.compute_capability
        known = _devices_of.get(key)
        if known is None or known[0] is not self.devices:
            known = _devices_of[key] = self.devices, self._device(gpu)
        return known[1]

    def _device(self, gpu: GPU) -> Device:
        product = gpu.product.lower()
        major = gpu.compute_capability[0] if gpu.compute_capability else 0
        named = (device for device in self.devices if any(name in product for name in device.names))
        alike = (device for device in self.devices if not device.names and device.capability in (major, 0))
        return next(named, None) or next(alike)


_devices_of: dict[tuple[int, str, tuple[int, int] | None], tuple[tuple[Device, ...], Device]] = {}
"""What was found for a GPU in a list of devices, which is held here so that its identity stays its own."""


def load_profile(version: str | None = None, directory: Path | None = None) -> EngineProfile:
    """Return the profile of an engine version, of the newest one when ``version`` is None.

    Raises:
        UnknownName: the version is not one, or older than everything the data file covers.
        InvalidConfig: the data file lacks a setting or spells one wrong.
    """
    return _profile(version, directory or data_folder("catalog"))


def known_versions(directory: Path | None = None) -> tuple[str, ...]:
    """Return the engine versions whose sources were read, oldest first."""
    return tuple(str(version) for version in _document(directory or data_folder("catalog"))["versions_read"])


@functools.cache
def _profile(version: str | None, directory: Path) -> EngineProfile:
    document = _document(directory)
    read = [str(item) for item in document["versions_read"]]
    wanted = read[-1] if version is None else version
    key = parse_version(wanted)
    if key[:2] < parse_version(read[0])[:2]:
        raise UnknownName("engine version", wanted, (read[0], read[-1]))
    settings = _settings_at(document, key)
    return EngineProfile(
        name=str(document["engine"]),
        version=wanted.removeprefix("v"),
        exact=_exact(document, [parse_version(item) for item in read], key),
        devices=tuple(_device(entry) for entry in document["devices"]),
        unknown_architectures=_unknown_architectures(document, key),
        dropped_architectures=_dropped_architectures(document, key),
        **_typed(settings),
    )


def _unknown_architectures(document: dict[str, Any], key: Version) -> tuple[str, ...]:
    """Return the model classes that this version does not know: a newer one was read that does not list them either."""
    late = (names for last, names in document["unknown_architectures"].items() if key <= parse_version(str(last)))
    return tuple(sorted(name for names in late for name in names))


def _dropped_architectures(document: dict[str, Any], key: Version) -> Mapping[str, str]:
    """Return the model classes that left the engine before this version, with the last version that had them."""
    last_of = {str(name): str(last) for last, names in document["dropped_architectures"].items() for name in names}
    return {name: last for name, last in sorted(last_of.items()) if key[:2] > parse_version(last)[:2]}


def _device(entry: dict[str, Any]) -> Device:
    return Device(
        names=tuple(str(name) for name in entry["names"]),
        capability=entry["capability"],
        multiprocessors=entry["multiprocessors"],
        l2_bytes=entry["l2_mib"] * MIB,
        context_bytes=round(entry["context_gib"] * GIB),
        graph_base_bytes=entry["graph_base_mib"] * MIB,
        extra_bytes=entry.get("extra_mib", 0) * MIB,
        spread_bytes=entry["spread_mib"] * MIB,
        host_bytes=entry.get("host_mib", 0) * MIB,
    )


def _settings_at(document: dict[str, Any], key: Version) -> dict[str, Any]:
    return {name: _value_at(name, eras, key) for name, eras in document["settings"].items()}


def _exact(document: dict[str, Any], read: list[Version], key: Version) -> bool:
    """Whether a version of the same minor series was read, or nothing changed between those read around it."""
    if any(version[:2] == key[:2] for version in read):
        return True
    before = max((version for version in read if version < key), default=None)
    after = min((version for version in read if version > key), default=None)
    if before is None or after is None:
        return False
    return _settings_at(document, before) == _settings_at(document, after)


def _value_at(name: str, eras: list[dict[str, Any]], key: Version) -> Any:  # noqa: ANN401 - plain YAML data
    """Return the value of the era that a version is in, None where it is older than all."""
    if not all(era.get("source") for era in eras):
        raise InvalidConfig("engines/vllm.yaml", name, "every value needs a source")
    era = era_at(eras, key)
    return era["value"] if era else None


def _typed(settings: dict[str, Any]) -> dict[str, Any]:
    """Check that the settings are exactly the profile's fields and turn YAML data into their types."""
    fields = set(EngineProfile.__struct_fields__) - {
        "name",
        "version",
        "exact",
        "devices",
        "unknown_architectures",
        "dropped_architectures",
    }
    for name in sorted(fields ^ settings.keys()):
        problem = "is missing" if name in fields else "is not a setting of the profile"
        raise InvalidConfig("engines/vllm.yaml", name, problem)
    for name, value in settings.items():
        if value is None:
            raise InvalidConfig("engines/vllm.yaml", name, "has no value for the oldest version")
    typed = dict(settings)
    typed["batch_defaults"] = tuple(
        BatchDefaults(**{"names": (), "except_names": (), **entry}) for entry in settings["batch_defaults"]
    )
    for name in ("communicator", "communicator_context"):
        typed[name] = Communicator(**{key.replace("_mib", "_bytes"): mib * MIB for key, mib in settings[name].items()})
    for name in (
        "prefix_classes",
        "second_runner_architectures",
        "state_checkpoints",
        "kv_cache_dtypes",
        "transformers_classes",
        "online_quantizations",
        "older_core",
        "whole_shared_experts",
    ):
        typed[name] = tuple(settings[name])
    return typed


@functools.cache
def _document(directory: Path) -> dict[str, Any]:
    return read_data_file(directory / "engines" / "vllm.yaml", _PARTS)
