"""The GPUs of a cluster in files, as ``planner init`` writes them into a fleet."""

from collections.abc import Sequence
from pathlib import Path

import click

from planner.artifacts.quoting import label, unit_prefix
from planner.catalog import Catalog
from planner.facts.gpu import GPU
from planner.fleet.values import name_refusal
from planner.inventory import hardware_text
from planner.inventory.kubernetes import from_kubectl
from planner.inventory.products import Products


def inventoried(catalog: Catalog, kubectl: Sequence[Path], name: str | None, said: Sequence[str]) -> tuple[str, str]:
    """Return the part of a fleet file about its GPUs, and the name of the fleet that is running there (or empty).

    Raises:
        InputError: a file is not what the command writes, or no GPU of it is of use.
        UnknownName: ``--gpu-is`` names a GPU that the catalog does not have.
    """
    products = Products(catalog, dict(_said(catalog, one) for one in said))
    found = from_kubectl(kubectl, products, label(unit_prefix(name)) if name else "")
    fleet = found.fleet.removeprefix("planner-")
    return hardware_text(found), "" if name_refusal(fleet) else fleet


def _said(catalog: Catalog, text: str) -> tuple[str, GPU]:
    """Read ``NAME=GPU``."""
    name, equals, gpu = text.partition("=")
    if not name.strip() or not equals or not gpu.strip():
        raise click.BadParameter(f"{text!r} is not NAME=GPU, such as h100='H100 80GB SXM5'", param_hint="--gpu-is")
    return name.strip(), catalog.gpu(gpu.strip())
