"""The header of a GGUF file: enough to list it. vLLM's GGUF loader is not one whose memory the planner knows."""

import struct
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from planner.errors import InvalidConfig

# Source of the layout and the type numbers: the GGUF specification, github.com/ggml-org/ggml docs/gguf.md, version 3.
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
_MAX_COUNT = 1 << 20
_MAX_STRING = 1 << 24
_MAX_DIMENSIONS = 8


class GGUFHeader(Struct, frozen=True):
    """What a GGUF file says of itself; ``parameters`` is the sum over its tensors."""

    name: str
    architecture: str
    file_type: str
    context_tokens: int | None
    parameters: int
    file_bytes: int


def read_gguf(path: Path) -> GGUFHeader:
    """Read the header of a GGUF file.

    Raises:
        InvalidConfig: not GGUF, of an unknown version, cut short, or with absurd counts.
    """
    where = str(path)
    try:
        with path.open("rb") as stream:
            return _Reader(stream, where).header(path)
    except OSError as error:
        raise InvalidConfig(where, "", f"cannot be read: {error.strerror}") from None
    except (struct.error, UnicodeDecodeError):
        raise InvalidConfig(where, "header", "cut short or damaged") from None


class _Reader:
    """Reads little-endian values; strings and counts are bounded before anything is allocated for them."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where = stream, where

    def header(self, path: Path) -> GGUFHeader:
        if self._stream.read(4) != _MAGIC:
            raise InvalidConfig(self._where, "", "not a GGUF file")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise InvalidConfig(self._where, "version", f"{version} is not a GGUF version this package reads")
        tensors, pairs = self._count("tensors"), self._count("metadata")
        metadata = dict(self._pair() for _ in range(pairs))
        parameters = sum(self._tensor_elements() for _ in range(tensors))
        architecture = str(metadata.get("general.architecture", "unknown"))
        context = metadata.get(f"{architecture}.context_length")
        kind = metadata.get("general.file_type")
        return GGUFHeader(
            name=str(metadata.get("general.name") or path.stem),
            architecture=architecture,
            file_type=_FILE_TYPES.get(kind, f"type {kind}") if isinstance(kind, int) else "unknown",
            context_tokens=context if isinstance(context, int) else None,
            parameters=parameters,
            file_bytes=path.stat().st_size,
        )

    def _pair(self) -> tuple[str, object]:
        key = self._string()
        return key, self._value(self._number("<I"))

    def _value(self, kind: int) -> object:
        if kind in _SCALARS:
            return struct.unpack(_SCALARS[kind], self._exactly(struct.calcsize(_SCALARS[kind])))[0]
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, count = self._number("<I"), self._count("array")
            if inner == _ARRAY:
                raise InvalidConfig(self._where, "metadata", "nested arrays are not used by any model")
            for _ in range(count):
                self._value(inner)
            return None
        raise InvalidConfig(self._where, "metadata", f"{kind} is not a GGUF value type")

    def _tensor_elements(self) -> int:
        self._string()
        dimensions = self._number("<I")
        if dimensions > _MAX_DIMENSIONS:
            raise InvalidConfig(self._where, "tensors", f"a tensor of {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("<Q")
        self._exactly(12)
        return elements

    def _count(self, what: str) -> int:
        count = self._number("<Q")
        if count > _MAX_COUNT:
            raise InvalidConfig(self._where, what, f"{count} is more than any model has")
        return count

    def _string(self) -> str:
        length = self._number("<Q")
        if length > _MAX_STRING:
            raise InvalidConfig(self._where, "metadata", f"a text of {length} bytes")
        return self._exactly(length).decode()

    def _number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._exactly(struct.calcsize(layout)))[0])

    def _exactly(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise struct.error
        return data
