"""``planner init``: a commented starter fleet.yaml."""

from pathlib import Path

import click

from planner.cli import names
from planner.cli.json_text import json_option
from planner.cli.many_files import ManyFiles, many_files
from planner.cli.shared import catalog_option
from planner.cli.starter import NAME


def _checked_name(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """Refuse a name that no fleet may have."""
    if name is not None:
        from planner.fleet.values import name_refusal  # not to show or complete options

        if refusal := name_refusal(name):
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
    from planner.cli.new_fleet import Asked, new_fleet  # not to show or complete options

    sources = {"kubectl": from_kubectl, "slurm": from_slurm, "ray": from_ray, "nvidia-smi": from_nvidia_smi}
    asked = Asked(
        path=path,
        gpus=gpus,
        models=models,
        given={kind: files for kind, files in sources.items() if files},
        name=name,
        gpus_said=gpus_said,
        catalog_folders=catalog_folders,
        force=force,
        as_json=as_json,
    )
    raise SystemExit(new_fleet(asked))
