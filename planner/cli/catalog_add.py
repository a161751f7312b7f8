"""Turn a checkpoint's own metadata into a catalog entry: read, check, write one file, or write nothing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from planner.catalog import load_catalog
from planner.catalog.checked import shape_problems
from planner.catalog.gguf import read_gguf
from planner.catalog.hub import metadata_folder
from planner.checkpoint import Checkpoint, read_config, read_folder
from planner.errors import InputError, InvalidConfig, OutputError, UnknownName, UnsupportedModel
from planner.facts.quantization import Quantization
from planner.tensors.weights import Rank, parameter_bytes, rotary_bytes
from planner.units import format_gib
from planner.yaml_source import parse_yaml
from planner.yaml_text import yaml_text

# Keys of a config.json that say nothing about shapes; an entry without them can be read and compared.
_NOISE = re.compile(
    r"_name_or_path|auto_map|transformers_version|use_cache|initializer_range|id2label|label2id|.*_token_id|.*_token_index"
    r"|.*dropout.*|.*_eps|.*_coef|task_specific_params|return_dict.*|output_(attentions|hidden_states|scores|router_logits)|torchscript|quantization_config|"
    r"compression_config|pruned_heads|problem_type|bad_words_ids|prefix|tokenizer_class"
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_CLOSE_ENOUGH = 0.03
_GGUF_HINT = "vLLM reads GGUF only experimentally; plan the model's safetensors checkpoint"


def add(source: str, *, revision: str | None, tasks: tuple[str, ...], licence: str, folder: Path, force: bool) -> Path:
    """Write the entry of a checkpoint folder or Hugging Face repository into an overlay folder; return its path.

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
        text = _entry(
            path, str(path.resolve()), f"config.json and file headers in {path.resolve()}", "", tasks, licence
        )
        return _write(folder, path.resolve().name, text, force)
    if not _REPOSITORY.fullmatch(source):
        raise InvalidConfig(source, "", "is neither a folder nor a repository id such as Qwen/Qwen3-8B")
    with metadata_folder(source, revision) as (metadata, commit):
        origin = f"config.json and file headers of huggingface.co/{source}" + (f" at {commit}" if commit else "")
        text = _entry(metadata, source, origin, commit, tasks, licence)
    return _write(folder, source.replace("/", "--"), text, force)


def _entry(folder: Path, repository: str, origin: str, commit: str, tasks: tuple[str, ...], licence: str) -> str:
    """Return the YAML of a family file with one model."""
    checkpoint = read_folder(folder)
    config = read_config(folder)
    plain = Rank()
    whole = parameter_bytes(checkpoint.architecture, Quantization(), plain) - rotary_bytes(
        checkpoint.architecture, plain
    )
    model: dict[str, Any] = {"repository": repository, "licence": licence, "tasks": list(tasks)}
    model |= {"parameters": whole // plain.dtype_bytes, "parameters_grade": "computed"}
    if any(layer.mixture for layer in checkpoint.architecture.layers):
        model["mixture"] = True
    if checkpoint.quantization.method is not None:
        model |= {"base": _base(config), "scheme": checkpoint.quantization.scheme}
        model["quantization_config"] = config.get("quantization_config") or config.get("compression_config")
    if commit:
        model["revision"] = commit
    if checkpoint.stored_bytes:
        model |= {"published_gb": checkpoint.stored_bytes / 10**9, "published_source": "safetensors headers"}
    model |= {"conflicts": conflicts} if (conflicts := _conflicts(checkpoint)) else {}
    model |= {"source": [origin], "config": _slim(config)}
    data = {"family": "added", "models": [model]}
    text = "# Written by `planner catalog add`; edit freely, `planner catalog check` reads it back.\n"
    text += yaml_text(data, width=116, flow=None)
    problems = shape_problems(parse_yaml(text, repository), "models")
    if problems:
        raise InputError(tuple(problems))
    return text


def _conflicts(checkpoint: Checkpoint) -> list[str]:
    """Say when the files hold much more or less than the shapes account for; the difference widens no estimate."""
    if not checkpoint.stored_bytes:
        return []
    rank = Rank()
    derived = parameter_bytes(checkpoint.architecture, checkpoint.quantization, rank)
    derived -= rotary_bytes(checkpoint.architecture, rank)
    if abs(derived - checkpoint.stored_bytes) <= _CLOSE_ENOUGH * checkpoint.stored_bytes:
        return []
    text = f"the files hold {format_gib(checkpoint.stored_bytes)}, the shapes give {format_gib(derived)}"
    click.echo(f"warning: {text}", err=True)
    return [text]


def _base(config: Mapping[str, Any]) -> str:
    """Return the catalog's unquantized model that a config names as its origin, or ``unknown``."""
    named = config.get("_name_or_path")
    try:
        return load_catalog().find(named)[0].repository if isinstance(named, str) and named else "unknown"
    except UnknownName:
        return "unknown"


def _slim(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if not _NOISE.fullmatch(key) and value is not None}
    return {key: _slim(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _refuse_gguf(path: Path) -> None:
    header = read_gguf(path)
    context = f", {header.context_tokens:,} tokens" if header.context_tokens else ""
    click.echo(
        f"{header.name}: {header.architecture}, {header.parameters:,} parameters{context}, {header.file_type}, "
        f"{format_gib(header.file_bytes)}"
    )
    raise UnsupportedModel(str(path), "GGUF checkpoints", _GGUF_HINT)


def _write(folder: Path, name: str, text: str, force: bool) -> Path:
    """Write a file whole or not at all; what is there is replaced only on request."""
    target = folder / "models" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name).lower()}.yaml"
    if target.exists() and not force and target.read_text(encoding="utf-8") != text:
        raise OutputError(str(target), "an entry of this name is there; --force replaces it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise OutputError(str(target), error.strerror or str(error)) from None
    return target
