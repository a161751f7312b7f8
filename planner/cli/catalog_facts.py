"""What the catalog commands show of models, checkpoints and GPUs: entries plus what is derived from their shapes."""

from functools import cached_property
from typing import Any

from msgspec import Struct

from planner.architecture import Architecture
from planner.catalog import Catalog
from planner.catalog.offers import stale
from planner.config_json import parse_config
from planner.errors import InvalidConfig, UnsupportedModel
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.tensors.weights import weights_bytes

_FULL_PERCENT = 100


class Checkpoint(Struct, frozen=True, dict=True):
    """One checkpoint with what follows from its config; ``refusal`` says why it cannot be planned, or is empty."""

    model: Model
    variant: Variant

    @cached_property
    def _parsed(self) -> tuple[Architecture, Quantization] | str:
        try:
            return parse_config(self.model.config_for(self.variant), where=self.variant.repository)
        except UnsupportedModel as error:
            return error.what
        except InvalidConfig as error:
            return f"{error.field} {error.message}"

    @property
    def refusal(self) -> str:
        """Why the memory model cannot size this checkpoint, or empty."""
        return self._parsed if isinstance(self._parsed, str) else ""

    @cached_property
    def weights_bytes(self) -> int | None:
        """Bytes on one GPU after loading, or None where they cannot be derived."""
        if isinstance(self._parsed, str):
            return None
        return weights_bytes(*self._parsed)

    @property
    def context_tokens(self) -> int | None:
        """The context limit: what the engine derives from the config, or what the publisher states if less."""
        if isinstance(self._parsed, str):
            return self.model.context_limit
        derived = self._parsed[0].longest_model_len
        return min(derived, self.model.context_limit or derived)

    @property
    def quantization(self) -> Quantization | None:
        """How the weights are stored, or None where that is not known."""
        return None if isinstance(self._parsed, str) else self._parsed[1]

    def fits(self, gpu: GPU) -> bool:
        """Whether the weights leave at least a tenth of a GPU for the KV cache and everything else."""
        return self.weights_bytes is not None and 10 * self.weights_bytes <= 9 * gpu.memory_bytes


def model_json(catalog: Catalog, model: Model, checkpoints: list[Checkpoint]) -> dict[str, Any]:
    """Return a model with the given checkpoints as JSON data."""
    first = Checkpoint(model, model.variants[0])
    return {
        "name": model.name,
        "repository": model.repository,
        "aliases": list(model.aliases),
        "family": model.family,
        "tasks": list(model.tasks),
        "licence": model.licence,
        "non_commercial": model.non_commercial,
        "gated": model.gated,
        "pretrained": model.pretrained,
        "released": model.released or None,
        "parameters": model.parameters,
        "parameters_grade": model.parameters_grade,
        "active_parameters": model.active_parameters,
        "mixture_of_experts": model.mixture,
        "architecture": (model.config.get("architectures") or [None])[0],
        "context_tokens": first.context_tokens,
        "engine_minimum": model.engine_minimum or None,
        "tool_parser": model.tool_parser or None,
        "reasoning_parser": model.reasoning_parser or None,
        "cache_refusals": dict(model.cache_refusals),
        "scores": [
            {"scale": row.scale, "percent": row.value / _FULL_PERCENT, "mode": row.mode or None, "source": row.source}
            for row in catalog.accuracy.scores(model)
        ],
        "assumed": list(model.assumed_fields),
        "conflicts": list(model.conflicts),
        "note": model.note or None,
        "sources": list(model.sources),
        "variants": [_checkpoint_json(catalog, checkpoint) for checkpoint in checkpoints],
    }


def _checkpoint_json(catalog: Catalog, checkpoint: Checkpoint) -> dict[str, Any]:
    variant, quantization = checkpoint.variant, checkpoint.quantization
    return {
        "repository": variant.repository,
        "aliases": list(variant.aliases),
        "scheme": variant.scheme,
        "native": variant.native,
        "bits": quantization.bits if quantization else None,
        "group_size": quantization.group_size if quantization else None,
        "quantization_config": variant.quantization_config,
        "weights_bytes": checkpoint.weights_bytes,
        "published_bytes": variant.published_bytes,
        "published_source": variant.published_source or None,
        "released": variant.released or None,
        "revision": variant.revision or None,
        "revision_date": variant.revision_date or None,
        "engine_minimum": variant.engine_minimum or checkpoint.model.engine_minimum or None,
        "refusal": checkpoint.refusal or None,
        "measured": [
            {
                "task": row.task,
                "benchmark": row.benchmark,
                "percent": row.score / _FULL_PERCENT,
                "base_percent": row.baseline / _FULL_PERCENT,
                "source": row.source,
            }
            for row in catalog.accuracy.measurements(variant)
        ],
        "assumed": list(variant.assumed_fields),
        "conflicts": list(variant.conflicts),
        "sources": list(variant.sources),
    }


def gpu_json(catalog: Catalog, gpu: GPU) -> dict[str, Any]:
    """Return a device as JSON data."""
    capability = gpu.compute_capability
    return {
        "name": gpu.name,
        "product": gpu.product,
        "aliases": list(gpu.aliases),
        "vendor": gpu.vendor,
        "generation": gpu.generation,
        "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
        "memory_bytes": gpu.memory_bytes,
        "memory_assumed": gpu.memory_assumed or None,
        "system_memory_bytes": gpu.system_memory_bytes or None,
        "system_memory_source": gpu.system_memory_source or None,
        "driver_memory_bytes": gpu.driver_memory_bytes,
        "bandwidth_bytes_per_second": gpu.bandwidth_bytes_per_second,
        "fp16_dense_flops": gpu.fp16_dense_flops,
        "fp8_dense_flops": gpu.fp8_dense_flops,
        "int8_dense_ops": gpu.int8_dense_ops,
        "fp4_dense_flops": gpu.fp4_dense_flops,
        "derived_rates": list(gpu.derived_rates),
        "interconnect": gpu.interconnect,
        "integrated": gpu.integrated,
        "board_watts": gpu.board_watts,
        "released": gpu.released or None,
        "mig_parent": gpu.parent or None,
        "mig_instances": gpu.instances if gpu.parent else None,
        "refusal": gpu.refusal or None,
        "prices": [
            {
                "provider": price.provider,
                "instance": price.instance,
                "gpus": price.gpu_count,
                "usd_per_hour": price.microdollars_per_hour / 1_000_000,
                "market": price.market,
                "region": price.region or None,
                "date": price.date or None,
                "stale": stale(price, catalog.prices),
                "source": price.source,
            }
            for price in catalog.prices
            if price.gpu == gpu.name
        ],
        "note": gpu.note or None,
        "sources": list(gpu.sources),
    }
