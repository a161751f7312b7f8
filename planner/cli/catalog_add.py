"""Write a checkpoint's own metadata into a catalog folder: read, check, write one file, or write nothing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from planner.catalog import load_catalog
from planner.catalog.foreign_names import REPOSITORY
from planner.catalog.gguf import read_gguf
from planner.catalog.hub import metadata_folder
from planner.catalog.looked_up import hub_entry
from planner.catalog.own_entry import entry_text, own_entry
from planner.checkpoint import read_config
from planner.errors import InvalidConfig, OutputError, PlannerError, UnsupportedModel
from planner.units import format_gib

_GGUF_HINT = "vLLM reads GGUF only experimentally; plan the model's safetensors checkpoint"
_MADE_BY = "planner catalog add"


def add(
    source: str, *, revision: str | None, tasks: tuple[str, ...], licence: str, folder: Path, force: bool
) -> tuple[Path, str]:
    """Write the entry of a checkpoint folder or Hugging Face repository into an overlay folder.

    Return its path, and whether it is ``create``, ``overwrite`` or ``identical``.

    Raises:
        UnsupportedModel: the architecture, the quantization or the file format cannot be sized.
        InvalidConfig: the checkpoint is broken or lies.
        SourceUnavailable: the repository cannot be read.
        OutputError: the overlay cannot be written, or already has a different entry.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        _refuse_gguf(path)
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if files and not (path / "config.json").is_file():
            _refuse_gguf(files[0])
        name, stem = str(path.resolve()), path.resolve().name
        origin = f"config.json and file headers in {name}"
        base = _base(read_config(path))
        entry = own_entry(path, name, origin, commit="", base=base, tasks=tasks, licence=licence)
    elif REPOSITORY.fullmatch(source):
        stem = source.replace("/", "--")
        with metadata_folder(source, revision) as found:
            entry = hub_entry(source, found, tasks, licence)
    else:
        raise InvalidConfig(source, "", "is neither a folder nor a repository id such as Qwen/Qwen3-8B")
    for text in entry.get("conflicts", ()):
        click.echo(f"warning: {text}", err=True)
    return _write(folder, stem, entry_text(entry, _MADE_BY), force)


def _base(config: Mapping[str, Any]) -> str:
    """Return the catalog's unquantized model that a config names as its origin, or nothing."""
    named = config.get("_name_or_path")
    try:
        return load_catalog(offline=True).find(named)[0].repository if isinstance(named, str) and named else ""
    except PlannerError:
        return ""


def _refuse_gguf(path: Path) -> None:
    header = read_gguf(path)
    context = f", {header.context_tokens:,} tokens" if header.context_tokens else ""
    click.echo(
        f"{header.name}: {header.architecture}, {header.parameters:,} parameters{context}, {header.file_type}, "
        f"{format_gib(header.file_bytes)}",
        err=True,
    )
    raise UnsupportedModel(str(path), "GGUF checkpoints", _GGUF_HINT)


def _write(folder: Path, name: str, text: str, force: bool) -> tuple[Path, str]:
    """Write a file whole or not at all; what is there is replaced only on request."""
    target = folder / "models" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name).lower()}.yaml"
    there = target.exists()
    same = there and target.read_text(encoding="utf-8") == text
    if there and not same and not force:
        raise OutputError(str(target), "an entry of this name is there; --force replaces it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise OutputError(str(target), error.strerror or str(error)) from None
    return target, "identical" if same else "overwrite" if there else "create"
