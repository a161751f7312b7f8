"""A measured row -> what the speed model says about it."""

import functools
from dataclasses import dataclass

from benchmarks.speed_fidelity.table import Row
from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.catalog.catalog import Catalog
from planner.catalog.stored import stored
from planner.engine.flags import default_flags
from planner.engine.profile import EngineProfile, load_profile
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.memory.core import running_core
from planner.memory.terms import Server
from planner.speed.constants import Device, Engine
from planner.speed.forecast import Forecast, Load, Served, served, under
from planner.speed.serving import Requests
from planner.speed.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A row as the model is asked about it."""

    row: Row
    server: Server
    gpu: GPU
    profile: EngineProfile
    device: Device | None
    load: Load

    def ready(self, engine: Engine) -> Served | str:
        """Return the server of the row, or why nothing is said of it."""
        return served(self.server, Site(self.gpu, self.profile, self.device, engine), self.load.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A measured row and what is said about it."""

    row: Row
    said: Forecast


@functools.cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


@functools.cache
def model(name: str) -> tuple[Architecture, Quantization]:
    """Return a checkpoint of the catalog."""
    return stored(*catalog().find(name))


@functools.cache
def _device(name: str) -> Device | None:
    return catalog().speed.device(catalog().gpu(name))


def asked(row: Row) -> Asked:
    """Return what a row started, on which GPU, with which engine and load."""
    architecture, quantization = model(row.model)
    gpu = catalog().gpu(row.gpu)
    cache = row.kv_cache_dtype or "auto"
    profile = load_profile(row.version or None)
    profile = running_core(profile, gpu, architecture, kv_cache_dtype=cache, pipeline_parallel_size=row.stages)
    flags = default_flags(
        profile,
        gpu,
        architecture,
        tensor_parallel_size=row.tensor_ranks,
        pipeline_parallel_size=row.stages,
        data_parallel_size=row.data_ranks,
        expert_parallel=row.expert_parallel,
        enforce_eager=row.eager,
        kv_cache_dtype=cache,
        max_num_seqs=row.max_num_seqs,
        max_num_batched_tokens=row.max_num_batched_tokens,
    )
    requests = Requests(input_tokens=row.input_tokens, output_tokens=row.output_tokens)
    return Asked(
        row=row,
        server=Server(architecture=architecture, quantization=quantization, flags=flags),
        gpu=gpu,
        profile=profile,
        device=_device(row.gpu),
        load=Load(requests=requests, concurrency=row.concurrency),
    )


def predict(own: Asked, engine: Engine | None = None) -> Pair:
    """Return what is said about a row, with the catalog's engine constants or others."""
    ready = own.ready(engine or catalog().speed.engine)
    return Pair(row=own.row, said=Forecast(reason=ready) if isinstance(ready, str) else under(ready, own.load))
