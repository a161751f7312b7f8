"""What ``planner init`` does: the text of a starter fleet, read back as any fleet is, and its file.

This loads the readers of fleets, and what looks at the GPUs of this machine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from msgspec import Struct

from planner.catalog import Catalog, load_catalog
from planner.cli.asked_gpus import asked_hardware
from planner.cli.asked_models import asked_role, read_back, without_plan
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import say_files
from planner.cli.local_gpus import LocalGPU, NoLocalGPU, local_gpus
from planner.cli.shared import hint, verb
from planner.cli.starter import ANY_MODEL, NAME, StarterRole, one_machine, starter
from planner.errors import output_errors
from planner.units import MIB


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for; ``given`` are files of other commands, by the command that wrote them."""

    path: Path
    gpus: tuple[str, ...]
    models: tuple[str, ...]
    given: Mapping[str, Sequence[Path]]
    name: str | None
    gpus_said: tuple[str, ...]
    catalog_folders: tuple[Path, ...]
    force: bool
    as_json: bool


def new_fleet(asked: Asked) -> int:
    """Write a starter fleet, or print it where its path is ``-``, and return the exit code."""
    catalog = load_catalog(overlays=asked.catalog_folders)
    role = asked_role(catalog, asked.models) if asked.models else ANY_MODEL
    text = _text(asked, catalog, role)
    fleet = read_back(text, asked.path, catalog)
    if asked.models and (none := without_plan(fleet, catalog)):
        from planner.cli.no_plan import say_none

        return say_none(none, as_json=asked.as_json)
    if str(asked.path) != "-":
        return _write(asked.path, text, asked.force, asked.as_json)
    if asked.as_json:
        say_files([], written=False, fleet=text)
    else:
        click.echo(text, nl=False)
    return EXIT_PROVEN


def _write(path: Path, text: str, force: bool, as_json: bool) -> int:
    """Write the fleet, and return the exit code; an existing file is left alone unless that is forced."""
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
        return EXIT_FILES_DIFFER
    return EXIT_PROVEN


def _text(asked: Asked, catalog: Catalog, role: StarterRole) -> str:
    gpus, given = asked.gpus, asked.given
    file = asked.path.name if str(asked.path) != "-" else "fleet.yaml"
    if not given:
        if asked.gpus_said:
            raise click.UsageError("--gpu-is goes with --from-kubectl and its like")
        hardware = asked_hardware(catalog, gpus) if gpus else _hardware(catalog)
        return starter(file, hardware, asked.name or NAME, role)
    options = [*(f"--from-{kind}" for kind in given), *(["--gpu"] if gpus else [])]
    if len(options) > 1:
        raise click.UsageError(f"{' and '.join(options)} say the same thing: give one of them")
    ((kind, files),) = given.items()
    from planner.cli.inventory import inventoried

    hardware, of_fleet = inventoried(catalog, kind, files, asked.name, asked.gpus_said)
    return starter(file, hardware, asked.name or of_fleet or NAME, role)


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
