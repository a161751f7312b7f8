"""The GPUs of a cluster in files, as ``planner init`` writes them into a fleet."""

from collections.abc import Sequence
from pathlib import Path

import click

from planner.catalog import Catalog
from planner.facts.gpu import GPU
from planner.fleet.values import name_refusal
from planner.inventory import Inventory, hardware_text
from planner.inventory.documents import uncollected
from planner.inventory.kubernetes import from_kubectl
from planner.inventory.nvidia_smi import from_nvidia_smi
from planner.inventory.products import Products
from planner.inventory.ray import from_ray
from planner.inventory.slurm import from_slurm


def inventoried(
    catalog: Catalog, kind: str, files: Sequence[Path], name: str | None, said: Sequence[str]
) -> tuple[str, str]:
    """Return the part of a fleet file about the GPUs in files, and the name of the fleet that runs there (or empty).

    ``kind`` is what wrote the files: kubectl, slurm, ray or nvidia-smi.

    Raises:
        InputError: a file is not what the command writes, or no GPU of it is of use.
        UnknownName: ``--gpu-is`` names a GPU that the catalog does not have.
    """
    products = Products(catalog, dict(_said(catalog, one) for one in said))
    with uncollected():
        found = _read(kind, files, products, _own(name) if name else "")
    fleet = found.fleet.removeprefix("planner-")
    return hardware_text(found), "" if name_refusal(fleet) else fleet


def _own(name: str) -> str:
    """Return what the objects of a fleet begin with."""
    from planner.artifacts.quoting import label, unit_prefix  # its room is large, and few need it here

    return label(unit_prefix(name))


def _read(kind: str, files: Sequence[Path], products: Products, own: str) -> Inventory:
    if kind == "kubectl":
        return from_kubectl(files, products, own)
    if kind == "slurm":
        return from_slurm(files, products)
    return from_ray(files, products) if kind == "ray" else from_nvidia_smi(files, products)


def _said(catalog: Catalog, text: str) -> tuple[str, GPU]:
    """Read ``NAME=GPU``."""
    name, equals, gpu = text.partition("=")
    if not name.strip() or not equals or not gpu.strip():
        raise click.BadParameter(f"{text!r} is not NAME=GPU, such as h100='H100 80GB SXM5'", param_hint="--gpu-is")
    return name.strip(), catalog.gpu(gpu.strip())
