"""Keys of a role that pin the engine: their shape in fleet.yaml, and the ``EngineSettings`` made of them."""

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.engine.settings import EngineSettings
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.shapes import Map, choice
from planner.yaml_source import FieldPath

_MOST_GRAPH_TOKENS = 1 << 16
_BLOCK = 16
_STATE_DTYPES = ("float16", "bfloat16", "float32")
_WORD = r"^[A-Za-z0-9_]+$"


def _block_size(value: object) -> int:
    """Read the tokens of a block; every backend of the engine on CUDA takes multiples of 16 (attention.yaml)."""
    if isinstance(value, bool) or not isinstance(value, int) or value < _BLOCK or value % _BLOCK:
        values.wrong(f"expected a multiple of {_BLOCK} tokens, not {values.found(value)}")
    return value


def _sizes(value: object) -> tuple[int, ...]:
    """Read a list of batch sizes."""
    read = values.whole(1, _MOST_GRAPH_TOKENS, "a batch size")
    if not isinstance(value, list) or len(value) < 2:
        hint = f"one size is max_capture_size: {value}" if isinstance(value, int) else ""
        values.wrong(f"expected a list of batch sizes such as [1, 2, 4, 8], not {values.found(value)}", hint)
    return tuple(sorted({read(item) for item in value}))


_Size: TypeAlias = Annotated[int, PlainValidator(values.size_bytes), WithJsonSchema(values.BYTES_SCHEMA)]
_StateDtype: TypeAlias = Annotated[str, *choice(_STATE_DTYPES, "dtype")]
_Backend: TypeAlias = Annotated[str, PlainValidator(values.word), WithJsonSchema({"type": "string", "pattern": _WORD})]


class EngineKeys(Map):
    """What a role asks of its servers' engine; each key is a row of ``planner.engine.settings.SETTINGS``."""

    later: ClassVar[tuple[str, ...]] = (
        "eager", "cpu_offload", "kv_offload", "block_size", "mamba_cache_dtype", "mamba_ssm_cache_dtype",
        "capture_sizes", "max_capture_size", "attention_backend", "moe_backend",
    )  # fmt: skip

    eager: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="run without compiling and without CUDA graphs: less memory, slower"
    )
    cpu_offload: _Size = Field(default=0, description="weights of each GPU that are kept in host memory: 8GiB")
    kv_offload: _Size = Field(default=0, description="host memory for KV cache that was computed before: 64GiB")
    block_size: Annotated[
        int | None, PlainValidator(_block_size), WithJsonSchema({"type": "integer", "multipleOf": _BLOCK, "minimum": 1})
    ] = Field(default=None, description="tokens of a block of the KV cache; absent: the engine chooses")
    mamba_cache_dtype: _StateDtype = Field(
        default="", description="dtype of recurrent states, convolutions included; absent: the model's own"
    )
    mamba_ssm_cache_dtype: _StateDtype = Field(
        default="", description="dtype of recurrent states without their convolutions; absent: the model's own"
    )
    capture_sizes: Annotated[
        tuple[int, ...],
        PlainValidator(_sizes),
        WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2}),
    ] = Field(default=(), description="batch sizes that CUDA graphs are captured for: [1, 2, 4, 8]")
    max_capture_size: Annotated[
        int | None,
        PlainValidator(values.whole(1, _MOST_GRAPH_TOKENS, "a batch size")),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _MOST_GRAPH_TOKENS}),
    ] = Field(default=None, description="the largest batch size that CUDA graphs are captured for: 256")
    attention_backend: _Backend = Field(default="", description="what attention runs with, as the engine spells it")
    moe_backend: _Backend = Field(default="", description="what experts run with, as the engine spells it")


def engine_settings(findings: Findings, path: FieldPath, read: EngineKeys) -> EngineSettings:
    """Return what a role pins of the engine, with a finding where two pins contradict each other."""
    if read.capture_sizes and read.max_capture_size:
        hint = "the list names the largest itself"
        findings.refuse((*path, "max_capture_size"), "capture_sizes and max_capture_size say the same thing", hint)
    for key in ("capture_sizes", "max_capture_size"):
        if read.eager and getattr(read, key):
            findings.refuse((*path, key), "with eager no CUDA graphs are captured", "leave one of them out")
    return EngineSettings(
        eager=read.eager,
        cpu_offload_bytes=read.cpu_offload,
        kv_offload_bytes=read.kv_offload,
        block_size=read.block_size,
        mamba_cache_dtype=read.mamba_cache_dtype,
        mamba_ssm_cache_dtype=read.mamba_ssm_cache_dtype,
        capture_sizes=read.capture_sizes,
        max_capture_size=read.max_capture_size,
        attention_backend=read.attention_backend,
        moe_backend=read.moe_backend,
    )
