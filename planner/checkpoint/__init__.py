"""Checkpoint: a folder of a model in; its config and what its safetensors files hold, never trusted, out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.architecture import Architecture
from planner.checkpoint.converted import with_modules_left_alone
from planner.checkpoint.folder import confine, inside, may_read, read_json
from planner.checkpoint.safetensors import StoredTensor, read_tensors
from planner.config_json import as_pooling, parse_config
from planner.errors import InvalidConfig
from planner.facts.quantization import Quantization

__all__ = ["Checkpoint", "StoredTensor", "confine", "may_read", "read_config", "read_folder"]

_POOLING = "sentence_transformers.models.Pooling"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A model folder. ``tensors`` lists what the files hold, by name; None when no safetensors file is there.

    ``stored_bytes`` is the sum over the tensors, or what the index claims when the shards are elsewhere.
    """

    name: str
    architecture: Architecture
    quantization: Quantization
    tensors: Mapping[str, StoredTensor] | None = None
    stored_bytes: int | None = None


def read_folder(path: str | Path) -> Checkpoint:
    """Read a model folder. A decoder with sentence-transformers' files beside it pools, as the engine decides.

    Raises:
        InvalidConfig: no config.json, or a file that is broken, lies about its size or points outside the folder; or
            the folder may not be read.
        UnsupportedModel: the architecture or the quantization format is not one this package can size.
    """
    folder = Path(path)
    _require_allowed(folder)
    tensors, claimed = read_tensors(folder)
    config = with_modules_left_alone(_stated_config(folder), tensors)
    architecture, quantization = parse_config(config, where=str(folder / "config.json"))
    if _pools(folder) and not architecture.is_pooling:
        architecture = as_pooling(architecture)
    return Checkpoint(
        name=folder.resolve().name,
        architecture=architecture,
        quantization=quantization,
        tensors=tensors or None,
        stored_bytes=sum(tensor.stored_bytes for tensor in tensors.values()) if tensors else claimed,
    )


def read_config(folder: Path) -> Mapping[str, Any]:
    """Read a model folder's ``config.json`` as the engine completes it: with ModelOpt's separate file and the headers.

    Raises:
        InvalidConfig: a file is absent, too large, not JSON, not an object, or points outside the folder.
    """
    _require_allowed(folder)
    return with_modules_left_alone(_stated_config(folder), read_tensors(folder)[0])


def _require_allowed(folder: Path) -> None:
    if not may_read(folder):
        raise InvalidConfig(str(folder), "", "is not inside a folder that may be read")


def _stated_config(folder: Path) -> Mapping[str, Any]:
    """Return ``config.json`` with the quantization that ModelOpt exports keep, whole or in part, in another file.

    Source: ``transformers_utils/config.py:get_config`` and, of layers with an algorithm each,
    ``model_executor/model_loader/weight_utils.py:get_quant_config`` of vLLM 0.33.0.
    """
    config = read_json(inside(folder, "config.json"))
    beside, stated = folder / "hf_quant_config.json", config.get("quantization_config")
    if beside.is_file() and (stated is None or _layers_elsewhere(stated)):
        settings = read_json(inside(folder, beside.name))
        return {**config, "quantization_config": {"quant_method": "modelopt", **settings}}
    return config


def _layers_elsewhere(settings: object) -> bool:
    """Whether a ModelOpt config says that its layers differ, but not how."""
    mixed = isinstance(settings, dict) and str(settings.get("quant_algo")).upper() == "MIXED_PRECISION"
    return mixed and isinstance(settings, dict) and "quantized_layers" not in settings


def _pools(folder: Path) -> bool:
    """Whether sentence-transformers' ``modules.json`` names a pooling module (config.py:get_pooling_config, 0.33.0)."""
    path = folder / "modules.json"
    if not path.is_file():
        return False
    modules = read_json(inside(folder, path.name), kind=list)
    if not all(isinstance(module, dict) for module in modules):
        raise InvalidConfig(str(path), "", "expected a list of objects")
    return any(module.get("type") == _POOLING for module in modules)
