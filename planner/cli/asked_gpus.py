"""``planner init --gpu NAME[:COUNT]``: the GPUs, machines or cloud instances of a starter fleet."""

import re
from collections.abc import Sequence
from typing import Any

import click

from planner.catalog import Catalog
from planner.cli.starter import one_machine
from planner.errors import UnknownName
from planner.yaml_text import yaml_text

_NEAR = 4
"""The most names that a hint offers in place of one that is unknown."""

_MACHINES = """\
# One machine, or instance, for each --gpu. GPUs of several kinds in one machine are pools that name the same `node:`
# and count on with `index:`.
"""


def asked_hardware(catalog: Catalog, asked: Sequence[str]) -> str:
    """Return the part of a fleet file about the GPUs that were asked for: one machine, or a pool for each of several.

    Raises:
        UnknownName: the catalog has neither a GPU nor an instance of a name.
        click.BadParameter: a count is none.
    """
    found = [_pool(catalog, *_counted(text)) for text in asked]
    name, only = found[0]
    if len(found) == 1 and only.get("count") is None:
        gpus = only.get("gpus")
        return one_machine(str(only["gpu"]), int(gpus), 0, "0") if gpus else yaml_text({"gpu": {"name": only["gpu"]}})
    pools: dict[str, dict[str, Any]] = {}
    for name, pool in found:
        number = next(number for number in range(1, len(found) + 1) if _numbered(name, number) not in pools)
        pools[_numbered(name, number)] = pool
    return (_MACHINES if len(pools) > 1 else "") + yaml_text({"nodes": pools})


def _counted(text: str) -> tuple[str, int]:
    """Read ``NAME`` or ``NAME:COUNT``."""
    name, colon, count = text.rpartition(":")
    if not colon:
        return text, 1
    if not name or not count.isdecimal() or int(count) < 1:
        raise click.BadParameter(f"{text!r} is not NAME or NAME:COUNT, such as L40S:4", param_hint="--gpu")
    return name, int(count)


def _pool(catalog: Catalog, name: str, count: int) -> tuple[str, dict[str, Any]]:
    """Return the name of a pool and what it is: GPUs of one machine, or instances."""
    offer = catalog.instance(name)
    if offer:
        return _plain(offer.instance), {"gpu": name, **({"count": count} if count > 1 else {})}
    try:
        gpu = catalog.gpu(name)
    except UnknownName as error:
        near = (*catalog.near_instances(name), *error.nearest)
        raise UnknownName(error.kind, name, near[:_NEAR]) from None
    return _plain(gpu.name), {"gpu": gpu.name, "gpus": count}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number}" if number > 1 else name
