"""``catalog/speed/*.yaml`` -> what kernels reach on a GPU, and what holds for the engine on all of them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.catalog import yaml_files
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.speed.constants import (
    AllReduce,
    Device,
    Engine,
    Era,
    ExpertKernel,
    Grade,
    MatrixKernel,
    Percentile,
    Spread,
    Spreads,
    worst,
)

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

Entry = Mapping[str, Any]


class SpeedTables:
    """The speed constants of some catalog folders; a later folder's device or engine replaces an earlier one's."""

    def __init__(self, catalog: "Catalog") -> None:
        self._catalog = catalog
        self._read: dict[Path, Entry] = {}
        self._known: dict[GPU, Device | None] = {}

    @cached_property
    def engine(self) -> Engine:
        """What holds on all devices."""
        found: dict[str, Any] = {}
        for data in self._mentioning("engine:"):
            found.update({name: data[name] for name in ("engine", "eras", "ranges", "percentiles") if name in data})
        return _engine(found)

    def device(self, gpu: GPU) -> Device | None:
        """Return what kernels reach on a GPU: its own figures, or those of the nearest GPU of its class."""
        if gpu not in self._known:
            self._known[gpu] = self._found(gpu)
        return self._known[gpu]

    def _found(self, gpu: GPU) -> Device | None:
        if not gpu.bandwidth_bytes_per_second or not gpu.fp16_dense_flops or gpu.compute_capability is None:
            return None
        capability = ".".join(map(str, gpu.compute_capability))
        alike = {
            entry["gpu"]: entry
            for data in self._mentioning(capability)
            for entry in data.get("devices", ())
            if capability in entry["capabilities"]
        }
        own = next((entry for entry in alike.values() if gpu.name in (entry["gpu"], *entry.get("also", ()))), None)
        if own is not None:
            return _device(own, gpu, own["grade"])
        nearest = min(alike.values(), key=lambda entry: self._distance(entry, gpu), default=None)
        return _device(nearest, gpu, worst("class", nearest["grade"])) if nearest else None

    def _mentioning(self, text: str) -> Iterator[Entry]:
        """Yield the files that hold a text: most commands need one device of many."""
        for path in yaml_files.in_folders(self._catalog.folders, "speed"):
            if path in self._read or text in path.read_text(encoding="utf-8", errors="replace"):
                if path not in self._read:
                    self._read[path] = self._catalog.read(path, "speed")
                yield self._read[path]

    def _distance(self, entry: Entry, gpu: GPU) -> float:
        other = self._catalog.gpu(entry["gpu"]).bandwidth_bytes_per_second or 1
        return abs(math.log(other / (gpu.bandwidth_bytes_per_second or 1)))


def _device(entry: Entry, gpu: GPU, grade: Grade) -> Device:
    attention = entry["attention"]
    return Device(
        grade=grade,
        bandwidth_bytes_per_second=float(gpu.bandwidth_bytes_per_second or 0),
        flops_per_second=float(gpu.fp16_dense_flops or 0),
        matrices={
            name: MatrixKernel(
                bandwidth_share=own["bandwidth"],
                flops_share=own["flops"],
                launch_us=own["launch_us"],
                grade=own["grade"],
            )
            for name, own in entry["matrices"].items()
        },
        experts={
            name: ExpertKernel(
                bandwidth_share=own["bandwidth"],
                flops_share=own["flops"],
                launch_us=own["launch_us"],
                expert_us=own["expert_us"],
                padding_tokens=own["padding_tokens"],
                grade=own["grade"],
            )
            for name, own in entry["experts"].items()
        },
        cache_bandwidth_share=attention["cache_bandwidth"],
        latent_bandwidth_share=attention["latent_bandwidth"],
        attention_launch_us=attention["launch_us"],
        attention_flops_share=attention["flops"],
        attention_half_tokens=attention["half_tokens"],
        all_reduce={
            own["gpus"]: AllReduce(latency_us=own["latency_us"], bytes_per_second=own["gb_s"] * 1e9)
            for own in entry.get("all_reduce", ())
        },
        largest_batch=entry["largest_batch"],
    )


def _engine(data: Entry) -> Engine:
    values = {name: float(own["value"]) for name, own in data["engine"].items()}
    return Engine(
        eras=tuple(_eras(data["eras"])),
        spreads=tuple(_spreads(data["ranges"])),
        percentiles=tuple(
            Percentile(percentile=own["percentile"], tpot=own["tpot"], ttft=own["ttft"]) for own in data["percentiles"]
        ),
        **values,
    )


def _eras(entries: Iterable[Entry]) -> Iterable[Era]:
    return (Era(since=parse_version(own["since"]), host_factor=own["host_factor"]) for own in entries)


def _spreads(entries: Iterable[Entry]) -> Iterable[Spreads]:
    for own in entries:
        yield Spreads(
            prefill_share=own["prefill_share"],
            grade=own["grade"],
            tpot=Spread(low=own["tpot"][0], high=own["tpot"][1]),
            ttft=Spread(low=own["ttft"][0], high=own["ttft"][1]),
            throughput=Spread(low=own["throughput"][0], high=own["throughput"][1]),
        )
