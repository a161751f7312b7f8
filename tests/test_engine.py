"""Engine profiles: version ranges, defaults by device, data that is wrong."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from planner.engine.flags import batch_defaults
from planner.engine.profile import known_versions, load_profile
from planner.engine.versions import parse_version
from planner.errors import InvalidConfig, UnknownName
from planner.facts.gpu import GPU
from planner.resources import data_folder
from planner.units import GIB


def gpu(product: str, gib: float, capability: tuple[int, int] = (8, 0)) -> GPU:
    return GPU(
        name=product, product=product, aliases=(), vendor="nvidia", generation="", compute_capability=capability,
        memory_bytes=int(gib * GIB), driver_memory_bytes=int(gib * GIB), bandwidth_bytes_per_second=None,
        interconnect="NVLink",
    )  # fmt: skip


def test_newest_known_version_is_the_default() -> None:
    assert load_profile().version == known_versions()[-1]


@pytest.mark.parametrize(
    ("text", "version"),
    [("0.19.0", (0, 19, 0)), ("v0.8", (0, 8, 0)), ("0.22.1rc1.dev16+gabc", (0, 22, 1)), ("0.8.5.post1", (0, 8, 5))],
)
def test_versions_are_read_as_they_are_logged(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("version", ["latest", "0.5.4"])
def test_versions_without_a_profile_are_refused(version: str) -> None:
    with pytest.raises(UnknownName, match="engine version"):
        load_profile(version)


def test_a_version_nobody_read_takes_its_neighbours_profile_and_says_so() -> None:
    newer, known = load_profile("0.99.0"), load_profile()

    assert not newer.exact
    assert known.exact
    assert newer.gpu_memory_utilization == known.gpu_memory_utilization


def test_every_read_version_has_a_profile() -> None:
    assert all(load_profile(version).exact for version in known_versions())


@pytest.mark.parametrize(
    ("version", "utilization"), [("0.8.5", 0.9), ("0.19.0", 0.9), ("0.20.2", 0.92), ("0.33.0", 0.92)]
)
def test_default_utilization_by_version(version: str, utilization: float) -> None:
    assert load_profile(version).gpu_memory_utilization == utilization


@pytest.mark.parametrize(
    ("version", "product", "gib", "limits"),
    [
        ("0.33.0", "NVIDIA H100 80GB HBM3", 79.65, (1024, 8192)),
        ("0.33.0", "NVIDIA A100-SXM4-80GB", 80.0, (256, 2048)),
        ("0.33.0", "NVIDIA B200", 179.0, (1024, 16384)),
        ("0.27.1", "NVIDIA B200", 179.0, (1024, 8192)),
        ("0.33.0", "NVIDIA GB10", 119.0, (256, 2048)),
        ("0.27.1", "NVIDIA GB10", 119.0, (256, 2048)),
        ("0.8.5", "NVIDIA A100-SXM4-80GB", 80.0, (1024, 8192)),
        ("0.8.3", "NVIDIA GeForce RTX 4090", 24.0, (1024, 2048)),
        ("0.8.4", "NVIDIA GeForce RTX 4090", 24.0, (256, 2048)),
    ],
)
def test_default_limits_by_device_and_version(version: str, product: str, gib: float, limits: tuple[int, int]) -> None:
    assert batch_defaults(load_profile(version), gpu(product, gib)) == limits


def test_devices_are_found_by_name_before_capability() -> None:
    profile = load_profile()

    assert profile.device(gpu("NVIDIA H100 80GB HBM3", 79, (9, 0))).multiprocessors == 132
    assert profile.device(gpu("NVIDIA Something New", 79, (8, 6))).names == ()


@pytest.mark.parametrize(
    ("interconnect", "ranks", "linked"),
    [
        ("NVLink 900 GB/s", 8, True),
        ("PCIe 5.0 x16 + NVLink bridge (2 GPUs)", 2, True),
        ("PCIe 5.0 x16 + NVLink bridge (2 GPUs)", 4, False),
        ("PCIe 5.0 x16 + NVLink bridge (4 GPUs)", 4, True),
        ("PCIe 4.0 x16", 2, False),
    ],
)
def test_a_bridge_links_only_as_many_gpus_as_it_joins(interconnect: str, ranks: int, linked: bool) -> None:
    card = replace(gpu("NVIDIA H100 NVL", 94, (9, 0)), interconnect=interconnect)
    talk = load_profile("0.8.3").communicator
    first, peer = (talk.linked_bytes, talk.linked_peer_bytes) if linked else (talk.bus_bytes, talk.bus_peer_bytes)

    assert talk.bytes_for(card, ranks) == first + peer * (ranks - 1)


def folder(tmp_path: Path, old: str, new: str) -> Path:
    text = (data_folder("catalog") / "engines" / "vllm.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "vllm.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path


def test_a_value_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="every value needs a source"):
        load_profile(None, folder(tmp_path, "source: ", "because: "))


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="block_size"):
        load_profile(None, folder(tmp_path, "  block_size:", "  blocksize:"))
