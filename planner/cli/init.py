"""``planner init``: a commented starter fleet.yaml."""

from pathlib import Path

import click

from planner.catalog import Catalog, load_catalog
from planner.cli.exit_codes import EXIT_FILES_DIFFER
from planner.cli.local_gpus import LocalGPU, NoLocalGPU, local_gpus
from planner.cli.shared import catalog_option, hint, verb
from planner.errors import OutputError
from planner.units import MIB

_STARTER = """\
# A fleet: what has to be served, and on what. Run `planner solve {file}` to plan it.
# Editors complete and check this file when `planner schema > fleet.schema.json` has run beside it and its first line
# is `# yaml-language-server: $schema=./fleet.schema.json`.

# Names the plan's units, containers and folders.
name: my-fleet

# The engine; without a version it is the newest one with a memory profile.
engine: vllm

gpu:
  name: {gpu}
  count: {count}
  index: {index}
  # What others hold on it: a desktop, another process.
  memory_in_use: {memory_in_use}

# What to maximise: balanced (accuracy and concurrency together), accuracy, concurrency, cost, or a list in order.
objective: balanced

# One entry per job. The name of a role is the model name that clients ask for.
roles:
  assistant:
    # code, general, reasoning, chat, math, long-context, agent, vision, embedding or rerank
    task: general
    # Candidates: catalog names, Hugging Face ids, or folders (./my-model) with a config.json.
    # Without this key every catalog model for the task is one.
    # models: [Qwen2.5-14B-Instruct, Mistral-7B-Instruct-v0.3]
    # Tokens of prompt and answer together: what must fit, and what would be nice.
    context: {{min: 8k, wish: 32k}}
    # Requests served at once without waiting for memory.
    concurrency: {{min: 1, target: 8}}
    # The length of a usual request, at which concurrency is counted; without it the full context.
    request: {{prompt_tokens: 3k, output_tokens: 1k}}
    # Quantization keeps at least this much of the unquantized model's score, in percent.
    accuracy: {{recovery: 95}}
    # Counts this much in the balanced objective, relative to other roles.
    weight: 1
"""


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="fleet.yaml")
@click.option("--gpu", "gpu_name", metavar="NAME", help="GPU to plan for: catalog name, or as nvidia-smi prints it.")
@catalog_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(path: Path, gpu_name: str | None, catalog_folders: tuple[Path, ...], force: bool) -> None:
    """Write a commented starter fleet.yaml.

    It is for the NVIDIA GPUs of this machine, or for the one named with --gpu.
    """
    text = _starter(path, load_catalog(overlays=catalog_folders), gpu_name)
    there = path.exists()
    if there and not force:
        verb("conflict", str(path))
        hint("--force overwrites it")
        raise SystemExit(EXIT_FILES_DIFFER)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(str(path), (error.strerror or str(error)).lower()) from error
    verb("overwrite" if there else "create", str(path))


def _starter(path: Path, catalog: Catalog, gpu_name: str | None) -> str:
    if gpu_name is not None:
        gpu, count, index, in_use = catalog.gpu(gpu_name), 1, 0, 0
    else:
        devices = _of_one_kind(local_gpus())
        gpu = catalog.gpu(devices[0].product)
        count, index = len(devices), devices[0].index
        # What an integrated GPU reports as in use is the operating system's part, which the catalog has.
        in_use = 0 if gpu.integrated else max(device.memory_in_use_bytes for device in devices)
    return _STARTER.format(
        file=path.name, gpu=gpu.name, count=count, index=index, memory_in_use=f"{in_use // MIB}MiB" if in_use else 0
    )


def _of_one_kind(devices: tuple[LocalGPU, ...]) -> tuple[LocalGPU, ...]:
    """Return the devices when they are of one kind, which is what a fleet file holds."""
    kinds = {device.product: 0 for device in devices}
    if len(kinds) > 1:
        raise NoLocalGPU(f"this machine has GPUs of several kinds: {', '.join(kinds)}")
    return devices
