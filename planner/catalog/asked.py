"""A model as people ask for it: a catalog name, a checkpoint's id, or a folder with config.json."""

from pathlib import Path

from msgspec import Struct

from planner.architecture import Architecture
from planner.catalog.catalog import Catalog
from planner.catalog.stored import stored
from planner.checkpoint.folder import may_read
from planner.config_json import as_pooling
from planner.errors import UnknownName
from planner.facts.quantization import Quantization

_POOLING_TASKS = {"embedding", "rerank"}


class AskedModel(Struct, frozen=True):
    """A model's shapes and storage, and which fields of its config were ``assumed``, not seen."""

    architecture: Architecture
    quantization: Quantization
    assumed: tuple[str, ...] = ()


def asked_model(catalog: Catalog, name: str) -> AskedModel:
    """Return the model of a name or folder.

    Raises:
        UnknownName: the catalog does not have it, and it is no folder.
        InvalidConfig, UnsupportedModel: the folder's files cannot be sized.
    """
    folder = may_read(Path(name))
    if folder and Path(name, "config.json").is_file():
        return _folder(name)
    try:
        base, variant = catalog.find(name)
    except UnknownName:
        if folder and Path(name).is_dir():
            return _folder(name)
        raise
    architecture, quantization = stored(base, variant)
    if set(base.tasks) <= _POOLING_TASKS and not architecture.is_pooling:
        architecture = as_pooling(architecture)
    return AskedModel(architecture, quantization, variant.assumed_fields)


def _folder(path: str) -> AskedModel:
    from planner.checkpoint import read_folder  # for folders alone

    folder = read_folder(path)
    return AskedModel(folder.architecture, folder.quantization)
