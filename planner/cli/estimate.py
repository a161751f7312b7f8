"""``planner estimate``: what the engine will log for one server."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from planner.catalog import Catalog, load_catalog
from planner.catalog.asked import AskedModel, asked_model
from planner.catalog.sized import sized
from planner.cli import names, values
from planner.cli.colour import shown
from planner.cli.estimate_speed import asked_load, speed_lines, speed_options
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import catalog_option
from planner.config_json import parse_config
from planner.config_json.quantization_config import ONLINE
from planner.engine.faults import Case, Fault, known_faults
from planner.engine.profile import EngineProfile, load_profile
from planner.errors import InputError, Problem, UnknownName
from planner.facts.gpu import GPU, unknown_gpu, with_memory
from planner.facts.quantization import Quantization
from planner.memory.estimate import Estimate
from planner.memory.estimate import estimate as estimate_server
from planner.memory.terms import Server
from planner.units import format_gib

# LoRAConfig in config/lora.py 0.33.0.
_LORA_RANK = 16
_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")

_EPILOG = """\b
MODEL is a catalog name, the Hugging Face id of a base model or checkpoint of the
catalog, a folder with config.json, or - for a config.json on standard input. Flags
that are not given take the values `vllm serve` chooses itself on that GPU. The exit
code is 0 whether the server would start or not: "starts" is the answer, not a failure
to give one.
"""


@click.command(epilog=_EPILOG)
@click.argument("model", type=names.MODEL)
@click.option(
    "--gpu",
    "gpu_name",
    type=names.GPU,
    required=True,
    metavar="NAME",
    help="Catalog name, or the name nvidia-smi prints.",
)
@click.option("--gpu-memory-gib", "memory_bytes", type=values.gib, metavar="X", help="Total the engine sees, per GPU.")
@click.option(
    "--gpu-memory-in-use-gib",
    "in_use_bytes",
    type=values.gib,
    metavar="X",
    default="0",
    help="Held by others at the start.",
)
@click.option("--tensor-parallel-size", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--pipeline-parallel-size", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--data-parallel-size", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--expert-parallel", is_flag=True, help="Share out whole experts instead of slices of each.")
@click.option("--max-model-len", type=values.tokens, metavar="TOKENS")
@click.option("--max-num-seqs", type=click.IntRange(min=1))
@click.option("--max-num-batched-tokens", type=values.tokens, metavar="TOKENS")
@click.option("--gpu-memory-utilization", type=values.share, metavar="F")
@click.option("--kv-cache-dtype", type=values.kv_cache_dtype, default="auto", show_default=True, metavar="DTYPE")
@click.option("--dtype", type=click.Choice(_DTYPES), default="auto", show_default=True)
@click.option(
    "--quantization", type=click.Choice(sorted(ONLINE)), help="Quantize an unquantized checkpoint while it loads."
)
@click.option("--enable-prefix-caching/--no-enable-prefix-caching", "prefix_caching", default=None)
@click.option("--engine-version", metavar="V", help="vLLM version; the newest known one if not given.")
@click.option("--enforce-eager", is_flag=True, help="Without CUDA graphs.")
@click.option(
    "--cpu-offload-gb",
    "cpu_offload_bytes",
    type=values.gib,
    metavar="X",
    default="0",
    help="Weights in host memory, GiB.",
)
@click.option("--kv-cache-memory-bytes", type=values.size, metavar="BYTES", help="Exactly this much KV cache per GPU.")
@click.option("--block-size", type=click.IntRange(min=1), metavar="TOKENS")
@click.option("--enable-lora", is_flag=True, help="Keep adapters; given with either of the next two anyway.")
@click.option("--max-loras", type=click.IntRange(min=1), metavar="N", help="Adapters in one batch; 1 if not given.")
@click.option("--max-lora-rank", type=click.IntRange(min=1), metavar="N", help="Largest rank; 16 if not given.")
@click.option("--fully-sharded-loras", is_flag=True, help="Share out both matrices of adapters over ranks.")
@click.option(
    "--lora-target-modules",
    "lora_modules",
    multiple=True,
    metavar="NAME",
    help="A layer that adapters have; all if none.",
)
@click.option(
    "--speculative-config", "speculative", type=values.speculation, metavar="JSON", help="Draft tokens ahead, as vLLM."
)
@click.option(
    "--limit-mm-per-prompt", "mm_limits", type=values.limits, metavar="JSON", help="Items per prompt, by kind."
)
@click.option("--language-model-only", is_flag=True, help="Without the encoders of images, videos, audio.")
@click.option(
    "--compile-cache",
    type=click.Choice(("cold", "warm")),
    default="cold",
    show_default=True,
    help="Whether this start compiles the model, or finds it compiled.",
)
@speed_options
@catalog_option
@json_option
def estimate(
    model: str,
    gpu_name: str,
    memory_bytes: int | None,
    in_use_bytes: int,
    engine_version: str | None,
    input_tokens: int | None,
    output_tokens: int | None,
    concurrency: int | None,
    request_rate: float | None,
    cached_prompt: float | None,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
    enable_lora: bool,
    max_loras: int | None,
    max_lora_rank: int | None,
    **given: Any,  # noqa: ANN401 - any field of ServeFlags
) -> None:
    """Say what vLLM will log for one server, and whether it starts."""
    if enable_lora or max_loras or max_lora_rank:
        given |= {"max_loras": max_loras or 1, "max_lora_rank": max_lora_rank or _LORA_RANK}
    load = asked_load(input_tokens, output_tokens, concurrency, request_rate, cached_prompt)
    catalog = load_catalog(overlays=catalog_folders)
    gpu = _gpu(catalog, gpu_name, memory_bytes)
    asked = _asked(catalog, model)
    if given["quantization"]:
        _require_unquantized(asked.quantization, given["quantization"])
    wanted = given["speculative"]
    drafter = asked_model(catalog, wanted.model).architecture if wanted and wanted.model else None
    server, profile = sized(asked, gpu, load_profile(engine_version), given, drafter)
    result = estimate_server(server, gpu, profile, in_use_bytes)
    if asked.assumed:
        note = f"assumed, not read from the checkpoint: {', '.join(asked.assumed)}; the low end allows for it"
        result = replace(result, notes=(*result.notes, note))
    speed = None
    if load:
        from planner.speed.forecast import forecast
        from planner.speed.site import Site

        site = Site(gpu, profile, catalog.speed.device(gpu), catalog.speed.engine)
        speed = forecast(server, site, load, in_use_bytes)
    faults = known_faults(_case(server, gpu, profile))
    if as_json:
        known = {"known_faults": [_shown(fault) for fault in faults]}
        say_json(result.to_json() | known | (speed.to_json() if speed else {}))
    else:
        click.echo(shown(_table(model, server, gpu, profile, result)))
        for fault in faults:
            click.echo(shown(f"  known fault: {fault.account}"))
        if load and speed:
            click.echo(shown("\n".join(speed_lines(load, speed))))


def _case(server: Server, gpu: GPU, profile: EngineProfile) -> Case:
    """Return the server as the predicates of known faults see it."""
    return Case(
        version=profile.version,
        gpu=gpu,
        architecture=server.architecture,
        quantization=server.quantization,
        flags=server.flags,
    )


def _asked(catalog: Catalog, model: str) -> AskedModel:
    """Return the model of a name, a folder, or a config.json on standard input."""
    if model != "-":
        return asked_model(catalog, model)
    text = sys.stdin.read()
    try:
        config = json.loads(text)
    except ValueError as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        raise InputError((Problem("<stdin>", line, column, "", "is not JSON", "give a config.json"),)) from None
    if not isinstance(config, dict):
        raise InputError((Problem("<stdin>", 1, 1, "", "is no config.json"),))
    return AskedModel(*parse_config(config, where="<stdin>"))


def _shown(fault: Fault) -> dict[str, str]:
    """Return what a fault is, without the predicates that say when it holds."""
    names = "id versions effect condition symptom workaround grade confidence source"
    return {name: getattr(fault, name) for name in names.split()}


def _require_unquantized(stored: Quantization, name: str) -> None:
    if stored.method is not None:
        raise click.UsageError(f"--quantization {name} needs an unquantized checkpoint; this one is {stored.scheme}.")


def _gpu(catalog: Catalog, name: str, memory_bytes: int | None) -> GPU:
    """Return the GPU, with the memory given; one the catalog does not have needs its memory given."""
    try:
        gpu = catalog.gpu(name)
    except UnknownName:
        if memory_bytes is None:
            raise
        return unknown_gpu(name, memory_bytes)
    return gpu if memory_bytes is None else with_memory(gpu, memory_bytes)


def _table(model: str, server: Server, gpu: GPU, profile: EngineProfile, result: Estimate) -> str:
    flags = server.flags
    verdict = "starts" if result.starts else f"does not start: {result.reason}"
    covered = "inside the budget" if result.graphs_in_budget else "not in the budget of this version"
    rows = [
        ("weights", format_gib(result.weights_bytes), ""),
        ("activation peak", format_gib(result.activation_bytes), ""),
        ("non-PyTorch", format_gib(result.non_torch_bytes), ""),
        ("CUDA graphs", format_gib(result.cuda_graph_bytes), covered if result.cuda_graph_bytes else ""),
    ]
    if result.has_cache:
        spread = f"{format_gib(result.kv_cache_low_bytes)} to {format_gib(result.kv_cache_high_bytes)}"
        requests = f"requests of {flags.max_model_len:,} tokens"
        rows += [
            ("KV cache", format_gib(result.kv_cache_bytes), spread),
            ("KV cache tokens", f"{result.kv_cache_tokens:,}", ""),
            ("concurrency", f"{result.max_concurrency:.2f}", requests),
        ]
    attention = f", attention by {result.attention_backend}" if result.attention_backend else ""
    budget = f"{flags.gpu_memory_utilization:g} of {format_gib(gpu.memory_bytes)}"
    lines = [
        f"{model} on {flags.ranks} x {gpu.name}, {profile}: {verdict}",
        f"  per GPU, gpu_memory_utilization {budget}, max_num_seqs {flags.max_num_seqs}, "
        f"max_num_batched_tokens {flags.max_num_batched_tokens}{attention}",
        *(f"  {name:<16} {value:>14}   {note}".rstrip() for name, value, note in rows),
    ]
    lines += [f"  note: {note}" for note in result.notes]
    return "\n".join(lines)
