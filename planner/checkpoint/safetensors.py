"""Safetensors headers: which tensors a checkpoint's files hold. No weights are read, nothing is believed unchecked."""

import json
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from planner.checkpoint.folder import inside, read_json
from planner.errors import InvalidConfig

# The format's own limit on a header (safetensors, MAX_HEADER_SIZE).
MAX_HEADER = 100_000_000
_MAX_DIMENSIONS = 8
# Bits per element of the dtypes a header may name.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64,
}  # fmt: skip


class StoredTensor(Struct, frozen=True):
    """One tensor of a safetensors file: its dtype as the header spells it, its shape and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    stored_bytes: int


def read_tensors(folder: Path) -> tuple[Mapping[str, StoredTensor], int | None]:
    """Return the tensors of a folder's files, and the size its shard index claims.

    Empty and None without such files; only the claim when there is an index but none of its shards.

    Raises:
        InvalidConfig: a file is broken, missing, lies about its size or points outside the folder.
    """
    index = folder / "model.safetensors.index.json"
    claimed: int | None = None
    shards: tuple[Path, ...] = ()
    if index.is_file():
        claimed, shards = _read_index(folder)
    elif (folder / "model.safetensors").is_file():
        shards = (inside(folder, "model.safetensors"),)
    else:
        shards = _numbered(folder)
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        tensors.update(read_header(shard))
    return tensors, claimed


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensor table of one safetensors file.

    Raises:
        InvalidConfig: the header lies about its length, is not JSON, or describes tensors the file cannot hold.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(MAX_HEADER, size - 8):
                raise InvalidConfig(where, "header", f"says {length} bytes, which a file of {size} bytes cannot hold")
            header = json.loads(file.read(length))
    except OSError as error:
        raise InvalidConfig(where, "", f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(where, "header", f"not valid JSON: {error}") from None
    if not isinstance(header, dict):
        raise InvalidConfig(where, "header", "expected a JSON object")
    data_bytes = size - 8 - length
    found = {name: _tensor(where, name, entry, data_bytes) for name, entry in header.items() if name != "__metadata__"}
    if sum(tensor.stored_bytes for tensor in found.values()) > data_bytes:
        raise InvalidConfig(where, "header", f"describes more tensors than {data_bytes} bytes of data can hold")
    return found


def _tensor(where: str, name: str, entry: object, data_bytes: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise InvalidConfig(where, name, "expected an object with dtype, shape and data_offsets")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise InvalidConfig(where, f"{name}.dtype", f"{dtype!r} is not a safetensors dtype")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(_is_size(side) for side in shape):
        raise InvalidConfig(where, f"{name}.shape", "expected a short list of sizes")
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


def _numbered(folder: Path) -> tuple[Path, ...]:
    """Return the shards of a folder without an index, which the engine loads as it finds them; all that they number."""
    found = sorted(folder.glob("model-*-of-*.safetensors"))
    if not found:
        return ()
    count = found[0].stem.rpartition("-")[2]
    if not count.isdecimal() or len(found) != int(count):
        raise InvalidConfig(str(folder), "", f"{len(found)} of {count} shards are there, and no index")
    return tuple(inside(folder, path.name) for path in found)


def _read_index(folder: Path) -> tuple[int | None, tuple[Path, ...]]:
    """Return the size an index claims and the shards it names, all of them or none being present."""
    path = inside(folder, "model.safetensors.index.json")
    where = str(path)
    index = read_json(path)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InvalidConfig(where, "weight_map", "expected an object that maps tensors to files")
    metadata = index.get("metadata")
    claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
    claimed = int(claimed) if isinstance(claimed, float) and claimed.is_integer() else claimed
    if claimed is not None and not _is_size(claimed):
        raise InvalidConfig(where, "metadata.total_size", f"{claimed!r} is not a size in bytes")
    names = sorted({_text(where, tensor, name) for tensor, name in weight_map.items()})
    shards = tuple(inside(folder, name, where, "weight_map") for name in names)
    missing = [name for name, shard in zip(names, shards, strict=True) if not shard.is_file()]
    if missing and len(missing) < len(names):
        raise InvalidConfig(where, "weight_map", f"{missing[0]} is missing; {len(names) - len(missing)} are there")
    return claimed, () if missing else shards


def _text(where: str, tensor: object, name: object) -> str:
    if not isinstance(name, str):
        raise InvalidConfig(where, f"weight_map.{tensor}", f"expected a file name, not {name!r}")
    return name
