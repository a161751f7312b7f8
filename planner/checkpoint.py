"""A checkpoint folder: ``config.json`` and the safetensors files beside it, read without trusting them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from planner.architecture import Architecture
from planner.config_json import parse_config
from planner.errors import InvalidConfig
from planner.quantization import Quantization

# A config.json is a few KiB, a shard index a few MiB, a safetensors header at most 100 MB by its own format rules.
_MAX_JSON = 64 << 20
_MAX_HEADER = 100_000_000
# Bits per element of the dtypes a safetensors header may name.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a safetensors file: its dtype as the header spells it, its shape and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model folder. ``tensors`` lists what the files hold, by name; None when no safetensors file is there.

    ``stored_bytes`` is the sum over the tensors, or what the index claims when the shards are elsewhere.
    """

    name: str
    architecture: Architecture
    quantization: Quantization
    tensors: Mapping[str, StoredTensor] | None = None
    stored_bytes: int | None = None


def read_folder(path: str | Path) -> Checkpoint:
    """Read a model folder.

    Raises:
        InvalidConfig: no config.json, or a file that is broken, lies about its size or points outside the folder.
        UnsupportedModel: the architecture or the quantization format is not one this package can size.
    """
    folder = Path(path)
    where = str(folder / "config.json")
    config = read_config(folder)
    architecture, quantization = parse_config(config, where=where)
    index = folder / "model.safetensors.index.json"
    claimed: int | None = None
    shards: tuple[Path, ...] = ()
    if index.is_file():
        claimed, shards = _read_index(folder, index)
    elif (folder / "model.safetensors").is_file():
        shards = (_inside(folder, "model.safetensors", "model.safetensors", ""),)
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        tensors.update(read_header(shard))
    stored = sum(tensor.stored_bytes for tensor in tensors.values()) if tensors else claimed
    return Checkpoint(
        name=folder.resolve().name,
        architecture=architecture,
        quantization=quantization,
        tensors=tensors or None,
        stored_bytes=stored,
    )


def read_config(folder: Path) -> Mapping[str, Any]:
    """Read a model folder's ``config.json``, with the quantization that older ModelOpt exports keep in another file.

    Source: ``transformers_utils/config.py:get_config`` of vLLM 0.33.0.

    Raises:
        InvalidConfig: a file is absent, too large, not JSON, or not an object.
    """
    config = read_json(folder / "config.json")
    beside = folder / "hf_quant_config.json"
    if config.get("quantization_config") is None and beside.is_file():
        return {**config, "quantization_config": {"quant_method": "modelopt", **read_json(beside)}}
    return config


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object from a file of reasonable size.

    Raises:
        InvalidConfig: the file is absent, too large, not JSON, or not an object.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidConfig(where, "", "not a file")
        if size > _MAX_JSON:
            raise InvalidConfig(where, "", f"{size} bytes is too large for a JSON file of a model")
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidConfig(where, "", "no such file") from None
    except OSError as error:
        raise InvalidConfig(where, "", f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(where, "", f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidConfig(where, "", "expected a JSON object")
    return value


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read the tensor table of one safetensors file; no weights are read.

    Raises:
        InvalidConfig: the header lies about its length, is not JSON, or describes tensors the file cannot hold.
    """
    where = str(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > min(_MAX_HEADER, size - 8):
            raise InvalidConfig(where, "header", f"says {length} bytes, which a file of {size} bytes cannot hold")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(where, "header", f"not valid JSON: {error}") from None
    if not isinstance(header, dict):
        raise InvalidConfig(where, "header", "expected a JSON object")
    data_bytes = size - 8 - length
    return {name: _tensor(where, name, entry, data_bytes) for name, entry in header.items() if name != "__metadata__"}


def _tensor(where: str, name: str, entry: object, data_bytes: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise InvalidConfig(where, name, "expected an object with dtype, shape and data_offsets")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise InvalidConfig(where, f"{name}.dtype", f"{dtype!r} is not a safetensors dtype")
    if not isinstance(shape, list) or not all(_is_size(side) for side in shape):
        raise InvalidConfig(where, f"{name}.shape", "expected a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise InvalidConfig(where, f"{name}.data_offsets", "expected two offsets")
    bits = _BITS[dtype]
    for side in shape:
        bits *= side
    stored = offsets[1] - offsets[0]
    if bits != 8 * stored or offsets[1] > data_bytes:
        raise InvalidConfig(where, f"{name}.data_offsets", f"{offsets} does not hold {dtype} of shape {shape}")
    return StoredTensor(dtype, tuple(shape), stored)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


def _read_index(folder: Path, path: Path) -> tuple[int | None, tuple[Path, ...]]:
    """Return the size an index claims and the shards it names, all of them or none being present."""
    where = str(path)
    index = read_json(path)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InvalidConfig(where, "weight_map", "expected an object that maps tensors to files")
    metadata = index.get("metadata")
    claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
    if claimed is not None and not _is_size(claimed):
        raise InvalidConfig(where, "metadata.total_size", f"{claimed!r} is not a size in bytes")
    names = sorted({_text(where, tensor, name) for tensor, name in weight_map.items()})
    shards = tuple(_inside(folder, name, where, "weight_map") for name in names)
    missing = [name for name, shard in zip(names, shards, strict=True) if not shard.is_file()]
    if missing and len(missing) < len(names):
        raise InvalidConfig(where, "weight_map", f"{missing[0]} is missing; {len(names) - len(missing)} are there")
    return claimed, () if missing else shards


def _text(where: str, tensor: object, name: object) -> str:
    if not isinstance(name, str):
        raise InvalidConfig(where, f"weight_map.{tensor}", f"expected a file name, not {name!r}")
    return name


def _inside(folder: Path, name: str, where: str, field: str) -> Path:
    """Return the path of a file named in an index, refusing what leads out of the model folder.

    A hub cache keeps shards as links into a ``blobs`` folder beside ``snapshots``; those are followed.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise InvalidConfig(where, field, f"{name!r} is not a file name inside the folder")
    path = folder / name
    real, home = path.resolve(), folder.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else None
    if real.is_relative_to(home) or (blobs is not None and real.is_relative_to(blobs)):
        return path
    raise InvalidConfig(where, field, f"{name!r} leads out of the folder")
