"""Which commands are tools, and what each takes: the schema follows from the command's own options."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from msgspec import Struct

_LONGEST_VALUE = 1000
_MOST_VALUES = 64


class Tool(Struct, frozen=True, kw_only=True):
    """One command as a tool.

    ``given`` is what it reads: a ``fleet``, a ``log``, ``files`` or nothing. ``takes`` names those of its parameters
    that a client may set; ``documents`` the JSON Schemas of what it prints, in docs/schemas.
    """

    name: str
    title: str
    about: str
    given: str = ""
    takes: tuple[str, ...]
    documents: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """The words that the command line begins with."""
        return tuple(
            word.replace("_", "-") for word in (("catalog", "search") if "search" in self.name else (self.name,))
        )


TOOLS = (
    Tool(
        name="estimate",
        title="Estimate one vLLM server",
        about="Say whether one vLLM server starts on a GPU, what of the memory everything takes, how much KV cache is "
        "left, and with input_tokens and output_tokens how fast it is. Fast: nothing is searched.",
        takes=(
            "model", "gpu_name", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
            "expert_parallel", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization",
            "kv_cache_dtype", "dtype", "quantization", "prefix_caching", "engine_version", "enforce_eager",
            "memory_bytes", "in_use_bytes", "max_loras", "max_lora_rank", "speculative", "mm_limits",
            "language_model_only", "input_tokens", "output_tokens", "concurrency", "request_rate", "cached_prompt",
        ),
        documents=("estimate",),
    ),
    Tool(
        name="solve",
        title="Plan a fleet",
        about="Find the proven best plan for a fleet: which model, quantization, limits and GPU every role gets, what "
        "it takes, how fast it is and what it costs; or why no plan exists, and which changes would help.",
        given="fleet",
        takes=("fresh", "x", "y", "point", "points", "time_limit", "targets"),
        documents=("plan", "no-plan"),
    ),
    Tool(
        name="what_if",
        title="Compare variations of a fleet",
        about="Solve variations of a fleet side by side, with other GPUs or other values of fields, and compare what "
        "they serve and cost.",
        given="fleet",
        takes=("gpus", "settings", "matrix", "time_limit"),
        documents=("what-if",),
    ),
    Tool(
        name="explain",
        title="Explain a plan",
        about="Say why each role of a fleet has its variant and not another, what binds on each GPU, and what one "
        "more GiB would buy: all of it solved, not estimated.",
        given="fleet",
        takes=("role", "time_limit"),
        documents=("explain", "no-plan"),
    ),
    Tool(
        name="catalog_search",
        title="Search models and GPUs",
        about="Find models with their checkpoints and GPUs by a part of their names, with what the weights take.",
        takes=("text", "task", "min_size", "max_size", "licence", "commercial", "scheme", "fits_on"),
        documents=("catalog",),
    ),
    Tool(
        name="check",
        title="Check files that start vLLM",
        about="Read shell scripts, Compose files, systemd units, Dockerfiles or Kubernetes manifests that start vLLM, "
        "without running them, and say which servers start, why one does not, and the least change that helps.",
        given="files",
        takes=("gpu_name", "engine_version"),
        documents=("check",),
    ),
    Tool(
        name="diagnose",
        title="Diagnose a vLLM log",
        about="Say what happened to the servers of a vLLM log, why one failed, and what to try.",
        given="log",
        takes=("gpu_name",),
        documents=("diagnose",),
    ),
)  # fmt: skip
"""The tools, in the order in which they are listed."""


def loaded(tool: Tool) -> click.Command:
    """Return the command of a tool."""
    from planner.cli import main

    command: click.Command = main
    for word in tool.command:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


def parameters(tool: Tool) -> dict[str, click.Parameter]:
    """Return the parameters that a client may set, by the names that it uses."""
    own = {parameter.name: parameter for parameter in loaded(tool).params}
    return {_public(own[name]): own[name] for name in tool.takes}


def _public(parameter: click.Parameter) -> str:
    """Return the name of a parameter as the command line has it, with _ where that has -."""
    if isinstance(parameter, click.Argument):
        return str(parameter.name)
    return _long(parameter).lstrip("-").replace("-", "_")


def _long(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len)


def schema_of(parameter: click.Parameter) -> dict[str, Any]:
    """Return the JSON Schema of one parameter."""
    one = _single(parameter)
    if isinstance(parameter, click.Argument):
        return {**one, "description": _ARGUMENTS[str(parameter.name)]}
    assert isinstance(parameter, click.Option)
    if parameter.multiple:
        one = {"type": "array", "items": one, "maxItems": _MOST_VALUES}
    engine = f"As {_long(parameter)} of vllm serve, which chooses it where it is absent."
    return {**one, "description": parameter.help or engine}


_ARGUMENTS = {
    "model": "Catalog name, Hugging Face id of a model or checkpoint, or a model folder inside a root.",
    "role": "Explain this role alone.",
    "text": "A part of the name of a model, checkpoint or GPU.",
}


def _single(parameter: click.Parameter) -> dict[str, Any]:
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return {"type": "boolean"}
    if isinstance(kind, click.Choice):
        return {"enum": list(kind.choices)}
    if isinstance(kind, click.IntRange):
        limits = {"minimum": kind.min, "maximum": kind.max}
        return {"type": "integer", **{key: value for key, value in limits.items() if value is not None}}
    if kind is click.FLOAT:
        return {"type": "number"}
    if kind is click.STRING:
        return {"type": "string", "minLength": 1, "maxLength": _LONGEST_VALUE}
    if parameter.metavar == "JSON":
        return {"type": "object"}
    return {"type": ["string", "number"], "maxLength": _LONGEST_VALUE}


def words(tool: Tool, given: Mapping[str, Any]) -> list[str]:
    """Return the options and arguments that say what a client set; a value never becomes an option of its own."""
    options: list[str] = []
    arguments: list[str] = []
    for name, parameter in parameters(tool).items():
        value = given.get(name)
        if value is None:
            continue
        if isinstance(parameter, click.Argument):
            arguments.append(_written(value))
        else:
            assert isinstance(parameter, click.Option)
            options += _option(parameter, value)
    return [*options, "--", *arguments]


def _option(parameter: click.Option, value: object) -> Iterator[str]:
    if parameter.is_flag:
        if value:
            yield _long(parameter)
        elif parameter.secondary_opts:
            yield parameter.secondary_opts[0]
        return
    for one in value if isinstance(value, list) else [value]:
        yield f"{_long(parameter)}={_written(one)}"


def _written(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def said_of_exit_codes(tool: Tool) -> str:
    """Return what the command's help says of its exit codes, or nothing where it says nothing."""
    epilog = (loaded(tool).epilog or "").replace("\b", "")
    _, found, rest = epilog.partition("Exit code: ")
    return " ".join(rest.split()) if found else ""
