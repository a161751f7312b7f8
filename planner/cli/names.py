"""Names of the catalog and of the fleet on a command line: what a shell offers to complete.

A shell asks for every key that is pressed, so that nothing is loaded here that reads or solves fleets; what cannot be
read completes to nothing. GPUs are offered as one word each, as the catalog finds them too (``h100-80gb-sxm5``).
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.errors import PlannerError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from planner.catalog import Catalog

_MOST = 200
"""More than these help nobody to choose."""

Offers = Callable[[click.Context], Iterable[tuple[str, str]]]


class Name(click.ParamType):  # type: ignore[type-arg]  # click 8.1 takes none
    """A text of which a shell offers those that begin like it: each a name, with what it is."""

    name = "text"

    def __init__(self, *offers: Offers) -> None:
        self._offers = offers

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Return the names that begin with what was typed, in upper or lower case."""
        from click.shell_completion import CompletionItem  # only a shell asks

        typed = incomplete.casefold()
        try:
            known = {name: what for offer in self._offers for name, what in offer(ctx)}
        except (PlannerError, OSError):
            return []
        found = [CompletionItem(name, help=known[name]) for name in sorted(known) if name.casefold().startswith(typed)]
        return found[:_MOST]


def gpus(context: click.Context) -> Iterable[tuple[str, str]]:
    """Yield the GPUs that plans can be made for."""
    for gpu in _catalog(context).gpus:
        if not gpu.refusal:
            yield one_word(gpu.name), gpu.product or gpu.name


def instances(context: click.Context) -> Iterable[tuple[str, str]]:
    """Yield the cloud instances that have a price."""
    for one in _catalog(context).prices:
        if not one.reference and " " not in one.instance:
            yield one.instance, f"{one.provider}, {one.gpu_count} × {one.gpu}"


def models(context: click.Context) -> Iterable[tuple[str, str]]:
    """Yield models by their names, and checkpoints by their ids."""
    for model in _catalog(context).models:
        yield model.name, ", ".join(model.tasks)
        for variant in model.variants:
            yield variant.repository, variant.scheme


def roles(context: click.Context) -> Iterable[tuple[str, str]]:
    """Yield the roles of the fleet that the command is given, or of fleet.yaml."""
    from planner.yaml_source import read_yaml

    data = read_yaml(Path(str(context.params.get("fleet_file") or "fleet.yaml"))).data
    found = data.get("roles") if isinstance(data, dict) else None
    for name, role in found.items() if isinstance(found, dict) else ():
        yield name, str(role.get("task", "")) if isinstance(role, dict) else ""


def one_word(name: str) -> str:
    """Return a GPU's name without spaces."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _catalog(context: click.Context) -> "Catalog":
    from planner.catalog import load_catalog

    return load_catalog(overlays=context.params.get("catalog_folders") or (), offline=True)


GPU = Name(gpus)
GPU_OR_INSTANCE = Name(gpus, instances)
MODEL = Name(models)
MODEL_OR_GPU = Name(models, gpus)
ROLE = Name(roles)
