"""Least: what a model's weights take at least, however a server shares them out and whatever engine and GPU it has.

Only codes and unquantized matrices of the decoder's layers and the token embedding are counted, each once: scales,
padding, copies that ranks keep whole, encoders, heads and what the allocator adds only make a server larger.
"""

from collections.abc import Iterator

from planner.architecture import Architecture, Experts, Linear
from planner.facts.quantization import Quantization, Storage
from planner.tensors.identity import Same
from planner.tensors.parameters import layer_parts
from planner.tensors.weights import stored_as

_DTYPE_BITS = 16
"""The narrowest dtype that a server keeps unquantized weights in."""


def least_bytes(architecture: Architecture, quantization: Quantization) -> int:
    """Return the bytes of weights that all GPUs of a server hold together at least.

    Ranks that cannot share out something evenly leave less than one of 64 rows out, which is taken off.
    """
    bits = architecture.vocab_size * (architecture.embedding_width or architecture.hidden_size) * _DTYPE_BITS
    bits += sum(_layer_bits(architecture, quantization))
    return bits // 8 * 63 // 64


def _layer_bits(architecture: Architecture, quantization: Quantization) -> Iterator[int]:
    for index, layer in enumerate(architecture.own_layers):
        for part in layer_parts(layer, architecture.hidden_size):
            if isinstance(part, Linear):
                for column in part.columns:
                    path = f"layers.{index}.{column.path}"
                    storage = stored_as(Same(quantization), path) if part.quantizable else None
                    yield column.units * column.size * part.inputs * _width(storage)
            elif isinstance(part, Experts):
                storage = stored_as(Same(quantization), f"layers.{index}.{part.path}", expert=True)
                matrices = 3 if part.gated else 2
                yield part.count * matrices * part.hidden_size * part.intermediate_size * _width(storage)


def _width(storage: Storage | None) -> int:
    return min(storage.bits, _DTYPE_BITS) if storage else _DTYPE_BITS
