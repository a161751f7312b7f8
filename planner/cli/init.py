"""``planner init``: a commented starter fleet.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from planner.catalog import Catalog, load_catalog
from planner.cli import names
from planner.cli.asked_gpus import asked_hardware
from planner.cli.exit_codes import EXIT_FILES_DIFFER
from planner.cli.json_text import json_option, say_files
from planner.cli.local_gpus import LocalGPU, NoLocalGPU, local_gpus
from planner.cli.many_files import ManyFiles, many_files
from planner.cli.shared import catalog_option, hint, verb
from planner.cli.starter import ANY_MODEL, NAME, StarterRole, one_machine, starter
from planner.errors import output_errors
from planner.units import MIB


def _checked_name(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """Refuse a name that no fleet may have."""
    from planner.fleet.values import name_refusal  # not to show or complete options

    if name is not None and (refusal := name_refusal(name)):
        raise click.BadParameter(f"{refusal[0]}: {refusal[1]}")
    return name


@click.command(cls=ManyFiles)
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="fleet.yaml")
@click.option(
    "--gpu",
    "gpus",
    type=names.GPU_OR_INSTANCE,
    multiple=True,
    metavar="NAME[:COUNT]",
    help="GPUs of a machine, or a cloud instance: catalog name, or as nvidia-smi prints it; repeatable.",
)
@click.option(
    "--model",
    "models",
    type=names.MODEL,
    multiple=True,
    metavar="NAME",
    help="A model to serve: catalog name or Hugging Face id; repeatable. The fleet is solved before it is written.",
)
@many_files("--from-kubectl", "Take the GPUs of a cluster: its nodes and pods, as kubectl saved them.")
@many_files("--from-slurm", "Take those that Slurm has: what scontrol show nodes --json wrote, or sinfo --json.")
@many_files("--from-ray", "Take those that Ray has: what its dashboard says of its nodes, or ray list nodes.")
@many_files("--from-nvidia-smi", "Take those of several hosts, each in a file of XML or CSV that nvidia-smi wrote.")
@click.option("--name", metavar="NAME", callback=_checked_name, help=f"Name of the fleet; {NAME} by default.")
@click.option(
    "--gpu-is",
    "gpus_said",
    multiple=True,
    metavar="NAME=GPU",
    help="With --from-...: which GPU of the catalog a name stands for; may be repeated.",
)
@catalog_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
def init(
    path: Path,
    gpus: tuple[str, ...],
    models: tuple[str, ...],
    from_kubectl: tuple[Path, ...],
    from_slurm: tuple[Path, ...],
    from_ray: tuple[Path, ...],
    from_nvidia_smi: tuple[Path, ...],
    name: str | None,
    gpus_said: tuple[str, ...],
    catalog_folders: tuple[Path, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a commented starter fleet.yaml.

    It is for the NVIDIA GPUs of this machine, for those named with --gpu, or for those of a cluster, out
    of files that its own commands wrote; docs/inventory.md says which. Nothing is contacted. With - as
    its path the fleet is printed. What planner solve would refuse is refused at once, and not written.
    """
    from planner.cli.asked_models import asked_role, read_back, without_plan  # not to show options

    catalog = load_catalog(overlays=catalog_folders)
    sources = {"kubectl": from_kubectl, "slurm": from_slurm, "ray": from_ray, "nvidia-smi": from_nvidia_smi}
    given = {kind: files for kind, files in sources.items() if files}
    role = asked_role(catalog, models) if models else ANY_MODEL
    text = _text(path, catalog, gpus, given, name, gpus_said, role)
    fleet = read_back(text, path, catalog)
    if models and (none := without_plan(fleet, catalog)):
        from planner.cli.no_plan import say_none

        raise SystemExit(say_none(none, as_json=as_json))
    if str(path) != "-":
        _write(path, text, force, as_json)
    elif as_json:
        say_files([], written=False, fleet=text)
    else:
        click.echo(text, nl=False)


def _write(path: Path, text: str, force: bool, as_json: bool) -> None:
    """Write the fleet; an existing file is left alone unless that is forced."""
    there = path.exists()
    done = ("overwrite" if force else "conflict") if there else "create"
    if done != "conflict":
        with output_errors(path):
            path.write_text(text, encoding="utf-8")
    if as_json:
        say_files([(str(path), done)], written=done != "conflict")
    verb(done, str(path))
    if done == "conflict":
        hint("--force overwrites it")
        raise SystemExit(EXIT_FILES_DIFFER)


def _text(
    path: Path,
    catalog: Catalog,
    gpus: tuple[str, ...],
    given: Mapping[str, Sequence[Path]],
    name: str | None,
    gpus_said: tuple[str, ...],
    role: StarterRole,
) -> str:
    file = path.name if str(path) != "-" else "fleet.yaml"
    if not given:
        if gpus_said:
            raise click.UsageError("--gpu-is goes with --from-kubectl and its like")
        hardware = asked_hardware(catalog, gpus) if gpus else _hardware(catalog)
        return starter(file, hardware, name or NAME, role)
    options = [*(f"--from-{kind}" for kind in given), *(["--gpu"] if gpus else [])]
    if len(options) > 1:
        raise click.UsageError(f"{' and '.join(options)} say the same thing: give one of them")
    ((kind, files),) = given.items()
    from planner.cli.inventory import inventoried

    hardware, of_fleet = inventoried(catalog, kind, files, name, gpus_said)
    return starter(file, hardware, name or of_fleet or NAME, role)


def _hardware(catalog: Catalog) -> str:
    """Return the GPUs of this machine."""
    devices = _of_one_kind(local_gpus())
    gpu = catalog.gpu(devices[0].product)
    count, index = len(devices), devices[0].index
    # What an integrated GPU reports as in use is the operating system's part, which the catalog has.
    in_use = 0 if gpu.integrated else max(device.memory_in_use_bytes for device in devices)
    return one_machine(gpu.name, count, index, f"{in_use // MIB}MiB" if in_use else "0")


def _of_one_kind(devices: tuple[LocalGPU, ...]) -> tuple[LocalGPU, ...]:
    """Return the devices when they are of one kind, which is what a fleet file holds."""
    kinds = {device.product: 0 for device in devices}
    if len(kinds) > 1:
        raise NoLocalGPU(f"this machine has GPUs of several kinds: {', '.join(kinds)}")
    return devices
