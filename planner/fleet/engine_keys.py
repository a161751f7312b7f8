"""Keys of a role that pin the engine: their shape in fleet.yaml, and the ``EngineSettings`` made of them."""

import json
import re
import shlex
from typing import Annotated, ClassVar, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from planner.engine import extra_args
from planner.engine.backends import NAMED
from planner.engine.options import engine_options, listed_versions, option_refusal
from planner.engine.profile import load_profile
from planner.engine.settings import SETTINGS, EngineSettings
from planner.errors import UnknownName
from planner.fleet import values
from planner.fleet.feature_keys import (
    ImagesMap,
    LoraMap,
    SpeculativeMap,
    images,
    left_to_the_planner,
    lora,
    read_speculative,
    speculation,
)
from planner.fleet.findings import Findings
from planner.fleet.shapes import Map, choice, map_of, whole
from planner.yaml_source import FieldPath

_MOST_GRAPH_TOKENS = 1 << 16
_BLOCK = 16
_STATE_DTYPES = ("float16", "bfloat16", "float32")
_WORD = r"^[A-Za-z0-9_]+$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_SCALAR = {"type": ["string", "number"]}


def _block_size(value: object) -> int:
    """Read the tokens of a block; every backend of the engine on CUDA takes multiples of 16 (attention.yaml)."""
    if isinstance(value, bool) or not isinstance(value, int) or value < _BLOCK or value % _BLOCK:
        values.wrong(f"expected a multiple of {_BLOCK} tokens, not {values.found(value)}")
    return value


def _sizes(value: object) -> tuple[int, ...]:
    """Read a list of batch sizes."""
    read = values.whole(1, _MOST_GRAPH_TOKENS, "a batch size")
    if not isinstance(value, list) or len(value) < 2:
        hint = f"one size is max_capture_size: {value}" if type(value) is int else ""  # true is none
        values.wrong(f"expected a list of batch sizes such as [1, 2, 4, 8], not {values.found(value)}", hint)
    return tuple(sorted({read(item) for item in value}))


def _environment(value: object) -> tuple[str, ...]:
    """Read a map of variables as ``NAME=value``, sorted."""
    if not isinstance(value, dict):
        values.wrong(f"expected a map such as {{NCCL_DEBUG: WARN}}, not {values.found(value)}")
    return tuple(sorted(f"{_variable(name)}={_scalar(item)}" for name, item in value.items()))


def _variable(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(_VARIABLE, name):
        values.wrong(f"{values.found(name)} is not the name of a variable")
    return name


def _scalar(value: object) -> str:
    """Read text or a number that stands on one line."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        values.wrong(f"expected text or a number, not {values.found(value)}", 'write "1" or "0" for a switch')
    text = str(value)
    if not text or not text.isprintable():
        values.wrong("expected text on one line")
    return text


def _extra_args(value: object) -> tuple[str, ...]:
    """Read options: a text, a list of texts as a shell takes them, or a map from option to value."""
    if isinstance(value, dict):
        words = [word for name, item in value.items() for word in _option(name, item)]
    else:
        items = value if isinstance(value, list) else [value]
        words = [word for item in items for word in _words(item)]
    try:
        found = extra_args.options_of(words)
    except ValueError as error:
        values.wrong(str(error), "long names and their values: [--max-log-len, 200]")
    flags = [extra_args.split(option)[0] for option in found]
    if repeated := next((flag for flag in flags if flags.count(flag) > 1), None):
        values.wrong(f"{repeated} is there twice")
    return found


def _words(item: object) -> list[str]:
    """Return the words of one item; one that starts with dashes may have its values after it."""
    text = _scalar(item)
    if not text.startswith("--"):
        return [text]
    try:
        return shlex.split(text)
    except ValueError as error:
        values.wrong(f"{values.found(text)} cannot be read: {error}")


def _option(name: object, value: object) -> list[str]:
    """Return the words of one option of a map: a switch, its values, or JSON."""
    if not isinstance(name, str) or not name.strip("-"):
        values.wrong(f"{values.found(name)} is not the name of an option")
    flag = name if name.startswith("-") else f"--{name}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if isinstance(value, dict):
        return [flag, json.dumps(value, sort_keys=True)]
    return [flag, *map(_scalar, value if isinstance(value, list) else [value])]


_Size: TypeAlias = Annotated[int, PlainValidator(values.size_bytes), WithJsonSchema(values.BYTES_SCHEMA)]
_StateDtype: TypeAlias = Annotated[str, *choice(_STATE_DTYPES, "dtype")]
_Backend: TypeAlias = Annotated[str, PlainValidator(values.word), WithJsonSchema({"type": "string", "pattern": _WORD})]
_LORA = map_of("adapters, rank, held, modules, names", "adapters", "a number of adapters")


class EngineKeys(Map):
    """What a role asks of its servers' engine; each key is a row of ``planner.engine.settings.SETTINGS``."""

    later: ClassVar[tuple[str, ...]] = (
        "eager", "cpu_offload", "kv_offload", "block_size", "mamba_cache_dtype", "mamba_ssm_cache_dtype",
        "capture_sizes", "max_capture_size", "attention_backend", "moe_backend", "env", "extra_args",
        "lora", "speculative", "images", "language_model_only",
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
    max_capture_size: Annotated[int | None, *whole(1, _MOST_GRAPH_TOKENS, "a batch size")] = Field(
        default=None, description="the largest batch size that CUDA graphs are captured for: 256"
    )
    attention_backend: _Backend = Field(default="", description="what attention runs with, as the engine spells it")
    moe_backend: _Backend = Field(default="", description="what experts run with, as the engine spells it")
    env: Annotated[
        tuple[str, ...],
        PlainValidator(_environment),
        WithJsonSchema({"type": "object", "propertyNames": {"pattern": _VARIABLE}, "additionalProperties": _SCALAR}),
    ] = Field(default=(), description="environment variables of the servers, no secrets: {NCCL_DEBUG: WARN}")
    extra_args: Annotated[
        tuple[str, ...],
        PlainValidator(_extra_args),
        WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}, {"type": "object"}]}),
    ] = Field(default=(), description="further options of vllm serve: [--max-log-len, 200]")
    lora: Annotated[LoraMap | None, _LORA] = Field(
        default=None, description="adapters (LoRA) that are kept beside the model"
    )
    speculative: Annotated[
        SpeculativeMap | None, map_of("method, tokens, model", "method", "a method"), BeforeValidator(read_speculative)
    ] = Field(default=None, description="draft tokens ahead and verify them together: auto, off or a map")
    images: Annotated[ImagesMap | None, map_of("per_request, videos", "per_request", "a number of images")] = Field(
        default=None, description="how many images and videos one request may bring"
    )
    language_model_only: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="load no encoder of images, videos or audio: the role takes text alone"
    )


def engine_settings(findings: Findings, path: FieldPath, read: EngineKeys, version: str | None) -> EngineSettings:
    """Return what a role pins of the engine, with a finding where two pins contradict each other."""
    if read.capture_sizes and read.max_capture_size:
        hint = "the list names the largest itself"
        findings.refuse((*path, "max_capture_size"), "capture_sizes and max_capture_size say the same thing", hint)
    for key in ("capture_sizes", "max_capture_size"):
        if read.eager and getattr(read, key):
            findings.refuse((*path, key), "with eager no CUDA graphs are captured", "leave one of them out")
    _check_backends(findings, path, read)
    for variable in read.env:
        message, hint = extra_args.environment_refusal(variable.partition("=")[0])
        if message:
            findings.refuse((*path, "env", variable.partition("=")[0]), message, hint, at_key=True)
    for option in read.extra_args:
        message, hint = _refusal(option, version)
        if message:
            findings.refuse((*path, "extra_args"), message, hint)
    return EngineSettings(
        env=read.env,
        extra_args=read.extra_args,
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
        lora=lora(read.lora),
        speculative=speculation(read.speculative),
        speculative_auto=left_to_the_planner(read.speculative),
        images=images(read.images),
        language_model_only=read.language_model_only,
    )


def _check_backends(findings: Findings, path: FieldPath, read: EngineKeys) -> None:
    """Refuse backends that no version of the engine knows by such a name; whether its own does is seen in the plan."""
    listed = [engine_options(one).flags.get("--moe-backend", ()) for one in listed_versions()]
    experts = {name for names in listed if isinstance(names, tuple) for name in names}
    for key, known, name in (
        ("attention_backend", NAMED, read.attention_backend.upper()),
        ("moe_backend", experts, read.moe_backend),
    ):
        if name and name not in known:
            hint = values.suggestion(name, known, "")
            findings.refuse((*path, key), f"no version of the engine has a backend {getattr(read, key)!r}", hint)


def _refusal(option: str, version: str | None) -> tuple[str, str]:
    """Say why an option is not taken: the plan or another key sets it, or the engine version does not have it."""
    flag, words = extra_args.split(option)
    key = next((setting.key for setting in SETTINGS if flag in setting.options), None)
    if key:
        return f"{flag} is a key of the role", f"write {key}"
    found = extra_args.refusal(option)
    if found[0]:
        return found
    try:
        options = engine_options(load_profile(version).version)
    except UnknownName:  # said of the version itself
        return "", ""
    text = option_refusal(extra_args.in_version(flag, options.flags), words, options)
    return text, values.suggestion(flag, options.flags, "") if text else ""
