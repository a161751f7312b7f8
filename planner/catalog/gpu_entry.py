"""One entry of catalog/gpus/*.yaml -> GPU, and one GPU per MIG profile; catalog/prices/*.yaml -> CloudPrice."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from planner.facts.gpu import GPU, CloudPrice
from planner.units import GIB, MIB

Entry = Mapping[str, Any]


def gpus_in(data: Entry) -> Iterator[GPU]:
    """Yield the devices of one vendor file, each followed by its MIG instances."""
    named = data.get("sources", {})
    for entry in data["gpus"]:
        whole = _device(entry, data["vendor"], named)
        yield whole
        for profile in entry.get("mig", ()):
            yield _instance(whole, profile)


def prices_in(data: Entry) -> Iterator[CloudPrice]:
    """Yield the prices of one file."""
    named = data.get("sources", {})
    for row in data["instances"]:
        yield CloudPrice(
            provider=row["provider"],
            instance=row["instance"],
            gpu=row["gpu"],
            gpu_count=row["gpus"],
            microdollars_per_hour=round(row["usd_per_hour"] * 1_000_000),
            market=row.get("market", "on-demand"),
            region=row.get("region", ""),
            date=row.get("date", ""),
            host_memory_bytes=round(row.get("host_memory_gib", 0) * GIB),
            reference=data["providers"][row["provider"]].get("reference", False),
            source=named.get(row["source"], row["source"]),
        )


def _device(entry: Entry, vendor: str, named: Mapping[str, str]) -> GPU:
    memory, dense = entry["memory"], entry.get("dense", {})
    return GPU(
        name=entry["name"],
        product=entry["product"],
        aliases=tuple(entry.get("aliases", ())),
        vendor=vendor,
        generation=entry["generation"],
        compute_capability=_capability(entry.get("compute_capability")),
        memory_bytes=min(memory["torch_mib"]) * MIB,
        driver_memory_bytes=memory["driver_mib"] * MIB if "driver_mib" in memory else None,
        bandwidth_bytes_per_second=_scaled(entry.get("bandwidth_gb_s"), 10**9),
        interconnect=entry["interconnect"],
        integrated=entry.get("integrated", False),
        refusal=entry.get("refusal", ""),
        sources=tuple(named.get(source, source) for source in entry["source"]),
        memory_assumed=memory.get("assumed", ""),
        system_memory_bytes=math.ceil(memory.get("system_gib", 0) * GIB),
        system_memory_source=memory.get("system_source", ""),
        memory_spread_bytes=(max(memory["torch_mib"]) - min(memory["torch_mib"])) * MIB,
        fp16_dense_flops=_scaled(dense.get("fp16_tflops"), 10**12),
        fp8_dense_flops=_scaled(dense.get("fp8_tflops"), 10**12),
        int8_dense_ops=_scaled(dense.get("int8_tops"), 10**12),
        fp4_dense_flops=_scaled(dense.get("fp4_tflops"), 10**12),
        derived_rates=tuple(dense.get("derived", ())),
        board_watts=entry.get("tdp_w"),
        released=entry.get("released", ""),
        note=entry.get("note", ""),
    )


def _instance(whole: GPU, profile: Entry) -> GPU:
    """A MIG instance: NVML and torch print the card's product name followed by the profile."""
    return GPU(
        name=f"{whole.name} MIG {profile['profile']}",
        product=f"{whole.product} MIG {profile['profile']}",
        aliases=(),
        vendor=whole.vendor,
        generation=whole.generation,
        compute_capability=whole.compute_capability,
        memory_bytes=int(profile["memory_gib"] * GIB),
        driver_memory_bytes=None,
        bandwidth_bytes_per_second=None,
        # NVIDIA disables peer-to-peer access for MIG instances.
        interconnect="none",
        refusal=whole.refusal,
        sources=whole.sources,
        memory_assumed=profile.get("assumed", ""),
        parent=whole.name,
        instances=profile["instances"],
    )


def _capability(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def _scaled(value: float | None, factor: int) -> int | None:
    return None if value is None else round(value * factor)
